"""A backup of a plane that works, and what a restore makes of a cloud that went on."""

from __future__ import annotations

import stat
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from holdfast.wire.api.instances import InstanceCreate, InstanceDestroy
from tests.support.planes import PlaneProcess, until


def checks(plane: PlaneProcess) -> dict[str, Any]:
    with plane.client() as client:
        return {check.name: check for check in client.call("plane.doctor").checks}


def machines(plane: PlaneProcess) -> dict[str, list[int]]:
    """Return the pids of controllers by the instance whose they are."""
    found: dict[str, list[int]] = {}
    for process in plane.controllers():
        found.setdefault(environment(process).get("HOLDFAST_INSTANCE_ID", "?"), []).append(
            process.pid
        )
    return found


def environment(process: psutil.Process) -> dict[str, str]:
    try:
        return dict(process.environ())
    except psutil.Error:
        return {}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "copies" / "backup.tar.gz"


def back_up(plane: PlaneProcess, archive: Path, *words: str) -> Any:
    archive.parent.mkdir(exist_ok=True)
    return plane.json("backup", str(archive), *words)["manifest"]


def restore(plane: PlaneProcess, archive: Path, *words: str) -> Any:
    return plane.json("restore", str(archive), "--replace", *words)


def test_backup_under_load_and_restore(own: PlaneProcess, archive: Path) -> None:
    """What was acknowledged before is there after it; everything runs, once."""
    own.cli("instance", "create", "kept", "--secret", "MY_SECRET=-", given="sealed")
    kept = own.ready("kept")
    acknowledged: list[str] = []
    going = threading.Event()
    going.set()

    def load() -> None:
        with own.client() as client:
            while going.is_set():
                name = f"row-{len(acknowledged)}"
                body = InstanceCreate(name=name, agent="demo", desired="stopped")
                client.call("instance.create", body=body)
                acknowledged.append(name)

    writer = threading.Thread(target=load)
    writer.start()
    until("something was written", lambda: len(acknowledged) > 5)
    before = len(acknowledged)
    manifest = back_up(own, archive)
    going.clear()
    writer.join()
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    assert manifest["stores"][1]["numbers"]["events"] > before
    assert own.json("backup", "verify", str(archive))["manifest"] == manifest
    assert own.terminate() == 0
    done = restore(own, archive)
    assert Path(done["aside"], "journal.db").exists()
    own.start()
    with own.client() as client:
        names = {item.name for item in client.call("instance.list", query={"limit": "500"}).items}
    assert set(acknowledged[:before]) <= names
    view = own.ready("kept")
    assert (view.machine_id, view.status) == (kept.machine_id, "running")
    assert len(machines(own)) == len(own.controllers()) == 1
    assert checks(own)["machines"].result == "ok"
    entries = own.json("instance", "timeline", "kept")
    assert any(entry["name"] == "Restored" for entry in entries["entries"])
    own.cli("instance", "restart", "kept", "--wait", "60")


def test_a_machine_replaced_after_the_backup_is_found_again(
    own: PlaneProcess, archive: Path
) -> None:
    own.cli("instance", "create", "demo")
    first = own.ready("demo")
    back_up(own, archive)
    own.cli("instance", "rotate-secrets", "demo")
    (process,) = own.controllers()
    with own.client() as client:
        item = own.view("demo")
        assert item is not None
        client.call("instance.destroy", path={"id": item.id}, body=InstanceDestroy(confirm="demo"))
    until("it is gone", lambda: own.view("demo") is None, seconds=60)
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert own.terminate() == 0
    restore(own, archive)
    own.start()
    held = own.view("demo")
    assert held is not None
    assert (held.status, held.desired, held.id) == ("stopped", "running", first.id)
    assert "comes from a backup" in held.attention
    assert own.controllers() == []
    assert "demo (attention)" in checks(own)["instances"].message
    own.cli("instance", "start", "demo")
    again = own.ready("demo")
    assert again.machine_id != first.machine_id
    assert len(own.controllers()) == 1
