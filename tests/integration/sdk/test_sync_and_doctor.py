"""Sending in the foreground, and the state of a brain as seen from outside."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.kernel.clock import ManualClock, SystemClock
from holdfast.outbox import doctor as queue_doctor
from holdfast.sdk import Brain, doctor, sync
from holdfast.sdk.destination import Destination, ingest_url, keep, key_file, switched_off
from tests.integration.outbox.intake import HttpIntake, Programs, until
from tests.integration.sdk.programs import start

Opened = Callable[..., Brain]


def statuses(report: doctor.Report) -> dict[str, str]:
    return {check.name: check.status for check in report.checks}


def details(report: doctor.Report) -> dict[str, str]:
    return {check.name: check.detail for check in report.checks}


def test_sync_sends_while_the_kill_switch_is_set(
    opened: Opened, plane: HttpIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_DISABLE_WRITE_THROUGH", "yes")
    brain = opened(url=plane.url, api_key="k")
    made = [brain.correct(f"a{n}", f"b{n}") for n in range(3)]
    assert plane.stored == {}
    done = brain.sync(deadline_s=10)
    assert (done.delivered, done.pending, done.reason, done.exit_code) == (3, 0, "", sync.DELIVERED)
    assert list(plane.stored) == [one.event_id for one in made]
    assert brain.waits_because == "HOLDFAST_DISABLE_WRITE_THROUGH is set"
    brain.correct("still", "kept")
    assert brain.flush(0.2).reason == "gate: HOLDFAST_DISABLE_WRITE_THROUGH is set"
    assert len(plane.stored) == 3


def test_sync_counts_what_is_sent_before_it_looks_again(
    opened: Opened, plane: HttpIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drain thread may have sent everything by the time the call that wakes it returns."""
    monkeypatch.setenv("HOLDFAST_DISABLE_WRITE_THROUGH", "yes")
    brain = opened(url=plane.url, api_key="k")
    for n in range(3):
        brain.correct(f"a{n}", f"b{n}")
    resume = brain._outbox.resume

    def resumed_and_drained() -> None:
        resume()
        until(lambda: not brain.stats().pending, "everything was sent")

    monkeypatch.setattr(brain._outbox, "resume", resumed_and_drained)
    done = brain.sync(deadline_s=10)
    assert (done.delivered, done.pending, done.exit_code) == (3, 0, sync.DELIVERED)


def test_full_sends_everything_again_under_the_same_ids(opened: Opened, plane: HttpIntake) -> None:
    brain = opened(url=plane.url, api_key="k")
    for n in range(3):
        for _ in range(4):
            brain.correct(f"utilize {n}x", f"use {n}x", session=f"s{n}")
    brain.record("NOTE", {"n": 1})
    assert brain.flush(10).pending == 0
    first = dict(plane.stored)
    plane.stored.clear()
    done = brain.sync(full=True, deadline_s=20)
    assert (done.pending, done.exit_code) == (0, 0)
    # Repeats are sent with their last count alone; the rest is the same, under the same ids.
    skipped = {event_id for event_id in first if event_id.endswith(("~2", "~3"))}
    assert plane.stored.keys() == first.keys() - skipped
    for event_id, row in plane.stored.items():
        assert row["payload"] == first[event_id]["payload"]
        assert row["seq"] > first[event_id]["seq"]


def test_sync_says_what_is_missing(opened: Opened, plane: HttpIntake) -> None:
    brain = opened()
    brain.correct("a", "b")
    done = brain.sync(deadline_s=5)
    assert (done.exit_code, done.pending) == (sync.UNREADY, 1)
    assert "HOLDFAST_URL" in done.reason
    plane.answer = lambda _body: (503, {}, b"{}")
    down = opened("down", url=plane.url, api_key="k")
    down.correct("a", "b")
    assert down.sync(deadline_s=8).exit_code == sync.WAITING
    plane.answer = lambda _body: (422, {}, b'{"code": "bad"}')
    assert down.sync(deadline_s=8).exit_code == sync.DEAD
    assert [letter.status for letter in down.dead_letters()] == [422]
    plane.answer = lambda _body: None
    assert down.redrive() == 1
    assert down.sync(deadline_s=8).exit_code == sync.DELIVERED


def test_sync_of_a_folder_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with Brain(tmp_path / "file", notice=lambda _text: None) as brain:
        assert brain.sync(deadline_s=1).exit_code == sync.UNUSABLE


def test_a_doctor_tells_how_a_brain_stands(opened: Opened, plane: HttpIntake) -> None:
    brain = opened(url=plane.url, api_key="secret-key")
    brain.correct("a", "b")
    assert brain.flush(10).pending == 0
    plane.answer = lambda _body: (401, {}, b'{"detail": "who are you, secret-key?"}')
    brain.correct("c", "d")
    until(lambda: brain.stats().auth_since_ms, "the key was refused")
    report = doctor.examine(brain.folder, url=plane.url, api_key="secret-key")
    found, told = statuses(report), details(report)
    assert found["key"] == "fail"
    assert "refused since" in told["key"]
    assert told["queue"].startswith("sync_queue: 1 pending, the oldest for ")
    assert told["database"] == "2 corrections, 0 lessons"
    assert told["durability"] == "process"
    assert told["worker"] == f"process {os.getpid()} drains"
    assert re.search(r"last success \d+ s ago", told["delivery"])
    assert (report.status, report.exit_code) == ("broken", 2)
    text = json.dumps(report.as_json()) + "\n".join(report.lines())
    assert "secret-key" not in text
    assert '"pending": 1' in text


HOUR_MS = 3_600_000


def examined_later(brain: Brain, later_ms: int) -> doctor.Report:
    clock = ManualClock(SystemClock().now_ms() + later_ms)
    return doctor.examine(brain.folder, url="http://127.0.0.1:9", api_key="k", clock=clock)


def test_a_stalled_holder_with_old_rows_is_not_healthy(
    opened: Opened, plane: HttpIntake, programs: Programs
) -> None:
    plane.answer = lambda _body: (503, {}, b"{}")
    brain = opened(url=plane.url, api_key="k", gate=lambda: "another sends")
    holder = start(
        programs, "b = brain()\nb.correct('a', 'b')\nsay('made')\ntime.sleep(3600)\n",
        brain.folder, plane.url,
    )  # fmt: skip
    assert holder.stdout.readline() == "made\n"
    until(lambda: brain.stats().lease_pid == holder.pid, "the program sends")
    assert "not moved" not in details(examined_later(brain, 0))["worker"]
    os.kill(holder.pid, signal.SIGSTOP)
    report = examined_later(brain, 3 * HOUR_MS)
    found, told = statuses(report), details(report)
    assert (report.status, found["queue"], found["worker"]) == ("degraded", "warn", "warn")
    assert "the oldest row waits for 3 h" in told["queue"]
    assert f"process {holder.pid} is to send and has not moved for 3 h" in told["worker"]
    assert f"kill -CONT {holder.pid}" in report.stats.warning
    assert "3 h" in json.dumps(report.as_json()["facts"]["warning"])


def test_an_old_row_warns_whoever_is_to_send_it(opened: Opened) -> None:
    brain = opened(url="http://127.0.0.1:9", api_key="k", gate=lambda: "not now")
    brain.correct("a", "b")
    fresh = examined_later(brain, 0)
    assert (statuses(fresh)["queue"], fresh.stats.warning) == ("ok", "")
    assert statuses(examined_later(brain, HOUR_MS // 2))["queue"] == "warn"
    assert "no process sends" in details(examined_later(brain, 3 * HOUR_MS))["queue"]
    assert "holdfast brain sync" in details(examined_later(brain, 3 * HOUR_MS))["queue"]


def test_a_clock_that_was_set_back_hides_no_old_row(opened: Opened) -> None:
    brain = opened(url="http://127.0.0.1:9", api_key="k", gate=lambda: "not now")
    brain.correct("a", "b")
    report = examined_later(brain, -4 * HOUR_MS)
    assert statuses(report)["queue"] == "warn"
    assert "the clock, which was set back" in details(report)["queue"]


def test_a_holder_that_rested_is_no_stalled_one(opened: Opened, plane: HttpIntake) -> None:
    """One without rows does not beat, and a row just made says nothing about it."""
    brain = opened(url=plane.url, api_key="k")
    brain.correct("a", "b")
    assert brain.flush(10).pending == 0
    stats = brain.stats()._replace(pending=1, oldest_age_ms=50, lease_age_ms=HOUR_MS)
    assert stats.lease_pid == os.getpid()
    assert queue_doctor.stalled(stats) == ""
    assert queue_doctor.stalled(stats._replace(oldest_age_ms=HOUR_MS)) != ""


def test_a_doctor_warns_above_a_thousand_and_works_without_a_brain(
    opened: Opened, tmp_path: Path
) -> None:
    brain = opened(url="http://127.0.0.1:9", api_key="k", gate=lambda: "not now")
    for n in range(1_001):
        brain.correct(f"a{n}", f"b{n}", session="s")
    brain.close(0)
    report = doctor.examine(brain.folder)
    assert statuses(report)["queue"] == "warn"
    assert "1001 pending" in details(report)["queue"]
    assert statuses(report)["worker"] == "warn"
    nothing = doctor.examine(tmp_path / "nothing")
    assert statuses(nothing)["folder"] == "fail"
    assert nothing.exit_code == 2
    assert not (tmp_path / "nothing").exists()


def test_repair_sets_a_damaged_database_aside_and_keeps_the_record(opened: Opened) -> None:
    brain = opened(gate=lambda: "not now")
    made = [brain.correct(f"We utilize {n}a", f"We use {n}a", session=f"s{n}") for n in range(30)]
    name = brain.name()
    brain.close(0)
    path = Path(brain.folder, "system.db")
    raw = bytearray(path.read_bytes())
    raw[100 : len(raw) // 8] = os.urandom(len(raw) // 8 - 100)
    path.write_bytes(raw)
    with Path(brain.folder, "events.jsonl").open("ab") as log:
        log.write(b'{"n":99,"torn')
    assert statuses(doctor.examine(brain.folder))["database"] == "fail"
    done = doctor.repair(brain.folder)
    assert done[-1] == "events.jsonl: written anew from the database"
    assert doctor.examine(brain.folder).stats.quarantined == 1
    again = opened(gate=lambda: "not now")
    assert {event.event_id for event in again.tail(after=0, most=500)} >= {
        one.event_id for one in made
    }
    assert again.correct("We utilize 3a", "We use 3a", session="s3").seen == 2
    stats = again.stats()
    assert stats.pending + stats.lost >= 30
    assert again.name() == name
    for line in Path(brain.folder, "events.jsonl").read_text().splitlines():
        json.loads(line)


def test_address_and_key_are_found_in_their_order(tmp_path: Path) -> None:
    path = str(tmp_path / "config" / "brain.json")
    environment = {"HOLDFAST_KEY_FILE": path}
    destination = Destination(environment=environment)
    assert "HOLDFAST_URL" in destination.find().problem
    keep("https://file.example", "file-key", path=path)
    found = destination.find()
    assert (found.url, found.key) == ("https://file.example/api/v1/ingest", "file-key")
    assert "file-key" not in repr(found)
    Path(path).chmod(0o644)
    assert "chmod 600" in destination.find().problem
    Path(path).chmod(0o600)
    environment["GRADATA_ENDPOINT"] = "https://old.example/v1"
    environment["GRADATA_API_KEY"] = "old-key"
    assert destination.find()[:2] == ("https://old.example/api/v1/ingest", "old-key")
    environment["HOLDFAST_URL"] = "https://new.example/"
    environment["HOLDFAST_API_KEY"] = "new-key"
    assert destination.find()[:2] == ("https://new.example/api/v1/ingest", "new-key")
    mine = Destination("https://mine.example", "my-key", environment=environment)
    assert mine.find()[:2] == ("https://mine.example/api/v1/ingest", "my-key")
    assert mine.find().mark() != destination.find().mark()
    assert key_file({"XDG_CONFIG_HOME": "/x"}) == "/x/holdfast/brain.json"


@pytest.mark.parametrize(
    ("value", "off"),
    [("1", True), ("true", True), ("YES", True), (" on ", True), ("0", False), ("", False),
     ("no", False)],
)  # fmt: skip
def test_what_sets_the_kill_switch(value: str, off: bool) -> None:  # noqa: FBT001  a case
    for name in ("HOLDFAST_DISABLE_WRITE_THROUGH", "GRADATA_DISABLE_WRITE_THROUGH"):
        assert switched_off({name: value}) == (name if off else "")


@pytest.mark.parametrize(
    "base",
    ["https://p.example", "https://p.example/", "https://p.example/api/v1",
     "https://p.example/v1", "https://p.example/api/v1/ingest"],
)  # fmt: skip
def test_the_address_of_the_intake(base: str) -> None:
    assert ingest_url(base) == "https://p.example/api/v1/ingest"
