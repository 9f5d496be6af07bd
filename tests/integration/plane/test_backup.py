"""A backup of a plane that works, and what a restore makes of a cloud that went on."""

from __future__ import annotations

import stat
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from holdfast.instances.limits import DOUBT_MS, LAUNCH_MS
from holdfast.wire.api.accounts import TokenCreate
from holdfast.wire.api.brains import BrainKeyCreate
from holdfast.wire.api.instances import InstanceCreate, InstanceDestroy
from tests.support.planes import PlaneProcess, until

LAUNCHED_ANEW_S = (DOUBT_MS + LAUNCH_MS) / 1_000
"""A machine that refuses the tokens of a backup is launched anew after `DOUBT_MS`."""


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
    with own.client() as client:
        verdict = client.call("audit.verify")
    assert (verdict.ok, verdict.head_kept) == (True, True), verdict
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
    assert "demo (needs a person)" in checks(own)["instances"].message
    own.cli("instance", "start", "demo")
    again = own.ready("demo")
    assert again.machine_id != first.machine_id
    assert len(own.controllers()) == 1


@pytest.mark.timeout(300)  # it waits twice for a machine to be launched anew
def test_rotated_tokens_and_unknown_machines_after_a_restore(
    own: PlaneProcess, archive: Path
) -> None:
    """A machine with newer tokens is handed those of the backup; a newer machine is adopted."""
    own.cli("instance", "create", "turned")
    before = own.ready("turned")
    back_up(own, archive, "--with-keys")
    own.cli("instance", "rotate-secrets", "turned", "--key")
    until("both secrets are handed over", lambda: tokens_are_new(own, "turned"), seconds=60)
    own.cli("instance", "create", "later")
    later = own.ready("later")
    assert own.terminate() == 0
    restore(own, archive, "--unknown-machines", "keep")
    own.start()
    assert later.machine_id in checks(own)["machines"].message
    assert len(own.controllers()) == 2
    healed = until(
        "its check-ins are taken again",
        lambda: heard(own, "turned"),
        seconds=LAUNCHED_ANEW_S,
    )
    assert healed.machine_id == before.machine_id
    own.cli("restore", "--unknown-machines", "adopt")
    assert own.terminate() == 0
    own.start()
    name = f"adopted-{later.id[:8]}"
    adopted = own.ready(name, seconds=LAUNCHED_ANEW_S)
    assert (adopted.id, adopted.machine_id, adopted.agent) == (later.id, later.machine_id, "demo")
    assert checks(own)["machines"].result == "ok"
    assert sorted(map(len, machines(own).values())) in ([2], [1, 1])


def tokens_are_new(plane: PlaneProcess, name: str) -> bool:
    entries = plane.json("instance", "timeline", name)["entries"]
    return any(entry["name"] == "SecretsHandedOver" for entry in entries)


def heard(plane: PlaneProcess, name: str) -> Any:
    """Return the instance once a check-in was taken: a restore begins without any."""
    view = plane.view(name)
    return view if view and view.last_contact_at and view.agent_ready else None


def test_what_a_restore_refuses_and_what_it_says(own: PlaneProcess, archive: Path) -> None:
    own.cli("instance", "create", "kept", "--stopped", "--secret", "MY_SECRET=-", given="sealed")
    manifest = back_up(own, archive)
    assert not manifest["keys"]["included"]
    assert "keyring.json" in str(manifest["left_out"])
    assert "is there already" in own.cli("backup", str(archive), code=1).stderr
    assert "is in use by" in own.cli("restore", str(archive), "--replace", code=1).stderr
    assert own.terminate() == 0
    refused = own.cli("restore", str(archive), code=1)
    assert "has stores already" in refused.stderr
    assert "--replace" in refused.stderr
    away = own.keys.with_name("away")
    own.keys.rename(away)
    refused = own.cli("restore", str(archive), "--replace", code=1)
    assert "does not open its secrets" in refused.stderr
    assert (own.home / "journal.db").exists(), "nothing was touched"
    for path in own.keys.iterdir():
        path.unlink()
    own.keys.rmdir()
    away.rename(own.keys)
    archive.write_bytes(archive.read_bytes()[:-2000])
    assert "take another backup" in own.cli("backup", "verify", str(archive), code=1).stderr
    assert own.cli("restore", str(archive), "--replace", code=1)
    own.start()
    assert own.view("kept") is not None


def test_what_was_revoked_after_the_backup_stays_revoked(own: PlaneProcess, archive: Path) -> None:
    with own.client() as client:
        made = {
            name: client.call("token.create", body=TokenCreate(name=name, scope="operator"))
            for name in ("kept", "gone")
        }
        keys = {
            name: client.call("brain-key.create", body=BrainKeyCreate(name=name))
            for name in ("kept", "gone")
        }
    back_up(own, archive)
    with own.client() as client:
        client.call("token.revoke", path={"id": made["gone"].view.id})
        client.call("brain-key.revoke", path={"id": keys["gone"].view.id})
    assert own.terminate() == 0
    notes = " ".join(restore(own, archive)["notes"])
    assert "tokens, 1 of them" in notes
    assert "brain-keys, 1 of them" in notes
    own.start()
    with own.client() as client:
        tokens = {one.name: one.revoked_at for one in client.call("token.list").items}
        listed = {one.name: one.revoked_at for one in client.call("brain-key.list").items}
    assert tokens["gone"]
    assert listed["gone"]
    assert (tokens["kept"], listed["kept"]) == (None, None)
    with own.client(made["kept"].token) as client:
        client.call("instance.list")


def test_a_backup_with_keys_into_an_empty_home(own: PlaneProcess, archive: Path) -> None:
    own.cli("instance", "create", "moved", "--stopped", "--secret", "MY_SECRET=-", given="sealed")
    (own.home / "prices.toml").write_text('version = "ours"')
    back_up(own, archive, "--with-keys")
    assert own.terminate() == 0
    other = PlaneProcess(own.home.with_name("other"))
    try:
        done = other.json("restore", str(archive), "--missing-machines", "create")
        assert done["aside"] == ""
        assert (other.home / "prices.toml").read_text() == 'version = "ours"'
        other.start()
        other.cli("instance", "start", "moved")
        other.ready("moved")
    finally:
        assert other.close() == []
