"""Several processes, kills, forks, signals and the end of programs; over real HTTP.

HOLDFAST_OUTBOX_KILLS sets how often the sender is killed (the figure of the campaign is 1,000).
"""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.secret import Secret
from holdfast.outbox import HttpSender, Target, inspect, open_outbox
from tests.integration.outbox.intake import HttpIntake, Programs
from tests.support.patience import patience

KILLS = int(os.environ.get("HOLDFAST_OUTBOX_KILLS", "8"))
Until = Callable[..., None]

ENQUEUE_FOR_EVER = """
box = open_outbox(folder, sender=sender(), durability="process")
with box.transaction() as tx:
    tx.execute("CREATE TABLE IF NOT EXISTS mine (id TEXT)")
n = 0
while True:
    name = f"{os.getpid()}-{sys.argv[3]}-{n}"
    with box.transaction() as tx:
        tx.execute("INSERT INTO mine VALUES (?)", (name,))
        tx.enqueue("correction", name, {"n": n})
    say(name)
    n += 1
    time.sleep(0.004)
"""


def stopped_outside_a_write(pid: int, folder: Path) -> bool:
    os.kill(pid, signal.SIGSTOP)
    with (folder / "outbox.lock").open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.kill(pid, signal.SIGCONT)
            return False
    return True


@pytest.mark.timeout(7_200)
def test_killed_at_random_nothing_is_lost_and_nothing_doubled(
    tmp_path: Path, http_intake: HttpIntake, programs: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = random.Random(7)
    said: set[str] = set()
    known: set[str] = set()
    for number in range(KILLS):
        program = programs.start(ENQUEUE_FOR_EVER, tmp_path, http_intake.url, number)
        assert program.stdout is not None
        said.add(program.stdout.readline().strip())
        time.sleep(chance.uniform(0, 0.25))
        program.kill()
        rest, _ = program.communicate()
        programs.started.remove(program)
        said |= {line for line in rest.splitlines(keepends=False) if line}
        with http_intake.lock:
            known = set(http_intake.stored)
    # The last line may have been cut short by the kill: what is in the table is the truth.
    monkeypatch.setattr("holdfast.outbox.limits.RATE_ROWS", 10**9)
    sender = HttpSender(lambda: Target(http_intake.url, Secret("k")), clock=SystemClock())
    with open_outbox(tmp_path, sender=sender, durability="process") as box:
        assert box.flush(30).pending == 0
        with box.transaction() as tx:
            recorded = {name for (name,) in tx.execute("SELECT id FROM mine")}
        stats = box.stats()
    assert known <= recorded
    assert set(http_intake.stored) == recorded
    assert {name for name in said if name in recorded or len(name.split("-")) == 3} <= recorded
    assert len(recorded) >= KILLS
    assert (stats.lost, stats.dropped, stats.dead) == (0, 0, 0)
    assert sorted(item["seq"] for item in http_intake.stored.values()) == list(
        range(1, len(recorded) + 1)
    )


def test_one_of_several_processes_sends_and_another_takes_over(
    tmp_path: Path, http_intake: HttpIntake, programs: Programs, until: Until
) -> None:
    body = """
box = open_outbox(folder, sender=sender(), durability="process")
say("ready")
for line in range(60):
    box.enqueue("event", f"{sys.argv[3]}-{line}", {})
    time.sleep(0.02)
say("done")
time.sleep(60)
"""
    crowd = [programs.start(body, tmp_path, http_intake.url, name) for name in "abc"]
    for program in crowd:
        assert program.stdout is not None
        assert program.stdout.readline() == "ready\n"
    for program in crowd:
        assert program.stdout is not None
        assert program.stdout.readline() == "done\n"
    until(lambda: len(http_intake.stored) == 180)
    sent = [row["event_id"] for _, body in http_intake.requests for row in body["rows"]]
    assert len(sent) == 180, "each row was sent once, by one holder"
    until(lambda: inspect(tmp_path, clock=SystemClock()).pending == 0)
    holder_pid = inspect(tmp_path, clock=SystemClock()).lease_pid
    holder = next(program for program in crowd if program.pid == holder_pid)
    # A stopped holder neither dies nor beats: only the lease's expiry helps. (Stopped in the middle
    # of a write it would hold the folder's lock: not tested here.)
    until(lambda: stopped_outside_a_write(holder.pid, tmp_path))
    started = time.monotonic()
    with open_outbox(tmp_path, durability="process") as box:
        assert box.enqueue("event", "late", {}).state == "stored"
    until(lambda: "late" in http_intake.stored, "another process took over")
    assert time.monotonic() - started < patience(10)
    assert inspect(tmp_path, clock=SystemClock()).lease_pid != holder_pid
    holder.send_signal(signal.SIGCONT)


def test_a_killed_holder_is_replaced(
    tmp_path: Path, http_intake: HttpIntake, programs: Programs, until: Until
) -> None:
    body = """
box = open_outbox(folder, sender=sender(), durability="process")
box.enqueue("event", sys.argv[3], {})
say("ready")
time.sleep(60)
"""
    first = programs.start(body, tmp_path, http_intake.url, "a")
    until(lambda: "a" in http_intake.stored)
    first.kill()
    started = time.monotonic()
    programs.start(body, tmp_path, http_intake.url, "b")
    until(lambda: "b" in http_intake.stored)
    assert time.monotonic() - started < patience(10)


def test_a_forked_child_delivers_by_itself(
    tmp_path: Path, http_intake: HttpIntake, programs: Programs, until: Until
) -> None:
    body = """
box = open_outbox(folder, sender=sender(), durability="process")
box.enqueue("event", "parent", {})
box.flush(5)
child = os.fork()
if child == 0:
    box.enqueue("event", "child", {})
    flushed = box.flush(10)
    say("child", flushed.pending, box.draining)
    sys.exit(0)
os.waitpid(child, 0)
box.enqueue("event", "parent2", {})
say("parent", box.flush(10).pending)
box.close()
"""
    program = programs.start(body, tmp_path, http_intake.url)
    out, errors = program.communicate(timeout=patience(30))
    assert (program.returncode, errors) == (0, "")
    assert out.splitlines() == ["child 0 True", "parent 0"]
    assert set(http_intake.stored) == {"parent", "child", "parent2"}
    assert inspect(tmp_path, clock=SystemClock()).lost == 0


FORK = """
box = open_outbox(folder, durability="power")
other = open_outbox(folder + "/other", durability="power")
memory = open_outbox(folder, durability="memory")
for one in (box, other, memory):
    one.enqueue("event", "parent", {})
ready, go = os.pipe(), os.pipe()
"""


def ids(folder: Path) -> set[str]:
    with (
        open_outbox(folder, durability="power") as box,
        box.transaction() as tx,
    ):
        return {name for (name,) in tx.execute("SELECT event_id FROM sync_queue")}


def test_a_child_keeps_what_it_stored_when_the_parent_closes_first(
    tmp_path: Path, programs: Programs
) -> None:
    body = """
child = os.fork()
if child == 0:
    states = [one.enqueue("event", "child", {}).state for one in (box, other, memory)]
    os.write(ready[1], b"x")
    os.read(go[0], 1)
    for n in range(10):
        states += [one.enqueue("event", f"child{n}", {}).state for one in (box, other, memory)]
    os._exit(0 if set(states) == {"stored"} else 1)
os.read(ready[0], 1)
states = [one.enqueue("event", "parent2", {}).state for one in (box, other, memory)]
say(*states, memory.stats().pending)
for one in (box, other, memory):
    one.close(0)
os.write(go[1], b"x")
say(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    (tmp_path / "other").mkdir()
    program = programs.start(FORK + body, tmp_path, "-")
    out, errors = program.communicate(timeout=patience(30))
    assert (out, errors) == ("stored stored stored 2\n0\n", "")
    wanted = {"parent", "parent2", "child", *(f"child{n}" for n in range(10))}
    assert ids(tmp_path) == wanted
    assert ids(tmp_path / "other") == wanted


def test_a_fork_inside_a_transaction_leaves_it_to_the_parent(
    tmp_path: Path, programs: Programs
) -> None:
    body = """
try:
    with box.transaction() as tx:
        tx.enqueue("event", "inside", {})
        child = os.fork()
except UnavailableError as error:
    late = box.enqueue("event", "late", {})
    elsewhere = other.enqueue("event", "child", {})
    say("child", late.state, elsewhere.state, late.reason)
    os._exit(0)
say("parent", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
say(box.enqueue("event", "after", {}).state)
"""
    (tmp_path / "other").mkdir()
    head = "from holdfast.outbox import UnavailableError\n"
    program = programs.start(head + FORK + body, tmp_path, "-")
    out, errors = program.communicate(timeout=patience(30))
    refused = "child dropped stored system.db: was in use when this process was forked"
    assert (out.splitlines(), errors) == ([refused, "parent 0", "stored"], "")
    assert ids(tmp_path) == {"parent", "inside", "after"}
    assert ids(tmp_path / "other") == {"parent", "child"}


def test_forks_while_other_threads_write_lose_nothing(tmp_path: Path, programs: Programs) -> None:
    body = """
import threading
def write(one, name):
    for n in range(40):
        assert one.enqueue("event", f"{name}{n}", {}).state == "stored"
threads = [threading.Thread(target=write, args=(one, "t")) for one in (box, other)]
for thread in threads: thread.start()
codes = []
for n in range(8):
    child = os.fork()
    if child == 0:
        states = {one.enqueue("event", f"child{n}", {}).state for one in (box, other)}
        os._exit(0 if states == {"stored"} else 1)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
for thread in threads: thread.join()
say(*codes)
"""
    (tmp_path / "other").mkdir()
    program = programs.start(FORK + body, tmp_path, "-")
    out, errors = program.communicate(timeout=patience(40))
    assert (out, errors) == ("0 0 0 0 0 0 0 0\n", "")
    wanted = {"parent", *(f"t{n}" for n in range(40)), *(f"child{n}" for n in range(8))}
    assert ids(tmp_path) == wanted
    assert ids(tmp_path / "other") == wanted


@pytest.mark.parametrize("end", ["exit", "term", "exception"])
def test_the_end_of_a_program_sends_what_waits(
    tmp_path: Path, http_intake: HttpIntake, programs: Programs, end: str
) -> None:
    body = """
box = open_outbox(folder, sender=sender(), durability="process")
box.enqueue("event", "first", {})
for n in range(300):
    box.enqueue("event", f"e{n}", {})
say("ready")
if sys.argv[3] == "term":
    time.sleep(60)
if sys.argv[3] == "exception":
    raise SystemExit(3)
"""
    program = programs.start(body, tmp_path, http_intake.url, end)
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    if end == "term":
        program.terminate()
    program.wait(patience(30))
    assert program.returncode == {"exit": 0, "term": -signal.SIGTERM, "exception": 3}[end]
    assert len(http_intake.stored) == 301
    assert inspect(tmp_path, clock=SystemClock()).pending == 0


def test_a_program_ends_when_nobody_answers(tmp_path: Path, programs: Programs) -> None:
    body = """
box = open_outbox(folder, sender=sender(), durability="process", notice=lambda text: None)
box.enqueue("event", "a", {})
"""
    program = programs.start(body, tmp_path, "http://127.0.0.1:1/api")
    assert program.wait(patience(30)) == 0
    stats = inspect(tmp_path, clock=SystemClock())
    assert stats.pending == 1
    assert stats.last_error.startswith("network: ConnectionRefusedError")
    assert stats.failing_since_ms > 0


def test_no_key_is_written_into_the_folder_and_payloads_leave_as_they_were(
    tmp_path: Path, http_intake: HttpIntake
) -> None:
    key = "hfm_very_secret_key_1234567890"
    http_intake.answer = lambda _body: (401, {}, f"what is {key}?".encode())
    target = [Target(http_intake.url, Secret(key))]
    sender = HttpSender(lambda: target[0], clock=SystemClock())
    with open_outbox(
        tmp_path, sender=sender, durability="process", notice=lambda _text: None
    ) as box:
        box.enqueue("correction", "a", '{"text": "grüße",  "n":1}')
        assert box.flush(5).reason == "auth"
        box._queue.checkpoint()
        for file in tmp_path.iterdir():
            if file.is_file():
                assert key.encode() not in file.read_bytes(), file.name
        http_intake.answer = lambda _body: None
        target[0] = Target(http_intake.url, Secret("another"))
        assert box.flush(5).pending == 0
        for n in range(3):
            box.enqueue("event", f"more{n}", {})
            assert box.flush(5).pending == 0
    headers, body = http_intake.requests[1]
    assert headers["Authorization"] == "Bearer another"
    assert body["version"] == 1
    assert body["rows"][0]["payload"] == {"text": "grüße", "n": 1}
    assert json.dumps(body["rows"][0]["seq"]) == "1"
    # The 401 and what followed went over one kept connection.
    assert http_intake.connections == 1


def test_the_log_stays_short_and_is_emptied_by_the_holder(
    tmp_path: Path, http_intake: HttpIntake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.outbox.limits.WAL_CHECKPOINT_BYTES", 200_000)
    monkeypatch.setattr("holdfast.outbox.limits.WAL_IDLE_MS", 0)
    sender = HttpSender(lambda: Target(http_intake.url, Secret("k")), clock=SystemClock())
    with open_outbox(tmp_path, sender=sender, durability="process") as box:
        most = 0
        for n in range(60):
            box.enqueue("event", f"e{n}", {"t": "x" * 2_000})
            most = max(most, box._queue.wal_bytes())
        assert most
        assert box.flush(10).pending == 0
        end = time.monotonic() + patience(10)
        while box._queue.wal_bytes() and time.monotonic() < end:
            time.sleep(0.02)
        assert box._queue.wal_bytes() == 0
