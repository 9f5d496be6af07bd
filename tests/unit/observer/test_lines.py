"""Files that grow by lines: each full line once, whatever happens to the file meanwhile."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.machine.observer import cursors, limits
from holdfast.machine.observer.cursors import CursorReader, Place
from holdfast.machine.observer.readers import files
from holdfast.machine.observer.readers.lines import LineFile
from holdfast.machine.observer.readers.openclaw import transcript_fields
from holdfast.machine.observer.readers.parts import encoded
from holdfast.outbox.box import Outbox, open_outbox

DAY_MS = 86_400_000
NOW_MS = 1_790_000_000_000


class Reader:
    """Reads files of one folder as the collector does, and keeps what was delivered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "files").mkdir()
        (folder / "queue").mkdir()
        self.outbox: Outbox = open_outbox(
            folder / "queue", durability="process", prepare=cursors.prepare
        )
        self.reader = CursorReader(self.outbox.read)
        self.got: list[Any] = []
        self.ids: list[str] = []
        self.bodies: list[dict[str, Any]] = []

    def path(self, name: str) -> Path:
        return self.folder / "files" / name

    def source(self, name: str, logical: str | None = None) -> LineFile:
        path = self.path(name)
        return LineFile(
            "transcripts", "events", path, self.folder, logical or name,
            path.stat().st_ctime_ns, transcript_fields(name, ""),
        )  # fmt: skip

    def step(self, source: LineFile, since_ms: int = 0) -> bool:
        part = source.next_part(self.reader, since_ms=since_ms)
        if part is None:
            return False
        assert len(encoded(part.fields)) <= limits.BODY_BYTES_MAX + 1_024
        self.outbox.write(lambda current: cursors.save(current, part.cursor))
        if part.event_ids:
            self.bodies.append(dict(part.fields))
            self.ids += part.event_ids
            self.got += [event.get("t", event) for event in part.fields["events"]]
        return True

    def read(self, name: str, since_ms: int = 0, logical: str | None = None) -> list[Any]:
        """Read what there is; return what came of it."""
        before = len(self.got)
        source = self.source(name, logical)
        while self.step(source, since_ms):
            pass
        return self.got[before:]


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    made = Reader(tmp_path)
    yield made
    made.outbox.close()


def line(text: str, at_ms: int = NOW_MS) -> str:
    return json.dumps({"t": text, "timestamp": at_ms}) + "\n"


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_a_half_written_line_is_delivered_once_and_whole(reader: Reader) -> None:
    path = reader.path("a.jsonl")
    whole = line("second")
    append(path, line("first") + whole[:9])
    assert reader.read("a.jsonl") == ["first"]
    assert reader.read("a.jsonl") == []
    append(path, whole[9:])
    assert reader.read("a.jsonl") == ["second"]
    assert reader.read("a.jsonl") == []


def test_a_renamed_file_goes_on_and_the_new_one_begins(reader: Reader) -> None:
    path = reader.path("s.jsonl")
    append(path, line("a") + line("b"))
    assert reader.read("s.jsonl") == ["a", "b"]
    append(path, line("c"))
    path.rename(reader.path("s.jsonl.reset.1"))
    append(path, line("new"))
    assert reader.read("s.jsonl") == ["new"]
    assert reader.read("s.jsonl.reset.1", logical="s.jsonl") == ["c"]
    assert reader.read("s.jsonl") == []
    assert reader.read("s.jsonl.reset.1", logical="s.jsonl") == []


@pytest.mark.parametrize("later", [["x"], ["x", "y", "z", "much longer than it was before" * 9]])
def test_a_truncated_file_is_read_from_its_beginning(reader: Reader, later: list[str]) -> None:
    path = reader.path("l.jsonl")
    append(path, line("a") + line("b"))
    assert reader.read("l.jsonl") == ["a", "b"]
    os.truncate(path, 0)
    append(path, "".join(map(line, later)))
    assert reader.read("l.jsonl") == later


def test_a_file_written_anew_behind_the_same_beginning_is_read_again(reader: Reader) -> None:
    path = reader.path("l.jsonl")
    head = line("h" * 400)
    path.write_text(head + line("aaa") + line("bbb"))
    assert reader.read("l.jsonl")[1:] == ["aaa", "bbb"]
    path.write_text(head + line("ccc") + line("ddd") + line("eee"))
    assert reader.read("l.jsonl")[1:] == ["ccc", "ddd", "eee"]
    # What came twice has one id, so that the plane keeps it once.
    assert len(set(reader.ids)) == 6


def test_a_copy_in_the_place_of_the_file_is_not_read_again(reader: Reader) -> None:
    path = reader.path("l.jsonl")
    append(path, line("a") + line("b"))
    assert reader.read("l.jsonl") == ["a", "b"]
    copy = reader.path("copy")
    copy.write_text(path.read_text() + line("c"))
    copy.rename(path)
    assert reader.read("l.jsonl") == ["c"]


def test_content_older_than_the_bound_is_not_sent_and_comes_when_it_is_widened(
    reader: Reader,
) -> None:
    path = reader.path("l.jsonl")
    append(path, line("old", NOW_MS - 9 * DAY_MS) + line("two days", NOW_MS - 2 * DAY_MS))
    append(path, line("now"))
    assert reader.read("l.jsonl", NOW_MS - 3 * DAY_MS) == ["two days", "now"]
    narrow = NOW_MS - 3 * DAY_MS
    reader.outbox.write(lambda current: cursors.widen(current, "transcripts", narrow))
    assert reader.read("l.jsonl", narrow) == []
    reader.outbox.write(lambda current: cursors.widen(current, "transcripts", 0))
    assert reader.read("l.jsonl", 0) == ["old", "two days", "now"]
    assert len(set(reader.ids)) == 3


def test_a_file_that_is_older_as_a_whole_is_passed_over_and_its_new_lines_are_not(
    reader: Reader,
) -> None:
    path = reader.path("l.jsonl")
    append(path, '{"t":"no time of its own"}\n' * 3)
    os.utime(path, (1_000, 1_000))
    assert reader.read("l.jsonl", NOW_MS) == []
    append(path, line("new") + '{"t":"half')
    assert reader.read("l.jsonl", NOW_MS) == ["new"]
    reader.outbox.write(lambda current: cursors.widen(current, "transcripts", 0))
    assert reader.read("l.jsonl", 0)[:3] == ["no time of its own"] * 3


def test_what_was_withdrawn_from_the_queue_is_read_again(reader: Reader) -> None:
    append(reader.path("l.jsonl"), line("a"))
    reader.read("l.jsonl")
    append(reader.path("l.jsonl"), line("b"))
    part = reader.source("l.jsonl").next_part(reader.reader, since_ms=0)
    assert part is not None
    reader.outbox.write(lambda current: cursors.save(current, part.cursor))
    assert reader.read("l.jsonl") == []
    place = Place(part.cursor.stream, part.start)
    reader.outbox.write(lambda now: cursors.rewind(now, "transcripts", [place]))
    assert reader.read("l.jsonl") == ["b"]


def test_long_lines_are_whole_and_longer_ones_are_named(reader: Reader) -> None:
    path = reader.path("l.jsonl")
    long, longer = "x" * (limits.BLOCK_BYTES + 9), "y" * (limits.LINE_BYTES_MAX + 1)
    append(path, line("a") + line(long) + line(longer) + line("b"))
    got = reader.read("l.jsonl")
    assert got[0] == "a"
    assert got[3] == "b"
    assert got[1] == long or "more characters" in got[1]
    assert got[2] == {"type": "oversized", "bytes": len(line(longer)) - 1}


def test_a_long_line_that_is_not_whole_yet_waits(reader: Reader) -> None:
    path = reader.path("l.jsonl")
    text = line("z" * (limits.BLOCK_BYTES * 2))
    append(path, text[: limits.BLOCK_BYTES + 50])
    assert reader.read("l.jsonl") == []
    append(path, text[limits.BLOCK_BYTES + 50 :])
    assert len(reader.read("l.jsonl")) == 1


def test_more_lines_than_one_upload_takes(reader: Reader) -> None:
    many = [f"n{number}" for number in range(3 * limits.BLOCK_LINES_MAX + 7)]
    append(reader.path("l.jsonl"), "".join(map(line, many)))
    assert reader.read("l.jsonl") == many
    assert max(len(body["events"]) for body in reader.bodies) <= limits.BLOCK_LINES_MAX


@pytest.mark.parametrize(
    "content", [b"not json", b"\xff\xfe\x00", b"[1]", b'"text"', b"{" * 9_000, b'{"a":' * 900]
)
def test_any_bytes_of_a_line_are_delivered_as_what_they_are(reader: Reader, content: bytes) -> None:
    reader.path("l.jsonl").write_bytes(content + b"\n" + line("next").encode())
    got = reader.read("l.jsonl")
    assert len(got) == 2
    assert got[1] == "next"


def test_no_link_is_followed(reader: Reader, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(line("private"))
    reader.path("link.jsonl").symlink_to(secret)
    os.link(secret, reader.path("hard.jsonl"))
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "in.jsonl").write_text(line("private"))
    reader.path("folder").symlink_to(folder)
    for name in ("link.jsonl", "hard.jsonl", "folder/in.jsonl"):
        with pytest.raises(OSError, match=r"."):
            reader.read(name)
    assert reader.got == []


def test_what_is_private_in_a_line_is_redacted(reader: Reader) -> None:
    append(reader.path("l.jsonl"), line("write to jo@example.org with " + "sk-" + "a1B2" * 9))
    assert reader.read("l.jsonl") == ["write to [mail] with [key]"]


@given(
    seed=st.integers(0, 10_000),
    pieces=st.lists(st.integers(1, 4_000), min_size=1, max_size=12),
)
@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_however_a_file_grows_each_line_comes_once_in_order(
    tmp_path_factory: pytest.TempPathFactory, seed: int, pieces: list[int]
) -> None:
    reader = Reader(tmp_path_factory.mktemp("growing"))
    draws = random.Random(seed)
    wanted = [f"{number}-" + "v" * draws.randrange(300) for number in range(60)]
    text = "".join(map(line, wanted))
    path = reader.path("g.jsonl")
    path.touch()
    at = 0
    for size in (*pieces, len(text)):
        append(path, text[at : at + size])
        at += size
        reader.read("g.jsonl")
        if draws.random() < 0.3:
            moved = reader.path(f"moved{at}")
            path.rename(moved)
            moved.rename(path)
    assert reader.got == wanted
    assert len(set(reader.ids)) == len(wanted)
    reader.outbox.close()


def test_a_hole_of_terabytes_is_passed_at_once(reader: Reader) -> None:
    path = reader.path("a.jsonl")
    with path.open("wb") as file:
        file.truncate(1 << 43)
    with files.opened(path, below=reader.folder) as found:
        assert files.last_line_end(found) == 0
        assert list(files.lines_after(found, 0)) == [files.Line(0, 1 << 43, None)]
    reader.read("a.jsonl")
    append(path, "the end of it\n" + line("next"))
    reader.got.clear()
    assert reader.read("a.jsonl")[1:] == ["next"]


@pytest.mark.parametrize("size", [2_200_000, 2_228_224, 3_500_000])
def test_a_line_of_any_length_is_passed_over_and_what_follows_is_sent(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(files, "_SKIP_BYTES_MAX", 1_100_000)
    path = reader.path("a.jsonl")
    append(path, line("first") + "x" * size)
    first, *pieces = reader.read("a.jsonl")
    assert first == "first"
    assert {piece["type"] for piece in pieces} == {"oversized"}
    assert sum(piece["bytes"] for piece in pieces) <= size, "a piece that may go on is not passed"
    append(path, "y" * 1_000 + "\n" + line("next"))
    *rest, last = reader.read("a.jsonl")
    assert last == "next"
    told = [piece["bytes"] for piece in (*pieces, *rest)]
    assert size <= sum(told) + len(told) <= size + 1_000 + len(told)
    assert len(set(reader.ids)) == len(reader.ids)
    assert reader.read("a.jsonl") == []
