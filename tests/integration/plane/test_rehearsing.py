"""Rehearsals and quarantine of the real plane; rehearsals change nothing."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path

import psutil
import pytest

from holdfast.actors.ports import Arrival
from holdfast.cli.client import ApiError, Client
from holdfast.instances.definition import INSTANCE
from holdfast.kernel.clock import SystemClock
from holdfast.kernel.ids import address
from holdfast.stores.sqlite.journal import SqliteJournal
from holdfast.wire.api.rehearsals import (
    DryRunRequest,
    ExplainRequest,
    Rehearsal,
    ReplayRequest,
    WhatIfRequest,
)
from tests.support.planes import PlaneProcess, cmdline, until

POISON = (b'{"type":"NoSuchEvent"}', b"not even JSON")


@pytest.fixture(scope="module")
def steered(shared: PlaneProcess) -> PlaneProcess:
    """Return the plane once its demo was stopped and started, so that its log has waits in it."""
    shared.ready("demo")
    shared.cli("instance", "stop", "demo", "--wait", "20")
    shared.cli("instance", "start", "demo", "--wait", "20")
    shared.ready("demo")
    return shared


def fingerprint(home: Path) -> dict[str, str]:
    """Return the hashes of the journal's files; -shm is the readers' own book-keeping."""
    return {
        name: hashlib.sha256((home / name).read_bytes()).hexdigest()
        for name in ("journal.db", "journal.db-wal")
    }


def audited(client: Client) -> list[str]:
    return [row.endpoint for row in client.call("audit.list", query={"limit": "50"}).items]


def test_rehearsals_answer_and_touch_nothing(steered: PlaneProcess) -> None:
    shared = steered
    view = shared.ready("demo")
    path = {"kind": "instance", "id": view.id}
    with shared.client() as client:

        def ask(mode: str, body: object) -> Rehearsal:
            answer: Rehearsal = client.call(f"rehearse.{mode}", path=path, body=body)
            return answer

        ask("dry-run", DryRunRequest())  # the worker is there from now on
        before, rows = fingerprint(shared.home), len(audited(client))
        ahead = ask("dry-run", DryRunRequest(ticks=3))
        assert ahead.ticks[0].suppressed[0].rule == "converged"
        replayed = ask("replay", ReplayRequest())
        assert (replayed.differences, replayed.bit_equal) == (0, True)
        assert replayed.events_folded > 5
        otherwise = ask("what-if", WhatIfRequest(policy={"wait_ms": 1}, from_seq=0))
        assert otherwise.differences > 0
        imagined = ask("what-if", WhatIfRequest(events=({"type": "StopRequested"},), ticks=2))
        assert [a.name for tick in imagined.ticks for a in tick.actions]
        why = ask("explain", ExplainRequest())
        assert why.ticks
        assert fingerprint(shared.home) == before
        names = audited(client)
        assert len(names) == min(50, rows + 5)
        assert set(names[:5]) == {
            "rehearse.dry-run", "rehearse.replay", "rehearse.what-if", "rehearse.explain",
        }  # fmt: skip
        for wrong in ({"kind": "town", "id": "x"}, {"kind": "instance", "id": "nobody"}):
            with pytest.raises(ApiError, match="404"):
                client.call("rehearse.dry-run", path=wrong, body=DryRunRequest())
        with pytest.raises(ApiError, match="400"):
            ask("what-if", WhatIfRequest(policy={"no_such_field": 1}))
    assert (shared.view("demo") or view).status == "running"


def test_the_worker_holds_no_socket(shared: PlaneProcess) -> None:
    shared.cli("rehearse", "dry-run", "demo")
    pid = shared.holder_pid()
    assert pid is not None
    workers = [p for p in psutil.Process(pid).children() if "multiprocessing" in cmdline(p)]
    assert any("spawn_main" in cmdline(p) for p in workers)
    for worker in workers:
        kinds = [str(link.readlink()) for link in Path(f"/proc/{worker.pid}/fd").iterdir()]
        assert not [kind for kind in kinds if kind.startswith("socket:")]


def test_rehearsals_by_the_command_line(steered: PlaneProcess) -> None:
    shared = steered
    assert "nothing to do" in shared.cli("rehearse", "dry-run", "demo").stdout
    assert "state bit-equal  true" in shared.cli("rehearse", "replay", "demo").stdout
    told = shared.cli("rehearse", "what-if", "demo", "--policy", "wait_ms=1", "--from", "0").stdout
    assert "would decide otherwise" in told
    assert shared.json("rehearse", "explain", "demo")["mode"] == "explain"
    assert shared.cli("rehearse", "dry-run", "nobody", code=4)
    assert shared.cli("rehearse", "dry-run", "instance/", code=2)
    assert shared.cli("rehearse", "what-if", "demo", "--policy", "nonsense", code=2)


def test_poison_is_named_kept_and_decided_about(own: PlaneProcess) -> None:
    made = own.json("instance", "create", "ill", "--stopped")
    assert own.terminate() == 0
    asyncio.run(plant(own.home / "journal.db", made["id"]))
    own.start()
    listed = until("both are in quarantine", lambda: _quarantined(own, len(POISON)))
    assert {q["actor"] for q in listed} == {f"instance/{made['id']}"}
    assert all(q["error"] for q in listed)
    first, second = (q["event"] for q in listed)
    shown = own.cli("quarantine", "list").stdout
    assert first[:8] in shown
    assert own.cli("doctor").stdout.count("2 events are in quarantine") == 1
    shown = own.cli("operation", "show", first).stdout
    assert "quarantined" in shown

    own.cli("quarantine", "drop", first[:8], "--reason", "not ours")
    assert own.json("quarantine", "retry", second)["result"] == "retrying"
    again = until("it failed again", lambda: _quarantined(own, 1))
    assert again[0]["event"] not in {first, second}
    own.cli("quarantine", "drop", again[0]["event"])
    assert _quarantined(own, 0) == []
    own.cli("quarantine", "drop", first, code=1)
    own.cli("quarantine", "drop", "0" * 24, code=4)
    own.cli("instance", "start", "ill", "--wait", "20")


def _quarantined(plane: PlaneProcess, count: int) -> list[dict[str, str]] | None:
    found: list[dict[str, str]] = plane.json("quarantine", "list")["items"]
    return found if len(found) == count else None


async def plant(path: Path, instance_id: str) -> None:
    """Accept events that no code of this version can take."""
    journal = SqliteJournal(path, clock=SystemClock())
    try:
        await journal.accept(
            [
                (
                    address("instance", instance_id),
                    Arrival(
                        body=body, dedupe=f"poison:{n}", version=INSTANCE.version, source="api"
                    ),
                )
                for n, body in enumerate(POISON)
            ]
        )
    finally:
        await journal.close()
