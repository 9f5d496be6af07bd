"""The collector with a real queue: what cannot be read or queued holds nothing else up."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pytest

from holdfast.kernel.clock import HOUR_MS, ManualClock
from holdfast.machine.content_key import key_of
from holdfast.machine.observer import counts, cursors, limits
from holdfast.machine.observer.collector import Collector, Program
from holdfast.machine.observer.cursors import Cursor, CursorReader
from holdfast.machine.observer.readers.counters import DayCounts
from holdfast.machine.observer.readers.openclaw import OpenClaw
from holdfast.machine.observer.readers.parts import Lines, Part, Source, event_id
from holdfast.machine.observer.sealing import Sealer
from holdfast.outbox.database import UnavailableError
from holdfast.wire.consent import ContentClass
from holdfast.wire.times import parse_time
from tests.integration.observer.conftest import KEY, Home, Node
from tests.support.logs import Lines as LogLines


def openclaw(home: Home, node: Node) -> OpenClaw:
    return OpenClaw(
        home.path / ".openclaw", workspace=home.workspace, log_folders=(home.logs,),
        clock=node.clock,
    )  # fmt: skip


def collector(node: Node, programs: Sequence[Program], log: LogLines | None = None) -> Collector:
    return Collector(
        programs,
        gate=node.gate,
        uploader=node.uploader,
        identity=lambda: node.registration.identity,
        clock=node.clock,
        log=log or LogLines(),
    )


def bodies(node: Node, path: str) -> list[dict[str, Any]]:
    with node.plane.lock:
        return [request.body for request in node.plane.requests if request.path == path]


class Sized(NamedTuple):
    """A source with one text of a size, which no compression makes smaller."""

    size: int
    ids: int = 1
    name: str = "sized"
    inode: int = 0
    content: ContentClass = "logs"
    endpoint: Any = "logs"
    changed_ns: int = 2**62

    def next_part(self, cursors: CursorReader, *, since_ms: int) -> Part | None:
        if cursors.of_name("logs", "sized") is not None:
            return None
        cursor = Cursor("logs", "5" * 16, "sized", 1, 1 + since_ms, "", 0)
        text = random.Random(1).randbytes(self.size // 2).hex()
        ids = tuple(str(number) for number in range(self.ids))
        return Part({"lines": [text]}, ids, cursor, 0, more=False)

    def next_lines(self, _cursors: CursorReader, _content: ContentClass) -> Lines | None:
        return None

    def unread(self, _cursors: CursorReader, _content: ContentClass) -> int | None:
        return None


class Faulty:
    """A program with a source that no upload takes, and another class that cannot be listed."""

    def sources(self, content: ContentClass) -> Iterator[Source]:
        if content == "memory":
            raise PermissionError(13, "Permission denied")
        if content == "logs":
            yield Sized(400_000)


def test_a_source_that_cannot_be_queued_and_a_class_that_cannot_be_listed_hold_nothing_up(
    home: Home, node: Node
) -> None:
    home.log("MARKER")
    home.say("s1", "MARKER")
    node.registered().allow("memory", "logs", "transcripts")
    log = LogLines()
    reading = collector(node, [Faulty(), openclaw(home, node)], log)
    assert not reading.run()
    assert not reading.run()
    node.plane.wait(lambda: node.plane.count("/ingest/logs") == 1)
    node.plane.wait(lambda: node.plane.count("/ingest/events") == 1)
    told = log.named("source.unreadable")
    assert sorted(line["source"] for line in told) == ["Sized", "memory"]


class Full(NamedTuple):
    """A program with one upload of the most that readers make."""

    source: Source

    def sources(self, content: ContentClass) -> Iterator[Source]:
        if content == "logs":
            yield self.source


def test_the_largest_upload_that_readers_make_fits_the_queue(node: Node) -> None:
    node.registered().allow("logs")
    log = LogLines()
    source = Sized(limits.BODY_BYTES_MAX + 8 * 1_024, ids=limits.BLOCK_LINES_MAX)
    collector(node, [Full(source)], log).run()
    assert log.lines == []
    node.plane.wait(lambda: node.plane.count("/ingest/logs") == 1)


def test_counters_wait_where_the_queue_cannot_be_read(
    home: Home, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.say("s1", "hello")
    node.registered().allow("counters")
    reading = collector(node, [openclaw(home, node)])

    def unavailable(_read: object) -> Iterator[DayCounts]:
        raise UnavailableError("disk I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(DayCounts, "of", unavailable)
        assert not reading.run()
    reading.run()
    node.plane.wait(lambda: node.plane.count("/ingest/autonomy") == 1)


def test_a_message_whose_numbers_could_not_be_kept_is_counted(
    home: Home, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.say("s1", "hello")
    path = home.sessions / "s1.jsonl"
    row = json.loads(path.read_text())
    row["message"]["id"] = "msg_1"
    path.write_text(json.dumps(row) + "\n")
    node.registered().allow("counters")
    reading = collector(node, [openclaw(home, node)])
    with monkeypatch.context() as patched:
        patched.setattr(node.uploader, "pass_over", lambda *_: False)
        reading.run()
    reading.run()
    node.plane.wait(lambda: node.plane.count("/ingest/autonomy") == 1)
    (snapshot,) = bodies(node, "/ingest/autonomy")[0]["snapshots"]
    assert [model["turns"] for model in snapshot["models"]] == [1]


def test_no_guess_of_a_line_can_be_tested_by_what_stands_beside_its_seal(
    home: Home, node: Node
) -> None:
    home.say("s1", "hello")
    node.registered().allow("transcripts")
    collector(node, [openclaw(home, node)]).run()
    node.plane.wait(lambda: node.plane.count("/ingest/events") == 1)
    (body,) = bodies(node, "/ingest/events")
    line = (home.sessions / "s1.jsonl").read_bytes().rstrip()
    name = "openclaw/main/s1.jsonl"
    guess = event_id(name, 0, line)
    ours, other = Sealer(key_of(KEY), draw=bytes), Sealer(bytes(32), draw=bytes)
    assert body["event_ids"] == [ours.name_of(guess)]
    assert not {guess, other.name_of(guess)} & set(body["event_ids"])
    unkeyed = hashlib.sha256(name.encode()).hexdigest()
    assert not unkeyed.startswith(body["session_file"].removesuffix(".jsonl"))


def test_cursors_of_files_that_are_gone_are_dropped_after_a_while(
    home: Home, node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "SWEEP_MS", -1)
    for number in range(4):
        home.say(f"s{number}", f"hello {number}")
    home.remember("MEMORY.md", "text")
    node.registered().allow("transcripts", "counters", "memory")
    reading = collector(node, [openclaw(home, node)])

    def looked(*, once: bool = False) -> set[str]:
        """Return the sessions that have a cursor, or just one, after a look at every file."""
        reading.forget()
        reading.run()
        rows = node.uploader.outbox.read(
            lambda connection: connection.execute(
                "SELECT content, name, count(*) FROM observer_cursors GROUP BY content, name"
            ).fetchall()
        )
        assert not once or all(number == 1 for _, _, number in rows)
        names = [{name for kind, name, _ in rows if kind == content and name.endswith("jsonl")}
                 for content in ("transcripts", "counters")]  # fmt: skip
        assert names[0] == names[1]
        return {name.rpartition("/")[2] for name in names[0]}

    assert looked() == {f"s{number}.jsonl" for number in range(4)}
    (home.sessions / "s0.jsonl").unlink()
    (home.sessions / "s1.jsonl").rename(home.path / "away")
    (home.sessions / "s2.jsonl").rename(home.sessions / "renamed.jsonl")
    (home.sessions / "s3.jsonl").write_text("")
    home.say("s3", "written anew")
    kept = {f"s{number}.jsonl" for number in range(4)}
    assert looked() == looked() == kept
    (home.path / "away").rename(home.sessions / "s1.jsonl")
    assert looked() == kept
    monkeypatch.setattr(limits, "GONE_KEPT_MS", -1)
    assert looked(once=True) == kept - {"s0.jsonl"}, "one that was renamed is known by its inode"
    days = node.uploader.outbox.read(counts.days)
    assert sum(sessions for sessions, _ in days.values()) == 4, "numbers are kept"
    node.plane.wait(lambda: node.uploader.depth() == {})
    before = len(node.plane.content())
    reading.forget()
    reading.run()
    assert len(node.plane.content()) == before, "nothing is sent again"


def test_only_so_many_cursors_of_files_that_are_gone_are_kept(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GONE_MAX", 3)
    outbox = node.uploader.outbox
    for number in range(10):
        cursor = Cursor("logs", f"{number:016}", f"f{number}", number, 1, "", 0)
        outbox.write(lambda current, cursor=cursor: cursors.save(current, cursor))  # type: ignore[misc]

    def swept(numbers: Iterable[int], now_ms: int) -> list[str]:
        live = cursors.Live({f"f{number}" for number in numbers}, set())
        gone = outbox.read(lambda connection: cursors.find_gone(connection, "logs", live))
        outbox.write(lambda current: cursors.forget(current, "logs", gone, now_ms))
        rows = outbox.read(lambda c: c.execute("SELECT name FROM observer_cursors").fetchall())
        return sorted(name for (name,) in rows)

    assert len(swept(range(10), 1)) == 10
    assert len(swept(range(2, 10), 2)) == 10
    left = swept((8, 9), 3)
    assert left[-2:] == ["f8", "f9"]
    assert len(left) == 5, "the oldest that are gone go first"
    assert not {"f0", "f1"} & set(left)


def test_a_run_with_much_to_read_is_cut_short_at_the_end(home: Home, node: Node) -> None:
    for number in range(5):
        home.say(f"s{number}", "hello")
    node.registered().allow("transcripts")
    reading = collector(node, [openclaw(home, node)])
    hand_on = node.uploader.send

    def send(*row: Any) -> Any:
        reading.end()
        return hand_on(*row)

    node.uploader.send = send  # type: ignore[method-assign, assignment]
    assert reading.run(), "there is more"
    node.plane.wait(lambda: node.uploader.depth() == {})
    assert node.plane.count("/ingest/events") == 1


def test_what_arrived_without_an_answer_is_the_same_upload_after_a_no_and_a_yes(
    home: Home, node: Node
) -> None:
    node.registered().allow("transcripts")
    reading = collector(node, [openclaw(home, node)])
    node.plane.fault = lambda path: (503, b"") if path == "/ingest/events" else None
    for text in ("one", "two"):
        home.say("s", text)
        reading.run()
    rows = "SELECT event_id FROM sync_queue ORDER BY event_id"
    found = node.uploader.outbox.read(lambda connection: connection.execute(rows).fetchall())
    lost = {event_id.rpartition(":")[2] for (event_id,) in found}
    assert len(lost) == 2
    node.allow()
    node.uploader.follow_gate()
    home.say("s", "three")
    node.plane.fault = lambda _path: None
    node.allow("transcripts")
    node.uploader.follow_gate()
    reading.forget()
    while reading.run():
        pass

    def arrived() -> set[str]:
        return {request.body["id"] for request in node.plane.content()}

    node.plane.wait(lambda: len(arrived()) == 3)
    assert lost < arrived(), "the plane knows those that it has"


def arrived(node: Node) -> list[str]:
    """Return the ids of uploads that reached the plane, each time that one did."""
    with node.plane.lock:
        return [
            one.body["id"] for one in node.plane.requests if one.path.endswith("/ingest/events")
        ]


def read_all(node: Node, reading: Collector) -> None:
    """Follow the gate, and read all there is; return once nothing waits."""
    node.uploader.follow_gate()
    reading.forget()
    while reading.run():
        pass
    node.plane.wait(lambda: node.uploader.depth() == {})


def test_what_arrived_behind_a_dead_letter_is_the_same_upload_after_a_no_and_a_yes(
    home: Home, node: Node
) -> None:
    node.registered().allow("transcripts")
    reading = collector(node, [openclaw(home, node)])
    home.say("s", "zero")
    read_all(node, reading)
    node.plane.fault = lambda path: (400, b"") if path == "/ingest/events" else None
    home.say("s", "one")
    read_all(node, reading)
    assert len(node.uploader.outbox.dead_letters()) == 1
    node.plane.fault = lambda _path: None
    for text in ("two", "three"):
        home.say("s", text)
        read_all(node, reading)
    before = arrived(node)
    assert len(set(before)) == 4
    node.allow()
    read_all(node, reading)
    node.allow("transcripts")
    read_all(node, reading)
    assert arrived(node) == before + before[1:], "each as it was"


def test_what_was_delivered_is_no_part_of_another_upload_when_older_content_is_allowed(
    home: Home, node: Node
) -> None:
    since_ms = parse_time("2020-01-01T00:00:00Z")
    assert since_ms is not None
    node.registered().allow("transcripts", since_ms=since_ms)
    reading = collector(node, [openclaw(home, node)])
    home.say("s", "old", at="2001-01-01T00:00:00Z")
    home.say("s", "older", at="2000-01-01T00:00:00Z")
    home.say("s", "one")
    read_all(node, reading)
    home.say("s", "two")
    read_all(node, reading)
    before = arrived(node)
    assert len(before) == 2
    node.allow("transcripts")
    read_all(node, reading)
    (old,) = arrived(node)[2:]
    assert old not in before
    (body,) = [body for body in bodies(node, "/ingest/events") if body["id"] == old]
    assert len(body["event_ids"]) == 2, "what had been too old, and nothing else"


def test_what_is_sent_whole_has_no_ends_at_which_reading_stops(home: Home, node: Node) -> None:
    home.remember("MEMORY.md", "text")
    home.say("s", "hello")
    node.registered().allow("memory", "counters", "transcripts")
    node.plane.fault = lambda _path: (503, b"")
    program = openclaw(home, node)
    program._clock = ManualClock(node.clock.now_ms() + HOUR_MS)  # what has just changed waits
    collector(node, [program]).run()
    assert set(node.uploader.depth()) == {"memory", "counters", "transcripts"}
    node.allow()
    node.uploader.follow_gate()
    edges = "SELECT DISTINCT content FROM observer_edges"
    found = node.uploader.outbox.read(lambda connection: connection.execute(edges).fetchall())
    assert found == [("transcripts",)]
