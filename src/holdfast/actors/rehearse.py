"""Rehearsal: what the next ticks would do, what past ticks did, and why; read-only.

Every function here calls the tick that the live loop calls, over data of a reader, so a preview
cannot differ from what follows and a replay needs no mocks. Nothing is committed, because the tick
does not commit. Effects are shown, never made; their recorded outcomes are events of the log like
all others.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
from msgspec import Struct

from holdfast.actors.commit import check_all, check_some, fold_rows, hex_digest
from holdfast.actors.definition import Suppressed
from holdfast.actors.kinds import Kind
from holdfast.actors.limits import (
    DIVERGENCES_MAX,
    REASON_CHARS_MAX,
    REHEARSED_TICKS_MAX,
    TICK_EVENTS_MAX,
    VIOLATIONS_MAX,
)
from holdfast.actors.ports import Logged, Pending
from holdfast.actors.record import Decision, Input, Note, TickRecord, Withheld
from holdfast.actors.tick import Folded, Tick, full_digest, tick

Until = Literal["", "drained"]
PolicyOf: TypeAlias = Callable[[str], Awaitable[Any]]
"""Returns the stored policy of a hash."""


class Step(Struct, frozen=True, kw_only=True):
    """One rehearsed tick. `calls` are (effect, lane, provider); `suppressed` names each entity."""

    number: int
    now_ms: int
    basis: int
    seq: int
    digest: str
    inputs: tuple[Input, ...] = ()
    decisions: tuple[Decision, ...] = ()
    suppressed: tuple[Suppressed, ...] = ()
    calls: tuple[tuple[str, str, str], ...] = ()
    letters: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    deadline_ms: int | None = None


class Glance(NamedTuple):
    """An actor as stored: its state, its last tick, and how many events wait."""

    kind: Kind
    folded: Folded[Any]
    last: TickRecord | None
    pending: int
    now_ms: int


class Change(Struct, frozen=True):
    """How a tick differs from the one before it: actions and suppressions begun and ended.

    A suppression is named by its reason, since a record counts by reason.
    """

    begun: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    same: tuple[str, ...] = ()


class DryRun(Struct, frozen=True, kw_only=True):
    """The next ticks and their basis. `waiting` events remain after them.

    `violations_before` are of all entities; `violations_after` of those and of what was touched.
    """

    actor: str
    seq: int
    digest: str
    now_ms: int
    steps: tuple[Step, ...] = ()
    violations_before: tuple[Note, ...] = ()
    violations_after: tuple[Note, ...] = ()
    change: Change = Change()
    waiting: int = 0
    truncated: bool = False
    snapshot: Any = None


class Divergence(Struct, frozen=True):
    """Where a rehearsed tick differs from the recorded one: `path` within the record."""

    number: int
    path: str
    recorded: Any
    rehearsed: Any


class Replay(Struct, frozen=True, kw_only=True):
    """The result of repeating recorded ticks.

    `differences` counts ticks that decided otherwise; `divergences` holds the first of them.
    `bit_equal` is None when no digest could be compared: another version of the state, or a
    what-if, which is about decisions.
    """

    actor: str
    first_tick: int
    last_tick: int
    ticks: int = 0
    events: int = 0
    differences: int = 0
    divergences: tuple[Divergence, ...] = ()
    bit_equal: bool | None = None

    @property
    def match(self) -> bool:
        """Return whether every tick equals its record."""
        return self.differences == 0 and self.bit_equal is not False


class Explanation(Struct, frozen=True, kw_only=True):
    """The actions and suppressions of one entity now, with the reasons."""

    actor: str
    entity: str
    seq: int
    now_ms: int
    actions: tuple[Decision, ...] = ()
    suppressed: tuple[Suppressed, ...] = ()
    violations: tuple[Note, ...] = ()
    deadline_ms: int | None = None
    last: TickRecord | None = None


class History(NamedTuple):
    """A span of an actor's past: its records, each with the log rows of its tick, in order."""

    record: TickRecord
    rows: Sequence[Logged]


# -- forward -------------------------------------------------------------------------------------


def dry_run(
    kind: Kind,
    folded: Folded[Any],
    pending: Sequence[Pending],
    *,
    now_ms: int,
    ticks: int = 1,
    until: Until = "",
    last: TickRecord | None = None,
    view: Callable[[Glance], Any] | None = None,
) -> DryRun:
    """Return what the next ticks would do, were they made at `now_ms`.

    `view` makes `snapshot` of the state after them.

    With `until` "drained" it goes on until no event waits; otherwise `ticks` are made, and once
    no event waits, time goes on to each next deadline. Raise NewerEventError as the tick does.
    """
    most = REHEARSED_TICKS_MAX if until == "drained" else min(ticks, REHEARSED_TICKS_MAX)
    rest, steps, before, touched = list(pending), list[Step](), folded, set[str]()
    while len(steps) < most:
        taken, rest = rest[:TICK_EVENTS_MAX], rest[TICK_EVENTS_MAX:]
        result = tick(kind.definition, kind.policy, folded, taken, now_ms, folded.number + 1)
        steps.append(show(result))
        touched.update(result.touched)
        moved = not result.silent
        folded = result.after if moved else folded
        if rest:
            continue
        deadline_ms = result.deadline_ms
        if until == "drained" or deadline_ms is None or (deadline_ms <= now_ms and not moved):
            break
        now_ms = max(now_ms, deadline_ms)
    first = steps[0] if steps else None
    broken = check_all(kind.definition, before.state)
    touched.update(note.entity for note in broken)
    broken_after = check_some(kind.definition, folded.state, touched)
    return DryRun(
        actor=str(before.address),
        seq=before.seq,
        digest=hex_digest(before.digest),
        now_ms=first.now_ms if first is not None else now_ms,
        steps=tuple(steps),
        violations_before=tuple(broken[:VIOLATIONS_MAX]),
        violations_after=tuple(broken_after[:VIOLATIONS_MAX]),
        change=_change(last, first),
        waiting=len(rest),
        truncated=bool(rest),
        snapshot=None if view is None else view(Glance(kind, folded, last, len(rest), now_ms)),
    )


def show(result: Tick[Any]) -> Step:
    """Return a tick in the form for people."""
    reasons = sorted(result.after.reasons)
    return Step(
        number=result.after.number,
        now_ms=result.now_ms,
        basis=result.before.seq,
        seq=result.after.seq,
        digest=hex_digest(result.after.digest),
        inputs=result.inputs,
        decisions=result.decisions,
        suppressed=tuple(Suppressed(*reason) for reason in reasons),
        calls=tuple((call.id, call.call.lane, call.call.provider) for call in result.calls),
        letters=tuple(str(letter.to) for letter in result.letters),
        notes=result.notes,
        deadline_ms=result.deadline_ms,
    )


def _change(last: TickRecord | None, first: Step | None) -> Change:
    """Return how the first rehearsed tick differs from the last recorded one."""
    if first is None:
        return Change()
    old, new = set[str](), _titles(first.decisions, first.suppressed)
    if last is not None:
        old = _titles(last.decisions, last.withheld)
    return Change(
        begun=tuple(sorted(new - old)),
        ended=tuple(sorted(old - new)),
        same=tuple(sorted(old & new)),
    )


def _titles(decisions: Iterable[Decision], withheld: Iterable[Withheld | Suppressed]) -> set[str]:
    """Return titles of a tick's actions, by entity, and of its suppressions, by reason."""
    done = {f"{one.rule}: {one.name} {one.entity}".rstrip() for one in decisions}
    return done | {f"{one.rule}: left alone, {one.because}" for one in withheld}


# -- back ----------------------------------------------------------------------------------------


async def replay(
    kind: Kind,
    folded: Folded[Any],
    history: AsyncIterable[History],
    *,
    from_seq: int = 0,
    policy_of: PolicyOf | None = None,
) -> Replay:
    """Repeat recorded ticks and compare them with their records.

    `folded` is a snapshot at or before the first of `history`. Ticks whose basis is below
    `from_seq` are folded and not compared. `policy_of` returns the policy of a hash; without it
    every tick is decided by the kind's own policy, which is a what-if: decisions are compared,
    digests are not. After a difference the replay goes on from the log.
    """
    comparison = Comparison(kind, policy_of)
    async for record, rows in history:
        if record.basis < from_seq:
            folded = comparison.believe(folded, record, rows)
        else:
            folded = await comparison.again(folded, record, rows)
    return comparison.result(str(folded.address))


class Comparison:
    """A replay in progress; `decisions` are those of the last tick that was made again."""

    def __init__(self, kind: Kind, policy_of: PolicyOf | None) -> None:
        self.kind = kind
        self.policy_of = policy_of
        self.policies: dict[str, Any] = {}
        self.found: list[Divergence] = []
        self.ticks = self.events = self.differences = 0
        self.first = self.last = 0
        self.compared = self.unequal = 0
        self.decisions: tuple[Decision, ...] = ()

    async def policy(self, policy_hash: str) -> Any:
        """Return the policy of a tick's time, or the what-if policy."""
        if self.policy_of is None:
            return self.kind.policy
        if policy_hash not in self.policies:
            self.policies[policy_hash] = await self.policy_of(policy_hash)
        return self.policies[policy_hash]

    def believe(
        self, folded: Folded[Any], record: TickRecord, rows: Sequence[Logged]
    ) -> Folded[Any]:
        """Fold a tick's logged events, without repeating the tick."""
        self.events += len(rows)
        state, _ = fold_rows(self.kind.definition, folded.state, rows)
        return Folded(
            address=folded.address,
            state=state,
            seq=record.seq,
            number=record.number,
            digest=full_digest(self.kind.definition, state),
            alarm_ms=record.deadline_ms,
        )

    async def again(
        self, folded: Folded[Any], record: TickRecord, rows: Sequence[Logged]
    ) -> Folded[Any]:
        """Repeat one tick, compare it, and return the state according to the log."""
        pending = [pending_of(row) for row in rows if row.source != "intent"]
        policy = await self.policy(record.policy)
        result = tick(self.kind.definition, policy, folded, pending, record.now_ms, record.number)
        self.ticks += 1
        self.decisions = result.decisions
        self.events += len(rows)
        self.first = self.first or record.number
        self.last = record.number
        if self.policy_of is None:
            differs = self._compare(record, result, _DECIDED)
        else:
            differs = self._compare(record, result, _ALL)
            differs = self._compare_state(record, result) or differs
        if not differs:
            return result.after
        self.differences += 1
        return self.believe_again(folded, record, rows)

    def believe_again(
        self, folded: Folded[Any], record: TickRecord, rows: Sequence[Logged]
    ) -> Folded[Any]:
        """Return the state according to the log after a difference; events are counted already."""
        after = self.believe(folded, record, rows)
        self.events -= len(rows)
        return after

    def _compare(self, record: TickRecord, result: Tick[Any], fields: Sequence[str]) -> bool:
        """Return whether a tick differs from its record in any of the fields."""
        if all(getattr(record, name) == getattr(result, name) for name in fields):
            return False
        # The record went through JSON: compare in that form.
        made = msgspec.to_builtins({name: getattr(result, name) for name in fields})
        kept = msgspec.to_builtins({name: getattr(record, name) for name in fields})
        for path, recorded, rehearsed in differences(kept, made):
            self._note(Divergence(record.number, path, recorded, rehearsed))
            return True
        return False

    def _compare_state(self, record: TickRecord, result: Tick[Any]) -> bool:
        """Return whether the state's digest differs, within one version of the state."""
        if record.state_version != self.kind.definition.version:
            return False
        self.compared += 1
        digest = hex_digest(result.after.digest)
        if digest == record.digest and result.after.seq == record.seq:
            return False
        self.unequal += 1
        self._note(Divergence(record.number, "digest", record.digest, digest))
        return True

    def _note(self, divergence: Divergence) -> None:
        if len(self.found) < DIVERGENCES_MAX:
            self.found.append(divergence)

    def result(self, actor: str) -> Replay:
        """Return the result."""
        return Replay(
            actor=actor,
            first_tick=self.first,
            last_tick=self.last,
            ticks=self.ticks,
            events=self.events,
            differences=self.differences,
            divergences=tuple(self.found),
            bit_equal=(self.unequal == 0) if self.compared else None,
        )


_DECIDED = ("decisions", "withheld", "deadline_ms")
_ALL = ("inputs", "decisions", "withheld", "notes", "deadline_ms")


def pending_of(row: Logged) -> Pending:
    """Return the pending event of a log row."""
    return Pending(
        id=row.id,
        body=row.body,
        version=row.version,
        source=row.source,
        accepted_ms=row.accepted_ms,
        cause=row.cause,
        by=row.by,
    )


def differences(recorded: Any, rehearsed: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, recorded, rehearsed) where two values of plain data differ, in order."""
    if isinstance(recorded, dict) and isinstance(rehearsed, dict):
        for key in sorted({*recorded, *rehearsed}, key=str):
            below = f"{path}.{key}" if path else str(key)
            yield from differences(recorded.get(key), rehearsed.get(key), below)
    elif isinstance(recorded, (list, tuple)) and isinstance(rehearsed, (list, tuple)):
        for index in range(max(len(recorded), len(rehearsed))):
            one = recorded[index] if index < len(recorded) else None
            other = rehearsed[index] if index < len(rehearsed) else None
            yield from differences(one, other, f"{path}[{index}]")
    elif recorded != rehearsed:
        yield path, recorded, rehearsed


# -- why -----------------------------------------------------------------------------------------


def explain(
    kind: Kind, folded: Folded[Any], entity: str, *, now_ms: int, last: TickRecord | None = None
) -> Explanation:
    """Return the actions and suppressions of one entity now, with the reasons.

    It runs the same rules as the tick; an action that would be a conflict is shown as one, so the
    result is what the next tick without events would do.
    """
    definition = kind.definition
    number = folded.number + 1
    plan = definition.reconcile(folded.state, kind.policy, now_ms, number)
    actions = [_weigh(kind, folded, action) for action in plan.actions if action.entity == entity]
    broken = [note for note in check_all(definition, folded.state) if note.entity == entity]
    held = [item for item in plan.suppressed if item.entity == entity]
    if definition.explain is not None:
        more = definition.explain(folded.state, kind.policy, now_ms, entity)
        held += [item for item in more if item not in held]
    return Explanation(
        actor=str(folded.address),
        entity=entity,
        seq=folded.seq,
        now_ms=now_ms,
        actions=tuple(actions),
        suppressed=tuple(held),
        violations=tuple(broken),
        deadline_ms=definition.deadline(folded.state, kind.policy, now_ms),
        last=last,
    )


def _weigh(kind: Kind, folded: Folded[Any], action: Any) -> Decision:
    """Return an action of the plan, and whether its expectation holds."""
    found = kind.definition.found(folded.state, action)
    conflict = found != action.expect
    return Decision(
        rule=action.rule,
        reason=action.reason[:REASON_CHARS_MAX],
        name=type(action).__name__,
        entity=action.entity,
        args=msgspec.to_builtins(action),
        result="conflict" if conflict else "done",
        found=msgspec.to_builtins(found) if conflict else None,
    )


# -- pairing records with their rows -------------------------------------------------------------


async def pair(
    records: AsyncIterable[TickRecord], rows: AsyncIterable[Logged]
) -> AsyncIterator[History]:
    """Yield each record with the log rows of its tick; both must be in order."""
    stream = aiter(rows)
    ahead = await anext(stream, None)
    async for record in records:
        taken: list[Logged] = []
        while ahead is not None and ahead.tick <= record.number:
            if ahead.tick == record.number:
                taken.append(ahead)
            ahead = await anext(stream, None)
        yield History(record, taken)
