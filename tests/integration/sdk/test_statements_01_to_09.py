"""The promises A1 to A9 of the SDK, a test or more for each; docs/sdk.md lists them.

Where a promise is about the plane's side it is held here against a real HTTP server, and for the
plane itself in its own tests.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from holdfast.outbox import limits as queue_limits
from holdfast.sdk import Brain, doctor, event_log
from tests.integration.outbox.intake import HttpIntake, Programs, until
from tests.integration.sdk.programs import black_hole, delivered, start
from tests.support.patience import patience

Opened = Callable[..., Brain]


def test_a01_nothing_of_the_network_happens_on_the_callers_thread(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers: list[tuple[int, object]] = []
    real = socket.socket.connect

    def connect(self: socket.socket, address: object) -> None:
        callers.append((threading.get_ident(), address))
        real(self, address)  # type: ignore[arg-type]  # whatever it was called with

    monkeypatch.setattr(socket.socket, "connect", connect)
    with black_hole() as hole:
        for url in (hole, "http://127.0.0.1:9", "https://no.such.host.invalid"):
            brain = opened(url[-5:].strip(":/"), url=url, api_key="k")
            for n in range(20):
                assert brain.correct(f"a{n}", f"b{n}").queued
        until(lambda: any(isinstance(at, tuple) for _, at in callers), "somebody connected")
    mine = threading.get_ident()
    assert [at for who, at in callers if who == mine and isinstance(at, tuple)] == []


def test_a01_a_hundred_calls_are_back_while_the_plane_is_silent(opened: Opened) -> None:
    with black_hole() as hole:
        brain = opened(url=hole, api_key="k")
        made = [brain.correct(f"a{n}", f"b{n}") for n in range(100)]
        # The first request waits for its answer for fifteen seconds; no call waited with it.
        assert all(one.persisted and one.queued for one in made)
        assert brain.stats().pending == 100


def test_a02_a_session_that_never_ends_is_delivered_all_the_same(
    opened: Opened, plane: HttpIntake
) -> None:
    brain = opened(url=plane.url, api_key="k")
    for n in range(3):
        made = brain.correct(f"a{n}", f"b{n}", session="endless")
        until(lambda: made.event_id in plane.stored, "it came by itself")  # noqa: B023  # at once


def test_a03_what_was_made_during_an_outage_comes_in_order_and_once(
    opened: Opened, plane: HttpIntake
) -> None:
    plane.answer = lambda _body: (503, {}, b"{}")
    brain = opened(url=plane.url, api_key="k")
    made = [brain.correct(f"a{n}", f"b{n}").event_id for n in range(50)]
    until(lambda: len(plane.requests) >= 2, "it was tried again by timer")
    assert brain.stats().pending == 50
    plane.answer = lambda _body: None
    until(lambda: len(plane.stored) == 50, "all came after the recovery")
    assert list(plane.stored) == made


def test_a03_the_next_program_sends_what_the_last_one_could_not(
    opened: Opened, plane: HttpIntake
) -> None:
    brain = opened(url="http://127.0.0.1:9", api_key="k")
    made = [brain.correct(f"a{n}", f"b{n}").event_id for n in range(5)]
    brain.close(0)
    opened(url=plane.url, api_key="k")
    until(lambda: list(plane.stored) == made, "opening sends what waits")


def test_a04_one_id_in_log_queue_and_wire_and_a_repeat_is_no_second(
    opened: Opened, plane: HttpIntake
) -> None:
    brain = opened(url=plane.url, api_key="k")
    first = brain.correct("a b c", "a b d", session="s")
    again = brain.correct("a b c", "a b d", session="s")
    assert brain.flush(10).pending == 0
    brain.close()
    logged = [
        json.loads(line) for line in Path(brain.folder, event_log.LOG).read_text().splitlines()
    ]
    assert [line["event_id"] for line in logged] == [first.event_id] == [again.event_id]
    with sqlite3.connect(f"{brain.folder}/system.db") as db:
        rows = [row for (row,) in db.execute("SELECT event_id FROM sync_queue ORDER BY id")]
    db.close()
    assert rows == delivered(plane) == [first.event_id, f"{first.event_id}~2"]
    hashes = {row["payload"]["content_hash"] for row in plane.stored.values()}
    assert hashes == {first.content_hash}


def test_a04_an_answer_that_was_lost_leads_to_no_second(opened: Opened, plane: HttpIntake) -> None:
    lost: list[int] = []

    def lose(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes] | None:
        if lost:
            return None
        lost.append(1)
        for row in body["rows"]:
            plane.stored[row["event_id"]] = row
        return 502, {}, b"{}"

    plane.answer = lose
    brain = opened(url=plane.url, api_key="k")
    made = brain.correct("a b c", "a b d")
    assert brain.flush(10).pending == 0
    assert delivered(plane) == [made.event_id] * 2
    stats = brain.stats()
    assert (stats.delivered, stats.deduplicated) == (1, 1)


KILLED = """
import threading
brain = brain(gate=lambda: "shut")
def die():
    time.sleep(float(sys.argv[3]))
    os.kill(os.getpid(), signal.SIGKILL)
brain.correct(f"We utilize {sys.argv[4]} 0.", f"We use {sys.argv[4]} 0.", session="s")
threading.Thread(target=die, daemon=True).start()
say("go")
n = 0
while True:
    n += 1
    brain.correct(f"We utilize {sys.argv[4]} {n}.", f"We use {sys.argv[4]} {n}.", session="s")
"""


def both_or_neither(folder: Path) -> int:
    """Return how many corrections there are; each must be queued, and each queued one known."""
    db = sqlite3.connect(folder / "system.db")
    events = {row for (row,) in db.execute("SELECT event_id FROM hf_events")}
    queued = {row for (row,) in db.execute("SELECT event_id FROM sync_queue")}
    corrections = db.execute("SELECT count(*) FROM hf_corrections").fetchone()[0]
    listed = db.execute("SELECT count(*) FROM hf_events WHERE type = 'CORRECTION'").fetchone()[0]
    db.close()
    assert events == queued
    assert corrections == listed
    return int(corrections)


@pytest.mark.parametrize("round_", range(int(os.environ.get("HOLDFAST_KILLS", "4"))))
def test_a05_a_kill_leaves_both_or_neither(round_: int, programs: Programs, tmp_path: Path) -> None:
    folder = tmp_path / "brain"
    after_s = 0.03 + (round_ * 0.0137) % 0.2
    for life in range(2):
        program = start(programs, KILLED, folder, "http://127.0.0.1:9", after_s, life)
        assert program.wait(patience(30)) == -signal.SIGKILL
    assert both_or_neither(folder) > 0
    with Brain(folder, gate=lambda: "shut", notice=lambda _text: None) as brain:
        assert (brain.stats().lost, brain.stats().dropped) == (0, 0)


def test_a06_what_is_made_within_a_second_shares_a_request(
    opened: Opened, plane: HttpIntake
) -> None:
    brain = opened(url=plane.url, api_key="k")
    brain.correct("first", "alone", session="s")
    until(lambda: len(plane.stored) == 1, "a lone one leaves at once")
    started = time.monotonic()
    for n in range(100):
        brain.correct(f"a{n}", f"b{n}", session="s")
    took = time.monotonic() - started
    until(lambda: len(plane.stored) == 101)
    # One request for each second that it took to make them, and one for what was left.
    assert len(plane.requests) <= 3 + took
    assert max(len(body["rows"]) for _, body in plane.requests) <= queue_limits.BATCH_ROWS_MAX


def test_a07_over_the_limit_it_waits_as_told_and_loses_nothing(
    opened: Opened, plane: HttpIntake
) -> None:
    told: list[float] = []

    def limited(_body: dict[str, Any]) -> tuple[int, dict[str, str], bytes] | None:
        if told:
            return None
        told.append(time.monotonic())
        return 429, {"Retry-After": "2"}, b'{"detail": "600 a minute", "code": "too_many"}'

    plane.answer = limited
    brain = opened(url=plane.url, api_key="k")
    made = [brain.correct(f"a{n}", f"b{n}", session="s").event_id for n in range(300)]
    until(lambda: len(plane.stored) == 300, "all came in the end")
    came = time.monotonic() - told[0]
    assert came >= 2.0, "it came back before the time it was told"
    assert list(plane.stored) == made


@pytest.mark.parametrize("status", [401, 403])
def test_a08_a_refused_key_keeps_everything_and_another_one_frees_it(
    status: int, opened: Opened, plane: HttpIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    monkeypatch.setenv("HOLDFAST_URL", plane.url)
    monkeypatch.setenv("HOLDFAST_API_KEY", "bad")
    real_take = plane.take

    def take(headers: dict[str, str], body: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if headers["Authorization"] != "Bearer good":
            return status, {}, b'{"detail": "no", "code": "unauthorized"}'
        return real_take(headers, body)

    monkeypatch.setattr(plane, "take", take)
    brain = opened(notice=heard.append)
    for n in range(5):
        brain.correct(f"a{n}", f"b{n}")
    until(lambda: brain.stats().auth_since_ms, "the refusal was written down")
    for n in range(5, 8):
        brain.correct(f"a{n}", f"b{n}")
    report = doctor.examine(brain.folder)
    [key] = [check for check in report.checks if check.name == "key"]
    assert key.status == "fail"
    assert "8 rows wait" in key.detail
    assert len([line for line in heard if "key was refused" in line]) == 1
    assert (brain.stats().pending, brain.stats().dead) == (8, 0)
    monkeypatch.setenv("HOLDFAST_API_KEY", "good")
    started = time.monotonic()
    until(lambda: len(plane.stored) == 8, "they flow with the new key")
    assert time.monotonic() - started < patience(5 + queue_limits.HOLD_LOOK_MS / 1_000)


def test_a09_a_batch_names_its_version_and_unknown_answers_are_ignored(
    opened: Opened, plane: HttpIntake
) -> None:
    plane.answer = lambda body: (
        200, {}, json.dumps({"accepted": len(body["rows"]), "newer": {"field": [1]}}).encode(),
    )  # fmt: skip
    brain = opened(url=plane.url, api_key="k")
    brain.correct("a b", "a c")
    assert brain.flush(10).pending == 0
    [(headers, body)] = plane.requests
    assert body["version"] == 1
    assert body["sdk"].startswith("holdfast/")
    assert headers["User-Agent"] == body["sdk"]


def test_a09_a_version_that_is_refused_is_tried_again_and_never_dropped(
    opened: Opened, plane: HttpIntake
) -> None:
    refusal = b'{"detail": "versions 3 to 4", "code": "unsupported_version"}'
    plane.answer = lambda _body: (400, {}, refusal)
    brain = opened(url=plane.url, api_key="k")
    brain.correct("a b", "a c")
    until(lambda: "unsupported_version" in brain.stats().last_error, "the reason is told")
    assert (brain.stats().pending, brain.stats().dead) == (1, 0)
