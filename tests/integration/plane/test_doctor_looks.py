"""The doctor and health look at what is governed: actors, instances, agents, machines."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import apsw

from tests.support.planes import PlaneProcess, until


def results(plane: PlaneProcess) -> dict[str, Any]:
    with plane.client() as client:
        return {check.name: check for check in client.call("plane.doctor").checks}


def health(plane: PlaneProcess) -> str:
    with plane.client() as client:
        return str(client.call("plane.health").status)


def damage_states(home: Path) -> None:
    """Leave every stored state unreadable."""
    connection = apsw.Connection(str(home / "journal.db"))
    with connection:
        connection.execute("UPDATE actors SET state = x'00' WHERE state IS NOT NULL")
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    connection.close()


def test_a_damaged_instance_is_governed_again_and_it_is_told(own: PlaneProcess) -> None:
    own.cli("instance", "create", "demo")
    own.ready("demo")
    assert {name: check.result for name, check in results(own).items()}["instances"] == "ok"
    own.kill()
    damage_states(own.home)
    own.start()
    until("it is told", lambda: results(own)["actors"].result == "warning", seconds=100)
    assert "rebuilt from" in results(own)["actors"].message
    assert results(own)["instances"].result == "ok"
    assert "actor.rebuilt" in own.log()
    assert "rebuilt from" in str(own.json("instance", "timeline", "demo"))
    own.cli("instance", "stop", "demo")
    assert health(own) == "ok"


def move_journal(home: Path, to: Path) -> None:
    """Move a journal with its write-ahead log, which a killed plane leaves."""
    to.mkdir(exist_ok=True)
    for path in list(home.glob("journal.db*")):
        shutil.move(path, to / path.name)


def test_a_machine_that_no_instance_owns_is_found(own: PlaneProcess, tmp_path: Path) -> None:
    own.cli("instance", "create", "demo")
    own.ready("demo")
    assert results(own)["machines"].result == "ok"
    view = own.view("demo")
    assert view is not None
    own.kill()
    kept = tmp_path / "kept"
    move_journal(own.home, kept)
    own.start()
    check = results(own)["machines"]
    assert check.result == "failed"
    assert view.machine_id in check.message
    assert health(own) == "degraded"
    own.kill()
    move_journal(own.home, tmp_path / "empty")
    move_journal(kept, own.home)
    own.start()
    assert results(own)["machines"].result == "ok"
