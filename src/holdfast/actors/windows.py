"""A window of an actor's past, made again: as it was, otherwise, or over the present state.

`historical` repeats the recorded ticks by the policies of their time. `what-if` repeats them by
another policy, or with other events. `overlay` applies the window's events to the present state,
which is not what was: its answer is approximate, and so is one with other events.

With other events, recorded ticks keep their numbers, from which ids come that recorded outcomes
name. In between a tick is made for each added event at its time, and for each deadline that was not
one in the past; these are numbered after the newest tick that there is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, Literal, TypeAlias

from msgspec import Struct

from holdfast.actors.commit import fold_loaded
from holdfast.actors.kinds import Kind, Kinds
from holdfast.actors.limits import REHEARSED_TICKS_MAX, TICK_EVENTS_MAX
from holdfast.actors.ports import Pending, Reader
from holdfast.actors.record import Decision, TickRecord, decode_record
from holdfast.actors.rehearse import (
    Comparison,
    Glance,
    History,
    PolicyOf,
    dry_run,
    pair,
    pending_of,
)
from holdfast.actors.stored import (
    UnknownActorError,
    at_snapshot,
    find,
    invent,
    kind_of,
    last_record,
    load,
    override,
    policies_of,
    records_of,
    rows_of,
)
from holdfast.actors.tick import Folded, tick
from holdfast.kernel.ids import Address

Mode: TypeAlias = Literal["historical", "what-if", "overlay"]
View: TypeAlias = Callable[[Glance], Any]

ARRIVED_MAX: Final = 65_536
"""Events of a window that are applied to the present state, at most."""

DECISIONS_MAX: Final = 1_000
"""Decisions that an answer has; more are counted."""


class HistoryGoneError(Exception):
    """The window begins before what is kept; `oldest_ms` is the earliest that one may begin."""

    def __init__(self, actor: str, oldest_ms: int) -> None:
        super().__init__(f"{actor}: the history is kept from {oldest_ms} ms on")
        self.actor, self.oldest_ms = actor, oldest_ms

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how it is made again in another process."""
        return HistoryGoneError, (self.actor, self.oldest_ms)


class Window(Struct, frozen=True, kw_only=True):
    """A span of an actor's past, in ms since the epoch, to be made again as `windows` says.

    `without` are ids of events that did not happen, `events` others that did, by their times.
    `view` shows the state at the end.
    """

    actor: str
    from_ms: int
    to_ms: int
    now_ms: int
    mode: Mode
    view: str
    policy: dict[str, Any] = {}
    without: frozenset[str] = frozenset()
    events: tuple[tuple[int, bytes], ...] = ()


class Again(Struct, frozen=True, kw_only=True):
    """A tick of the window; `path` is where it first differs from its record, if it does.

    One with a number after the actor's newest was not in the past.
    """

    number: int
    now_ms: int
    events: int
    path: str = ""
    recorded: Any = None
    rehearsed: Any = None


class Through(Struct, frozen=True, kw_only=True):
    """What a window came to: its ticks, their decisions, and the state at its end as it is shown.

    `exact` says that it is the past, or the past under another policy, and no approximation.
    """

    actor: str
    mode: Mode
    from_seq: int
    to_seq: int
    events: int
    ticks: tuple[Again, ...]
    decisions: tuple[Decision, ...]
    decided: int
    differences: int
    bit_equal: bool | None
    exact: bool
    snapshot: Any


class Edits(Struct, frozen=True, kw_only=True):
    """What else happens in a what-if: events left out by id, and events added, by their time."""

    without: frozenset[str] = frozenset()
    added: tuple[tuple[int, Pending], ...] = ()


class Walk:
    """A walk through a window; make it, feed it the history, and take `result`."""

    def __init__(
        self,
        kind: Kind,
        folded: Folded[Any],
        *,
        mode: Mode,
        edits: Edits,
        policy_of: PolicyOf | None,
        newest: int = 0,
    ) -> None:
        """Begin at `folded`, a state before the window; `policy_of` is as in `replay`.

        `newest` is the number of the actor's last tick.
        """
        self._kind = kind
        self._folded = folded
        self._mode: Mode = mode
        self._edits = edits
        self._edited = bool(edits.without or edits.added)
        self._left = deque(sorted(edits.added, key=lambda one: one[0]))
        self._next = newest + 1
        self._now_ms = 0
        self._known_ms: int | None = None
        self._alarms_left = REHEARSED_TICKS_MAX
        self._comparison = Comparison(kind, policy_of)
        self._ticks: list[Again] = []
        self._decisions: list[Decision] = []
        self._decided = self._events = 0
        self._from_seq = -1

    async def go(self, history: AsyncIterator[History], *, first: int, until_ms: int) -> None:
        """Fold what is before the tick `first`, and make the ticks again up to a time."""
        async for record, rows in history:
            if record.number < first:
                self._folded = self._comparison.believe(self._folded, record, rows)
                self._now_ms, self._known_ms = record.now_ms, record.deadline_ms
                continue
            if record.now_ms > until_ms:
                break
            if self._from_seq < 0:
                self._from_seq = self._folded.seq
            if self._edited:
                self._between(record.now_ms - 1)
                kept = [pending_of(row) for row in rows if row.source != "intent"]
                kept = [one for one in kept if one.id not in self._edits.without]
                self._make(record.now_ms, [*kept, *self._due(record.now_ms)], record.number)
                self._known_ms = record.deadline_ms
            else:
                await self._repeat(History(record, rows))
        if self._edited:
            self._between(until_ms)

    def _between(self, until_ms: int) -> None:
        """Make the ticks that were not, up to a time: of added events and of other deadlines."""
        while True:
            moments = [self._left[0][0]] if self._left else []
            alarm_ms = self._folded.alarm_ms
            if alarm_ms is not None and alarm_ms != self._known_ms and self._alarms_left:
                moments.append(alarm_ms)
            if not moments or min(moments) > until_ms:
                return
            at_ms = max(min(moments), self._now_ms)
            due = self._due(at_ms)
            self._alarms_left -= not due
            self._make(at_ms, due, self._next)
            self._next += 1
            if self._folded.alarm_ms == alarm_ms and not due:
                self._known_ms = alarm_ms

    async def _repeat(self, one: History) -> None:
        record, rows = one
        before, known = self._comparison.differences, len(self._comparison.found)
        self._folded = await self._comparison.again(self._folded, record, rows)
        arrived = sum(row.source != "intent" for row in rows)
        again = Again(number=record.number, now_ms=record.now_ms, events=arrived)
        if self._comparison.differences > before:
            where = self._comparison.found[known:][:1]
            again = Again(
                number=record.number,
                now_ms=record.now_ms,
                events=arrived,
                path=where[0].path if where else "(further differences are not kept)",
                recorded=where[0].recorded if where else None,
                rehearsed=where[0].rehearsed if where else None,
            )
        self._note(again, self._comparison.decisions)

    def _make(self, now_ms: int, pending: Sequence[Pending], number: int) -> None:
        """Make a tick that was not: the state goes on from it, and not from the log.

        One that has nothing to write is none, as in the past.
        """
        self._now_ms = now_ms
        result = tick(
            self._kind.definition, self._kind.policy, self._folded, pending, now_ms, number
        )
        if not result.silent:
            self._folded = result.after
            self._note(Again(number=number, now_ms=now_ms, events=len(pending)), result.decisions)

    def _due(self, now_ms: int) -> list[Pending]:
        """Take the added events whose time has come, as many as a tick takes."""
        due: list[Pending] = []
        while self._left and self._left[0][0] <= now_ms and len(due) < TICK_EVENTS_MAX:
            due.append(self._left.popleft()[1])
        return due

    def _note(self, again: Again, decisions: Sequence[Decision]) -> None:
        self._events += again.events
        self._decided += len(decisions)
        if len(self._ticks) < REHEARSED_TICKS_MAX:
            self._ticks.append(again)
        self._decisions += decisions[: DECISIONS_MAX - len(self._decisions)]

    def result(self, view: View, now_ms: int) -> Through:
        """Return what came of it."""
        made = self._comparison.result(str(self._folded.address))
        return Through(
            actor=made.actor,
            mode=self._mode,
            from_seq=max(self._from_seq, 0),
            to_seq=self._folded.seq,
            events=self._events,
            ticks=tuple(self._ticks),
            decisions=tuple(self._decisions),
            decided=self._decided,
            differences=made.differences,
            bit_equal=made.bit_equal,
            exact=not self._edited,
            snapshot=view(_glance(self._kind, self._folded, now_ms)),
        )


def overlay(
    kind: Kind, folded: Folded[Any], pending: Sequence[Pending], *, view: View, now_ms: int
) -> Through:
    """Return what the events of a window would do to the present state."""
    made = dry_run(kind, folded, pending, now_ms=now_ms, until="drained", view=view)
    decisions = [one for step in made.steps for one in step.decisions]
    ticks = tuple(
        Again(number=step.number, now_ms=step.now_ms, events=len(step.inputs))
        for step in made.steps
    )
    return Through(
        actor=made.actor,
        mode="overlay",
        from_seq=folded.seq,
        to_seq=made.steps[-1].seq if made.steps else folded.seq,
        events=sum(len(step.inputs) for step in made.steps),
        ticks=ticks,
        decisions=tuple(decisions[:DECISIONS_MAX]),
        decided=len(decisions),
        differences=0,
        bit_equal=None,
        exact=False,
        snapshot=made.snapshot,
    )


def _glance(kind: Kind, folded: Folded[Any], now_ms: int) -> Glance:
    return Glance(kind=kind, folded=folded, last=None, pending=0, now_ms=now_ms)


# -- over a reader, in any process


async def look_through(reader: Reader, kinds: Kinds, asked: Window) -> Through:
    """Make a window again; raise UnknownActorError, HistoryGoneError, ValueError."""
    where, kind = kind_of(kinds, asked.actor)
    kind, view = override(kind, asked.policy), find(asked.view)
    loaded = await load(reader, where)
    first = await _first_tick(reader, where, asked.from_ms, loaded.number)
    basis = loaded.seq if first is None else first.basis
    if asked.mode == "overlay":
        folded = fold_loaded(kind.definition, where, loaded).folded
        rows = [] if first is None else await _arrived(reader, where, basis, asked.to_ms)
        return overlay(kind, folded, rows, view=view, now_ms=asked.now_ms)
    added = tuple(
        (at_ms, invent(kind, where, n, body, at_ms)) for n, (at_ms, body) in enumerate(asked.events)
    )
    past = await reader.load(where, at_seq=basis)
    if past is None:
        raise UnknownActorError(f"{where}: nothing is known of it")
    folded = fold_loaded(kind.definition, where, at_snapshot(past)).folded
    exact = asked.mode == "historical"
    walk = Walk(
        kind, folded, mode=asked.mode, edits=Edits(without=asked.without, added=added),
        policy_of=policies_of(reader, kind) if exact else None, newest=loaded.number,
    )  # fmt: skip
    history = pair(
        records_of(reader, where, folded.number, None), rows_of(reader, where, folded.seq)
    )
    await walk.go(
        history, first=loaded.number + 1 if first is None else first.number, until_ms=asked.to_ms
    )
    return walk.result(view, asked.now_ms)


async def _first_tick(
    reader: Reader, where: Address, from_ms: int, newest: int
) -> TickRecord | None:
    """Return the first tick at or after a time, None where there is none.

    Raise HistoryGoneError where it may have been forgotten.
    """
    rows = await reader.ticks(where, limit=1)
    if not rows:
        return None
    oldest = decode_record(rows[0])
    if oldest.now_ms >= from_ms:
        if oldest.basis > 0:
            raise HistoryGoneError(str(where), oldest.now_ms)
        return oldest
    below, above = oldest.number, newest + 1
    while above - below > 1:
        middle = (below + above) // 2
        record = await last_record(reader, where, middle)
        if record is not None and record.now_ms < from_ms:
            below = middle
        else:
            above = middle
    return await last_record(reader, where, above) if above <= newest else None


async def _arrived(reader: Reader, where: Address, after: int, to_ms: int) -> list[Pending]:
    """Return the events after a seq and up to a time as if they waited, without intents."""
    found: list[Pending] = []
    async for row in rows_of(reader, where, after):
        if row.at_ms > to_ms or len(found) == ARRIVED_MAX:
            break
        if row.source != "intent":
            found.append(pending_of(row))
    return found
