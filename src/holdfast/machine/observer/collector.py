"""Reads what the gate lets through, and hands it on sealed: the newest first, each in its turn.

Nothing is read for a class that is closed, so a deferral leaves every cursor where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

from holdfast.kernel.clock import Clock, StepWatch
from holdfast.kernel.failure import reason
from holdfast.kernel.log import Log
from holdfast.machine.observer import counts, cursors, limits
from holdfast.machine.observer.cursors import CursorReader
from holdfast.machine.observer.gate_file import Gate
from holdfast.machine.observer.progress import Progress
from holdfast.machine.observer.readers.counters import Counter, DayCounts
from holdfast.machine.observer.readers.parts import Part, Source, Unread, encoded
from holdfast.machine.observer.readers.queries import GivenUpError
from holdfast.machine.observer.sealing import Sealer
from holdfast.machine.observer.upload import Envelope, Uploader, digest_of
from holdfast.wire.consent import CLASSES, ContentClass

_NS: Final = 1_000_000
_BLOCKS_COUNTED: Final = 16
_NOTHING, _MORE, _LATER, _FULL = "", "more", "later", "full"


class Program(Protocol):
    """A program whose files are read."""

    def sources(self, content: ContentClass, /) -> Iterator[Source]:
        """Yield its sources of a class."""
        ...


class Identity(Protocol):
    """What bodies name the node by, and how they are sealed."""

    @property
    def node(self) -> str:
        """Return the name of the node."""
        ...

    @property
    def sealer(self) -> Sealer:
        """Return the sealer with this node's key."""
        ...


class _Sweep:
    """What there is of a class now; not whole where something could not be listed."""

    def __init__(self) -> None:
        self.names: set[str] = set()
        self.inodes: set[int] = set()
        self.is_whole = True

    def see(self, source: Source) -> None:
        self.names.add(source.name)
        self.inodes.add(source.inode)
        self.is_whole = self.is_whole and not isinstance(source, Unread)


class Collector:
    """Moves content from files to the queue; used by one thread."""

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        gate: Gate,
        uploader: Uploader,
        identity: Callable[[], Identity | None],
        clock: Clock,
        log: Log,
    ) -> None:
        """Read from `programs`; without an identity nothing is read."""
        self._programs = programs
        self._gate = gate
        self._uploader = uploader
        self._identity = identity
        self._clock = clock
        self._log = log
        self._reader = CursorReader(uploader.outbox.read)
        self._watch = StepWatch(clock)
        self._passed_ms: dict[ContentClass, int] = {}
        self._full_ms = float("-inf")
        self._swept_ms: dict[ContentClass, float] = {}
        self._told: set[tuple[str, str]] = set()
        self._anew = False
        self._ended = False
        self._counter = Counter()
        self._days_due = True
        self.progress = Progress(clock)
        self.compress = False

    @property
    def is_cut_short(self) -> bool:
        """Return whether what is being read is not wanted any more: the gate changed, or `end`."""
        return self._anew or self._ended

    def end(self) -> None:
        """Begin no further read: with much to read, a run takes minutes. Safe from any thread."""
        self._ended = True

    def forget(self) -> None:
        """End this run early, and look at every file in the next: the gate has changed.

        Safe from any thread.
        """
        self._anew = True

    def run(self) -> bool:
        """Read what is new; return whether there is more already."""
        now_ms = self._clock.now_ms()
        stepped = abs(self._watch.stepped_ms()) > limits.CHANGE_MARGIN_MS / 2
        overdue = self._clock.steady_ms() - self._full_ms > limits.FULL_SCAN_MS
        if self._anew or stepped or overdue:
            self._anew = False
            self._days_due = True
            self._passed_ms.clear()
            self._full_ms = self._clock.steady_ms()
        grant = self._gate.grant()
        if grant is None or self._identity() is None:
            self.progress.clear()
            return False
        more = False
        for content in CLASSES:
            if content not in grant.classes:
                self.progress.clear(content)
            elif self._uploader.follows(grant, content):
                left = self._collect(content, grant.backfill_from_ms)
                if left == _NOTHING:
                    self._passed_ms[content] = now_ms - limits.CHANGE_MARGIN_MS
                more = more or left == _MORE
        self.progress.looked()
        return more

    def _collect(self, content: ContentClass, since_ms: int) -> str:
        """Read one class; return what is left: nothing, more at once, or something for later."""
        passed_ms = self._passed_ms.get(content, 0)
        try:
            if content == "counters":
                return self._collect_days(passed_ms, since_ms)
            return self._take_all(self._changed(content, content, passed_ms), since_ms)
        except Exception as error:  # noqa: BLE001  # one class must not end the rest
            self._unreadable(content, error)
            return _LATER

    def _changed(
        self, content: ContentClass, read_for: ContentClass, passed_ms: int
    ) -> list[Source]:
        """Return the sources of a class that have something to read for this or another class."""
        due = self.progress.due(read_for)
        gone = set(due)
        sweep = self._begin_sweep(read_for)
        found: list[Source] = []
        for source in self._sources(content):
            gone.discard(source.name)
            if sweep is not None:
                sweep.see(source)
            if source.name in due:
                found.append(source)
            elif source.changed_ns // _NS >= passed_ms:
                found.append(source)
                self.progress.note(read_for, source.name, source.unread(self._reader, read_for))
        self.progress.drop(read_for, gone)
        if sweep is not None:
            self._end_sweep(read_for, sweep)
        return found

    def _sources(self, content: ContentClass) -> Iterator[Source]:
        for program in self._programs:
            yield from program.sources(content)

    def _begin_sweep(self, content: ContentClass) -> _Sweep | None:
        """Return what notes all that is there, where that is to be compared with the cursors."""
        swept_ms = self._swept_ms.get(content, float("-inf"))
        return None if self._clock.steady_ms() - swept_ms < limits.SWEEP_MS else _Sweep()

    def _end_sweep(self, content: ContentClass, sweep: _Sweep) -> None:
        """Forget cursors of files that are long gone, where every file could be listed."""
        if not sweep.is_whole:
            return
        self._swept_ms[content] = self._clock.steady_ms()
        outbox, now_ms = self._uploader.outbox, self._clock.now_ms()
        names = sweep.names
        if content == "counters":
            names |= outbox.read(counts.days).keys()
        live = cursors.Live(names, sweep.inodes - {0})
        gone = outbox.read(lambda connection: cursors.find_gone(connection, content, live))
        if gone:
            outbox.write(lambda current: cursors.forget(current, content, gone, now_ms), rows=0)

    def _collect_days(self, passed_ms: int, since_ms: int) -> str:
        left = self._count(passed_ms)
        if self._days_due:
            days = self._take_all(DayCounts.of(self._uploader.outbox.read), since_ms)
            self._days_due = days != _NOTHING
            left = _both(left, days)
        return left

    def _take_all(self, found: Iterable[Source], since_ms: int) -> str:
        """Read sources, those that changed last first; return what is left."""
        left = _NOTHING
        for source in sorted(found, key=lambda source: source.changed_ns, reverse=True):
            if self.is_cut_short:
                return _MORE
            taken = self._take(source, since_ms)
            if taken == _FULL:
                return _LATER
            left = _both(left, taken)
        return left

    def _take(self, source: Source, since_ms: int) -> str:
        """Read one source for its turn; return what is left, _FULL where nothing can be queued."""
        try:
            for _ in range(limits.BLOCKS_A_TURN):
                if not self._uploader.has_room():
                    return _FULL
                part = source.next_part(self._reader, since_ms=since_ms)
                if part is None:
                    self.progress.note(source.content, source.name, None)
                    return _NOTHING
                if not self._hand_on(source, part, since_ms):
                    return _FULL
                self.progress.passed(part.too_long)
                left = part.left if part.more else None
                self.progress.note(source.content, source.name, left)
                if not part.more:
                    return _NOTHING
        except Exception as error:  # noqa: BLE001  # one file must not end the rest
            return self._hindered(source, source.content, error)
        return _MORE

    def _count(self, passed_ms: int) -> str:
        """Count what is new in transcripts; return what is left. Nothing of them is sent."""
        left = _NOTHING
        for source in self._changed("transcripts", "counters", passed_ms):
            if self.is_cut_short:
                return _MORE
            left = _both(left, self._count_one(source))
        return left

    def _count_one(self, source: Source) -> str:
        try:
            for _ in range(_BLOCKS_COUNTED):
                part = source.next_lines(self._reader, "counters")
                if part is None:
                    self.progress.note("counters", source.name, None)
                    return _NOTHING
                counted = self._counter.count(part)
                if not self._uploader.pass_over(part.cursor, counted.counts):
                    return _LATER
                self._counter.keep(counted)
                self._days_due = self._days_due or bool(counted.counts)
                self.progress.note("counters", source.name, part.left)
        except Exception as error:  # noqa: BLE001  # as in _take
            return self._hindered(source, "counters", error)
        return _MORE

    def _hindered(self, source: Source, content: ContentClass, error: Exception) -> str:
        """Note why one source cannot be read; it is tried again, and holds up no other."""
        if isinstance(error, GivenUpError):
            return _LATER
        kind = type(source).__name__
        self.progress.fail(content, source.name, f"{kind}: {reason(error)}")
        self._unreadable(kind, error)
        # The numbers of a day are looked at as long as they are due, files where one is noted.
        return _LATER if source.endpoint == "days" else _NOTHING

    def _unreadable(self, source: str, error: Exception) -> None:
        """Log why something cannot be read, once for each kind and reason."""
        told = (source, reason(error))
        if told not in self._told:
            self._told.add(told)
            self._log.warning("source.unreadable", source=told[0], reason=told[1])

    def _hand_on(self, source: Source, part: Part, since_ms: int) -> bool:
        """Queue a part, or move its cursor where it has nothing to send; return whether it was."""
        if not part.event_ids:
            return self._uploader.pass_over(part.cursor)
        envelope = self._sealed(source, part, since_ms)
        if envelope is None or self._uploader.send(envelope, part.cursor) != "queued":
            return False
        if part.more:
            # A backlog does not wait a second for company, as single rows do.
            self._uploader.outbox.hurry()
        return True

    def _sealed(self, source: Source, part: Part, since_ms: int) -> Envelope | None:
        identity = self._identity()
        if identity is None:
            return None
        name_of = identity.sealer.name_of
        names = tuple(name_of(event_id) for event_id in part.event_ids)
        body: dict[str, Any] = {
            "node_id": identity.node,
            "class": source.content,
            "id": digest_of(names),
            "event_ids": names,
        }
        if source.content == "counters":
            body |= part.fields
        else:
            plain = encoded({"node_id": identity.node, **part.fields})
            blob = identity.sealer.seal(plain, compress=self.compress)
            body |= {"encrypted": True, "blob": blob}
        if source.endpoint == "events":
            # The session by a name that says nothing, so that its parts are found together.
            body["session_file"] = f"{digest_of((name_of(part.cursor.name),))}.jsonl"
        return Envelope(
            content=source.content,
            endpoint=source.endpoint,
            stream=part.cursor.stream,
            start=part.start,
            event_ids=names,
            body=encoded(body).decode(),
            since_ms=since_ms,
        )


def _both(left: str, other: str) -> str:
    """Return what is left of two: more at once, if that is true of one."""
    return _MORE if _MORE in {left, other} else left or other
