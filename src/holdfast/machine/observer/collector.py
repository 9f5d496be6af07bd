"""Reads what the gate lets through, and hands it on sealed: the newest first, each in its turn.

Nothing is read for a class that is closed, so a deferral leaves every cursor where it is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

from holdfast.kernel.clock import Clock, StepWatch
from holdfast.kernel.failure import reason
from holdfast.kernel.log import Log
from holdfast.machine.observer import limits
from holdfast.machine.observer.cursors import CursorReader
from holdfast.machine.observer.gate_file import Gate
from holdfast.machine.observer.readers.counters import Counter, DayCounts
from holdfast.machine.observer.readers.parts import Part, Source, encoded
from holdfast.machine.observer.sealing import Sealer
from holdfast.machine.observer.upload import Envelope, Uploader, digest_of
from holdfast.wire.consent import CLASSES, ContentClass

_NS: Final = 1_000_000
_BLOCKS_COUNTED: Final = 16
_NOTHING, _MORE, _LATER = "", "more", "later"


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
        self._failed: set[tuple[str, str]] = set()
        self._anew = False
        self._counter = Counter()
        self._days_due = True
        self.compress = False

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
            return False
        more = False
        for content in CLASSES:
            if content in grant.classes and self._uploader.follows(grant, content):
                left = self._collect(content, grant.backfill_from_ms)
                if left == _NOTHING:
                    self._passed_ms[content] = now_ms - limits.CHANGE_MARGIN_MS
                more = more or left == _MORE
        return more

    def _collect(self, content: ContentClass, since_ms: int) -> str:
        """Read one class; return what is left: nothing, more at once, or something for later."""
        passed_ms = self._passed_ms.get(content, 0)
        left = _NOTHING
        found = [
            source
            for program in self._programs
            for source in program.sources(content)
            if source.changed_ns // _NS >= passed_ms
        ]
        if content == "counters":
            left = self._count(passed_ms)
            found = list(DayCounts.of(self._uploader.outbox.read)) if self._days_due else []
            self._days_due = False
        found.sort(key=lambda source: source.changed_ns, reverse=True)
        for source in found:
            if self._anew:
                return _MORE
            for _ in range(limits.BLOCKS_A_TURN):
                if not self._uploader.has_room():
                    self._days_due = self._days_due or content == "counters"
                    return _LATER
                try:
                    part = source.next_part(self._reader, since_ms=since_ms)
                except Exception as error:  # noqa: BLE001  # one file must not end the rest
                    self._unreadable(source, error)
                    left = left or _LATER
                    break
                if part is None:
                    break
                if not self._hand_on(source, part, since_ms):
                    self._days_due = self._days_due or content == "counters"
                    return _LATER
                if not part.more:
                    break
            else:
                left = _MORE
        return left

    def _count(self, passed_ms: int) -> str:
        """Count what is new in transcripts; return what is left. Nothing of them is sent."""
        left = _NOTHING
        for program in self._programs:
            for source in program.sources("transcripts"):
                if self._anew:
                    return _MORE
                if source.changed_ns // _NS >= passed_ms:
                    left = self._count_one(source) or left
        return left

    def _count_one(self, source: Source) -> str:
        for _ in range(_BLOCKS_COUNTED):
            try:
                part = source.next_lines(self._reader, "counters")
                found = [] if part is None else self._counter.count(part)
            except Exception as error:  # noqa: BLE001  # as in _collect
                self._unreadable(source, error)
                return _LATER
            if part is None:
                return _NOTHING
            self._days_due = self._days_due or bool(found)
            if not self._uploader.pass_over(part.cursor, found):
                return _LATER
        return _MORE

    def _unreadable(self, source: Source, error: Exception) -> None:
        """Log why a source cannot be read, once for each kind and reason."""
        told = (type(source).__name__, reason(error))
        if told not in self._failed:
            self._failed.add(told)
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
        body: dict[str, Any] = {
            "node_id": identity.node,
            "class": source.content,
            "id": digest_of(part.event_ids),
            "event_ids": part.event_ids,
        }
        if source.content == "counters":
            body |= part.fields
        else:
            plain = encoded({"node_id": identity.node, **part.fields})
            blob = identity.sealer.seal(plain, compress=self.compress)
            body |= {"encrypted": True, "blob": blob}
        if source.endpoint == "events":
            # The session by a name that says nothing, so that its parts are found together.
            body["session_file"] = f"{digest_of((part.cursor.name,))}.jsonl"
        return Envelope(
            content=source.content,
            endpoint=source.endpoint,
            stream=part.cursor.stream,
            start=part.start,
            event_ids=part.event_ids,
            body=encoded(body).decode(),
            since_ms=since_ms,
        )
