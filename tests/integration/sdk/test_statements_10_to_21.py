"""The promises A10 to A21 of the SDK, a test or more for each; docs/sdk.md lists them.

Where a promise is about the plane's side it is held here against a real HTTP server, and for the
plane itself in its own tests.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.clock import HOUR_MS, SystemClock
from holdfast.outbox import limits as queue_limits
from holdfast.sdk import Brain, doctor
from tests.integration.outbox.intake import SRC, HttpIntake, Programs, until
from tests.integration.sdk.programs import PROGRAM, black_hole, delivered, start, texts
from tests.support.patience import patience

Opened = Callable[..., Brain]


@pytest.mark.parametrize(
    "name", ["HOLDFAST_DISABLE_WRITE_THROUGH", "GRADATA_DISABLE_WRITE_THROUGH"]
)
def test_a10_the_kill_switch_stops_sending_and_threads_and_loses_nothing(
    name: str, opened: Opened, plane: HttpIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {thread.name for thread in threading.enumerate()}
    monkeypatch.setenv(name, "true")
    brain = opened(url=plane.url, api_key="k")
    made = [brain.correct(f"a{n}", f"b{n}", session="s").event_id for n in range(5)]
    end = brain.end_session("s", deadline_s=1)
    assert end.reason == f"gate: {name} is set"
    started = {thread.name for thread in threading.enumerate()} - before
    assert [thread for thread in started if thread.startswith("holdfast")] == []
    assert plane.connections == 0
    assert [event.event_id for event in brain.tail()][:5] == made
    monkeypatch.delenv(name)
    brain.correct("one", "more", session="s")
    until(lambda: len(plane.stored) == 7, "what piled up is delivered")
    assert list(plane.stored)[:5] == made


def test_a11_a_doctor_sees_the_queue_with_the_plane_down_and_starts_nothing(
    opened: Opened,
) -> None:
    brain = opened(url="http://127.0.0.1:9", api_key="k")
    for n in range(7):
        brain.correct(f"a{n}", f"b{n}")
    until(lambda: brain.stats().last_error, "it failed and said so")
    brain.close(0)
    before = threading.active_count()
    report = doctor.examine(brain.folder)
    assert threading.active_count() == before
    text = "\n".join(report.lines())
    assert "sync_queue: 7 pending" in text
    assert "last error" in text
    assert report.as_json()["facts"]["pending"] == 7
    assert report.exit_code == 1


def test_a12_close_drains_everything_and_not_one_batch(opened: Opened, plane: HttpIntake) -> None:
    brain = opened(url=plane.url, api_key="k")
    for n in range(450):
        brain.correct(f"a{n}", f"b{n}", session="s")
    assert brain.close(15).pending == 0
    assert len(plane.stored) == 450


def test_a12_close_ends_at_its_deadline_where_the_plane_is_silent(opened: Opened) -> None:
    with black_hole() as hole:
        brain = opened(url=hole, api_key="k")
        brain.correct("a b", "a c")
        started = time.monotonic()
        assert brain.close(0.5).pending == 1
        assert time.monotonic() - started < patience(5)
        later = opened(gate=lambda: "only looking")
        assert later.stats().pending == 1


@pytest.mark.parametrize(
    "last_line", ["sys.exit(0)", "os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)"]
)
def test_a12_the_end_of_the_program_drains(
    last_line: str, programs: Programs, plane: HttpIntake, tmp_path: Path
) -> None:
    body = "b = brain()\nfor n in range(40): b.correct(f'a{n}', f'b{n}', session='s')\n" + last_line
    program = start(programs, body, tmp_path / "brain", plane.url)
    assert program.wait(patience(30)) in {0, -signal.SIGTERM}
    assert len(plane.stored) == 40


def test_a13_fifty_poison_rows_at_the_head_do_not_stop_what_follows(
    opened: Opened, plane: HttpIntake
) -> None:
    def picky(body: dict[str, Any]) -> tuple[int, dict[str, str], bytes] | None:
        bad = [row for row in body["rows"] if "poison" in json.dumps(row["payload"])]
        return (422, {}, b'{"detail": "no", "code": "bad"}') if bad else None

    plane.answer = picky
    shut = ["shut"]
    brain = opened(url=plane.url, api_key="k", gate=lambda: shut[0])
    for n in range(50):
        brain.correct(f"poison{n}", f"b{n}", session="s")
    good = [brain.correct(f"good{n}", f"b{n}", session="s").event_id for n in range(10)]
    shut[0] = ""
    brain.correct("good too", "yes", session="s")
    until(lambda: set(good) <= plane.stored.keys(), "the good ones came in the same cycle")
    until(lambda: brain.stats().dead == 50, "the bad ones were put aside one by one")
    letters = brain.dead_letters()
    assert {letter.status for letter in letters} == {422}
    assert "bad" in letters[0].detail
    plane.answer = lambda _body: None
    assert brain.redrive() == 50
    assert brain.flush(15).pending == 0
    assert len(plane.stored) == 61


def test_a13_a_plane_that_fails_makes_no_dead_letters(opened: Opened, plane: HttpIntake) -> None:
    plane.answer = lambda _body: (500, {}, b"{}")
    brain = opened(url=plane.url, api_key="k")
    for n in range(3):
        brain.correct(f"a{n}", f"b{n}")
    until(lambda: len(plane.requests) > 4, "it was tried again and again")
    assert (brain.stats().pending, brain.stats().dead) == (3, 0)


def test_a14_a_dead_worker_is_replaced_at_the_next_call(opened: Opened, plane: HttpIntake) -> None:
    brain = opened(url=plane.url, api_key="k")
    brain.correct("a b", "a c")
    assert brain.flush(10).pending == 0
    drain_worker = brain._outbox._drain_worker
    assert drain_worker is not None
    dead = drain_worker._thread
    assert dead is not None
    # End it from within, as a bug would; the thread is gone, unnoticed.
    assert drain_worker.drainer is not None
    drain_worker.drainer.stopping = True
    brain._outbox._bell.ring_here()
    dead.join(patience(10))
    assert not dead.is_alive()
    made = brain.correct("d e", "d f")
    until(lambda: made.event_id in plane.stored, "another thread sends")


MANY = """
b = brain(durability="process")
say("ready")
sys.stdin.readline()
for n in range(50): b.correct(f"{sys.argv[3]} a{n}", f"{sys.argv[3]} b{n}", session=sys.argv[3])
say("done")
sys.stdin.readline()
b.close(15)
"""


def test_a15_of_eight_processes_one_sends_and_each_row_once(
    plane: HttpIntake, tmp_path: Path
) -> None:
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM + MANY, str(tmp_path / "brain"), plane.url, str(who)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(SRC)},
        )
        for who in range(8)
    ]  # fmt: skip
    try:
        for word in ("ready\n", "done\n"):
            for program in started:
                assert program.stdout is not None
                assert program.stdout.readline() == word
            if word == "ready\n":
                for program in started:
                    assert program.stdin is not None
                    program.stdin.write("go\n")
                    program.stdin.flush()
        until(lambda: len(plane.stored) == 400, "all rows came")
        sent = delivered(plane)
        assert len(sent) == len(set(sent)), "a row was sent twice though nobody crashed"
    finally:
        for program in started:
            program.communicate("\n", timeout=patience(30))


def test_a15_a_killed_holder_is_replaced_within_ten_seconds(
    programs: Programs, opened: Opened, plane: HttpIntake, tmp_path: Path
) -> None:
    holder = start(
        programs, "b = brain()\nb.correct('a b', 'a c')\nb.flush(10)\nsay('held')\ntime.sleep(60)",
        tmp_path / "brain", plane.url,
    )  # fmt: skip
    assert holder.stdout.readline() == "held\n"
    brain = opened(url=plane.url, api_key="k")
    os.kill(holder.pid, signal.SIGKILL)
    killed = time.monotonic()
    made = brain.correct("d e", "d f")
    until(lambda: made.event_id in plane.stored, "another took over")
    assert time.monotonic() - killed < patience(10)


def test_a16_a_forked_child_delivers_with_a_worker_of_its_own(
    programs: Programs, plane: HttpIntake, tmp_path: Path
) -> None:
    body = """
b = brain(durability="process")
b.correct("from the parent", "to the plane"); b.flush(10)
pid = os.fork()
if pid == 0:
    b.correct("from the child", "to the plane")
    code = b.flush(12).pending
    os._exit(code)
b.correct("from the parent again", "to the plane")
_, status = os.waitpid(pid, 0)
say(os.waitstatus_to_exitcode(status), b.flush(10).pending)
"""
    program = start(programs, body, tmp_path / "brain", plane.url)
    out, errors = program.communicate(timeout=patience(50))
    assert out == "0 0\n", errors
    assert sorted(texts(plane)) == ["from the child", "from the parent", "from the parent again"]


def test_a17_no_hook_takes_part_and_a_second_sync_doubles_nothing(
    opened: Opened, plane: HttpIntake, tmp_path: Path
) -> None:
    home = tmp_path / "home" / ".hermes"
    home.mkdir(parents=True)
    (home / "config.yaml").write_text("hooks: {}\n")
    brain = opened(url=plane.url, api_key="k")
    made = brain.correct("a b", "a c")
    until(lambda: made.event_id in plane.stored, "it came without any hook")
    # What an older hook would do once more at the end of a session.
    assert brain.sync(full=True, deadline_s=10).exit_code == 0
    assert list(plane.stored) == [made.event_id]
    assert (home / "config.yaml").read_text() == "hooks: {}\n"


def test_a18_what_was_made_before_there_was_a_key_is_delivered_once_there_is(
    opened: Opened, plane: HttpIntake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[str] = []
    brain = opened(notice=heard.append)
    made = [brain.correct(f"a{n}", f"b{n}") for n in range(3)]
    assert all(one.queued for one in made)
    assert "no address: set HOLDFAST_URL" in heard[0]
    assert "no address" in brain.waits_because
    path = tmp_path / "key.json"
    path.write_text(json.dumps({"url": plane.url, "api_key": "k"}))
    path.chmod(0o600)
    monkeypatch.setenv("HOLDFAST_KEY_FILE", str(path))
    until(lambda: len(plane.stored) == 3, "they flow once a key file is there")
    assert list(plane.stored) == [one.event_id for one in made]


def test_a19_delivered_rows_go_and_pending_ones_stay(opened: Opened, plane: HttpIntake) -> None:
    brain = opened(url=plane.url, api_key="k", durability="process")
    outbox = brain._outbox
    with outbox.transaction() as tx:
        for n in range(queue_limits.RATE_ROWS - 50):
            tx.enqueue("event", f"e{n}", {})
    assert brain.flush(15).pending == 0
    with sqlite3.connect(f"{brain.folder}/system.db") as db:
        # As if they had been delivered long ago; the next delivery purges them.
        db.execute("UPDATE sync_queue SET synced_at = 1 WHERE state = 1")
    db.close()
    kept = [brain.correct(f"a{n}", f"b{n}").event_id for n in range(60)]
    allowed = queue_limits.RATE_ROWS
    until(lambda: brain.stats().delivered == allowed, "as many were delivered as a minute allows")
    assert brain.stats().pending == 10
    with sqlite3.connect(f"{brain.folder}/system.db") as db:
        rows = {row for (row,) in db.execute("SELECT event_id FROM sync_queue")}
    db.close()
    assert len(rows) <= 100
    assert rows <= set(kept) | {f"e{n}" for n in range(allowed)}
    assert set(kept) <= rows


class Stepping(SystemClock):
    """The real steady clock, with a time of day that an administrator moves."""

    __slots__ = ("by_ms",)

    def __init__(self) -> None:
        self.by_ms = 0

    def now_ms(self) -> int:
        return super().now_ms() + self.by_ms


def test_a20_steps_of_the_clock_skip_double_and_delay_nothing(
    opened: Opened, plane: HttpIntake
) -> None:
    clock = Stepping()
    brain = opened(url=plane.url, api_key="k", clock=clock)
    made: list[str] = []
    for n, step_ms in enumerate([0, -HOUR_MS, 2 * HOUR_MS]):
        clock.by_ms += step_ms
        made.append(brain.correct(f"a{n}", f"b{n}", session="s").event_id)
        started = time.monotonic()
        until(lambda: made[-1] in plane.stored, "it came")
        assert time.monotonic() - started < patience(5)
    assert delivered(plane) == made
    numbers = [row["seq"] for row in plane.stored.values()]
    assert all(later == earlier + 1 for earlier, later in pairwise(numbers))


def test_a21_what_leaves_is_what_the_redactor_kept_and_no_key_is_in_the_folder(
    opened: Opened, plane: HttpIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOLDFAST_API_KEY", "hfm_topsecretkey00001")
    brain = opened(url=plane.url)
    secret = "ghp_" + "a1B2c3D4e5F6g7H8i9J0k1L2"
    brain.correct(f"Ask jo@x.org, use {secret}.", "Ask jo@x.org.", context="call +49 30 1234567")
    brain.record("TOOL", {"env": {"token": secret}, "to": ["eve@x.org"]})
    assert brain.flush(10).pending == 0
    brain.end_session()
    brain.close()
    sent = json.dumps([body for _, body in plane.requests])
    kept = b"".join(
        path.read_bytes() for path in Path(brain.folder).iterdir() if path.is_file()
    ).decode("utf-8", "replace")
    for private in (secret, "jo@x.org", "eve@x.org", "1234567"):
        assert private not in sent
        assert private not in kept
    assert "hfm_topsecretkey00001" not in kept
    assert "[mail]" in sent
    assert plane.requests[0][0]["Authorization"] == "Bearer hfm_topsecretkey00001"
