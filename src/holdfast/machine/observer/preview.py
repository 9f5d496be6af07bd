"""What would be sent, by class, before anybody agreed: printed on this machine, and nowhere else.

It reads with the same readers as the observer, from the beginning of each file, and moves nothing.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import chain
from typing import Any, Final, NamedTuple

from holdfast.machine.observer import counts, limits
from holdfast.machine.observer.collector import Program
from holdfast.machine.observer.cursors import Cursor, CursorReader
from holdfast.machine.observer.readers.counters import Counter, DayCounts
from holdfast.machine.observer.readers.parts import Lines, Source, encoded
from holdfast.wire.consent import CLASSES, ContentClass
from holdfast.wire.observing import bytes_text

_CONTENT_FIELDS: Final = ("events", "lines", "sessions", "memory_content", "snapshots")


class ClassPreview(NamedTuple):
    """What of one class would be sent: how many sources, items and bytes, and some of it.

    A source of the counters is a day. `whole` is false where the time was over before all was read,
    or something could not be read.
    """

    content: ContentClass
    sources: int
    items: int
    size: int
    samples: tuple[str, ...]
    whole: bool = True


class _OneCursor(CursorReader):
    """Has the one cursor that the preview is at, whatever is asked for, and no edges."""

    def __init__(self) -> None:
        super().__init__(lambda _look: self.cursor)
        self.cursor: Cursor | None = None

    def next_edge(self, cursor: Cursor) -> int | None:
        """Return None: a preview withdraws nothing."""
        del cursor
        return None


def _unhurried() -> float:
    return 1e15


def previews(
    programs: Sequence[Program], *, since_ms: int, left_ms: Callable[[], float] = _unhurried
) -> Iterator[ClassPreview]:
    """Yield what would be sent of each class, of content not older than `since_ms`.

    `left_ms` returns how long may still be read. Each class has an equal share of what those before
    it left, so that a large one takes nothing from the others; the beginning of each is read in any
    case.
    """
    for at, content in enumerate(CLASSES):
        after = len(CLASSES) - at - 1
        ends_at_ms = left_ms() * after / (after + 1)
        is_over = partial(_is_over, left_ms, ends_at_ms)
        unread: list[OSError] = []
        if content == "counters":
            found: Sequence[Source] = _days(programs, is_over, unread)
        else:
            found = _sources(programs, content)
        made = _preview(content, found, since_ms, is_over, unread)
        yield made._replace(whole=made.whole and not unread)


def _is_over(left_ms: Callable[[], float], ends_at_ms: float) -> bool:
    return left_ms() <= ends_at_ms


def _sources(programs: Sequence[Program], content: ContentClass) -> list[Source]:
    return [source for program in programs for source in program.sources(content)]


def _days(
    programs: Sequence[Program], is_over: Callable[[], bool], unread: list[OSError]
) -> list[DayCounts]:
    """Return the numbers of every transcript by day, as the observer counts them.

    What cannot be read is added to `unread`.
    """
    counter = Counter()
    with closing(sqlite3.connect(":memory:")) as connection:
        counts.prepare(connection)
        sources = _sources(programs, "transcripts")
        for part in chain.from_iterable(_lines(source, unread) for source in sources):
            counted = counter.count(part)
            counts.add(connection, counted.name, counted.counts)
            counter.keep(counted)
            if is_over():
                break
        return list(DayCounts.of(lambda look: look(connection)))


def _lines(source: Source, unread: list[OSError]) -> Iterator[Lines]:
    cursors = _OneCursor()
    while True:
        try:
            part = source.next_lines(cursors, "counters")
        except OSError as error:
            unread.append(error)
            return
        if part is None:
            return
        cursors.cursor = part.cursor
        yield part


def _preview(
    content: ContentClass,
    sources: Iterable[Source],
    since_ms: int,
    is_over: Callable[[], bool],
    unread: list[OSError],
) -> ClassPreview:
    count = items = size = 0
    samples: list[str] = []
    whole = not is_over()  # counters were counted before
    for source in sources:
        if count and is_over():
            whole = False
            break
        count += 1
        for fields, ids in _bodies(source, since_ms, unread):
            if samples and is_over():
                whole = False
                break
            items += ids
            size += len(encoded(fields))
            if len(samples) < limits.SAMPLES_MAX:
                samples.append(_sample(fields))
    return ClassPreview(content, count, items, size, tuple(samples), whole)


def _bodies(
    source: Source, since_ms: int, unread: list[OSError]
) -> Iterator[tuple[dict[str, Any], int]]:
    cursors = _OneCursor()
    while True:
        try:
            part = source.next_part(cursors, since_ms=since_ms)
        except OSError as error:
            unread.append(error)
            return
        if part is None:
            return
        cursors.cursor = part.cursor
        if part.event_ids:
            yield dict(part.fields), len(part.event_ids)
        if not part.more:
            return


def _sample(fields: dict[str, Any]) -> str:
    held = next((fields[name] for name in _CONTENT_FIELDS if fields.get(name)), fields)
    first = held[0] if isinstance(held, list) else held
    text = json.dumps(first, ensure_ascii=False)
    cut = limits.SAMPLE_CHARS_MAX
    return text if len(text) <= cut else f"{text[:cut]}… ({len(text)} characters)"


def rendered(found: Sequence[ClassPreview]) -> str:
    """Return previews as text: a table whose columns line up, then samples."""
    rows = [("class", "sources", "items", "size")] + [
        (one.content, str(one.sources), str(one.items), bytes_text(one.size)) for one in found
    ]
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    for one in found:
        if one.samples:
            lines += ["", f"{one.content}, the beginning of some uploads:"]
            lines += [f"  {printable(sample)}" for sample in one.samples]
    return "\n".join(lines) + "\n"


def printable(text: str) -> str:
    """Return a text without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
