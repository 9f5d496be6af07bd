"""The tick: the one pure function that changes an actor.

    apply      each pending event: applied, ignored or refused; one that raises is quarantined
               and named, the rest go on
    reconcile  the rules read the new state and make a plan
    act        each action of the plan: look whether what it expects is still so, fold its
               intents at once, collect its effects; a failed expectation is a conflict
    check      numbered invariants over what was touched; what they find may be the subject's
               own events, so that a violation is opened and resolved like all else

The live loop, the dry run, the replay and the simulator all call this function; only the live loop
commits the result. It uses no clock, no randomness and no I/O, and raises only for an event that is
newer than the code, which must stop the actor and never be skipped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from holdfast.actors.definition import (
    Action,
    At,
    Claim,
    Definition,
    Effect,
    EffectCall,
    Letter,
    Plan,
    Probe,
    Refused,
    ViewRow,
    Work,
    broken,
)
from holdfast.actors.limits import FAULT_RETRY_MS, REASON_CHARS_MAX, TICK_ACTIONS_MAX
from holdfast.actors.ports import EventOutcome, Pending, Stamp
from holdfast.actors.record import Decision, Input, Note, Withheld
from holdfast.actors.working import Working
from holdfast.kernel.failure import fixed, place
from holdfast.kernel.ids import Address, EventId, derive

S = TypeVar("S")
E = TypeVar("E")
A = TypeVar("A", bound=Action)
P = TypeVar("P")

DIGEST_BITS: Final = 128
DIGEST_MODULUS: Final = 1 << DIGEST_BITS

Reasons = frozenset[tuple[str, str, str]]


class NewerEventError(Exception):
    """An event was written by a newer version of the code; this one must not touch the actor."""


class Folded(Struct, Generic[S], frozen=True):
    """A state with its place in the log: what a tick starts from and what it ends in.

    `seq` is that of the last stamped event and `number` that of the last tick; `digest` is the
    sum modulo 2^128 of one hash per entity. `alarm_ms` is the deadline that the store holds.
    `reasons` are the suppressions of the last tick, so that a record names only what changed.
    """

    address: Address
    state: S
    seq: int = 0
    number: int = 0
    digest: int = 0
    alarm_ms: int | None = None
    reasons: Reasons = frozenset()


class Intent(Struct, frozen=True):
    """An event that the tick itself makes, before the effect that follows it."""

    id: EventId
    seq: int
    body: bytes
    cause: str


class Call(Struct, frozen=True):
    """An effect with its id, which its intents, its lane and its outcome refer to."""

    id: str
    ordinal: int
    call: EffectCall
    body: bytes
    cause: str
    supersedes: bool


class Tick(Struct, Generic[S], frozen=True):
    """The result of a tick; without any consequence until it is committed.

    `places` tells the log where an exception was raised, by the id of its event or the text of its
    note. The record has no places: a replay by a later version of the code must repeat it.
    """

    before: Folded[S]
    after: Folded[S]
    now_ms: int
    stamps: tuple[Stamp, ...]
    inputs: tuple[Input, ...]
    decisions: tuple[Decision, ...]
    withheld: tuple[Withheld, ...]
    changed_reasons: tuple[tuple[str, str, str], ...]
    notes: tuple[Note, ...]
    intents: tuple[Intent, ...]
    calls: tuple[Call, ...]
    letters: tuple[Letter, ...]
    claims: tuple[Claim, ...]
    releases: tuple[Claim, ...]
    probes: tuple[Probe, ...]
    unprobes: tuple[str, ...]
    views: tuple[ViewRow, ...]
    touched: tuple[str, ...]
    deadline_ms: int | None
    places: Mapping[str, str]

    @property
    def silent(self) -> bool:
        """Return whether there is nothing to write: no event, no action, the same deadline."""
        return not (self.stamps or self.decisions) and self.deadline_ms == self.before.alarm_ms


def entity_hash(key: str, body: bytes | None) -> int:
    """Return an entity's share of the digest; an absent entity counts 0."""
    if body is None:
        return 0
    digest = hashlib.blake2b(body, digest_size=DIGEST_BITS // 8, key=key.encode()[:64]).digest()
    return int.from_bytes(digest, "big")


def full_digest(definition: Definition[S, Any, Any, Any], state: S) -> int:
    """Return the digest of a whole state, to compare with the incremental one."""
    total = sum(
        entity_hash(key, definition.entity(state, key)) for key in definition.entities(state)
    )
    return total % DIGEST_MODULUS


def begin(definition: Definition[S, Any, Any, Any], where: Address) -> Folded[S]:
    """Return the basis of a new actor."""
    state = definition.empty(where.id)
    return Folded(address=where, state=state, digest=full_digest(definition, state))


class _Draft(Generic[S, E, A, P]):
    """A tick in progress: the only mutable object of the engine."""

    def __init__(
        self, definition: Definition[S, E, A, P], policy: P, before: Folded[S], at: tuple[int, int]
    ) -> None:
        self.definition = definition
        self.policy = policy
        self.before = before
        self.name = str(before.address)
        self.working = Working(definition, before.state)
        self.seq = before.seq
        self.now_ms, self.number = at
        self.stamps: list[Stamp] = []
        self.inputs: list[Input] = []
        self.decisions: list[Decision] = []
        self.notes: list[Note] = []
        self.intents: list[Intent] = []
        self.calls: list[Call] = []
        self.letters: list[Letter] = []
        self.cause = ""
        self.places: dict[str, str] = {}

    @property
    def state(self) -> S:
        """Return the state as it now is."""
        return self.working.state

    @property
    def touched(self) -> dict[str, None]:
        """Return what was touched until the state was last read, in order."""
        return self.working.touched

    def fault(self, where: str, error: Exception) -> None:
        """Note an exception of the rules: the actor goes on, and the note is shown."""
        text = f"{where}: {fixed(error)}"[:REASON_CHARS_MAX]
        self.notes.append(Note(0, "", text))
        self.places.setdefault(text, place(error))

    def take(self, row: Pending) -> None:
        """Fold one pending event and stamp it.

        One that raises leaves the state as it was, and is quarantined by its exception's name.
        """
        if row.version > self.definition.version:
            message = (
                f"{self.before.address}: event {row.id} is of version {row.version}, this code"
                f" knows {self.definition.version}; update this plane"
            )
            raise NewerEventError(message)
        self.seq += 1
        outcome, code, message = self.fold(row)
        if outcome == "applied":
            self.cause = row.id
        self.inputs.append(Input(row.id, outcome, code, message))
        self.stamps.append(
            Stamp(
                id=row.id,
                seq=self.seq,
                tick=self.number,
                at_ms=self.now_ms,
                outcome=outcome,
                code=code,
                message=message,
            )
        )

    def fold(self, row: Pending) -> tuple[EventOutcome, str, str]:
        """Apply one pending event; return its outcome with a code and a message."""
        mark = self.working.mark()
        at = At(self.now_ms, self.number, row.id)
        try:
            event = self.definition.decode_event(row.body, row.version)
            declined = self.working.apply(event, at)
        except Exception as error:  # noqa: BLE001  one bad event must not stop the others
            self.working.back_to(mark)
            self.places[row.id] = place(error)
            return "quarantined", type(error).__name__, fixed(error)[:REASON_CHARS_MAX]
        if declined is None:
            return "applied", "", ""
        self.working.back_to(mark)
        if isinstance(declined, Refused):
            return "refused", declined.code, declined.message
        return "ignored", "", declined.reason

    def plan(self) -> Plan[A]:
        """Run the rules; an exception gives an empty plan and a note."""
        try:
            return self.definition.reconcile(self.state, self.policy, self.now_ms, self.number)
        except Exception as error:  # noqa: BLE001  kept as a note, and tried again by the alarm
            self.fault("reconcile", error)
            return Plan()

    def carry_out(self, action: A, index: int) -> None:
        """Check one action against the current state, and fold its intents."""
        working, found = self.working, None
        mark = working.mark()
        try:
            found = self.definition.found(working.look, action)
            if found != action.expect:
                self.decide(action, "conflict", msgspec.to_builtins(found))
                return
            event_id = EventId(derive(self.name, self.number, "action", index))
            at = At(self.now_ms, self.number, event_id)
            work = self.definition.act(working.look, action, self.policy, at)
            intents = self.fold_intents(work, index)
            cause = intents[0].id if intents else self.cause
            calls = self.name_calls(work, index, cause)
        except Exception as error:  # noqa: BLE001  named in the record; the others go on
            working.back_to(mark)
            self.fault(f"act {action.rule}", error)
            self.decide(action, "fault", fixed(error)[:REASON_CHARS_MAX])
            return
        self.seq += len(intents)
        self.intents += intents
        self.calls += calls
        self.letters += work.letters
        self.decide(action, "done", None, tuple(call.id for call in calls))

    def fold_intents(self, work: Work, index: int) -> list[Intent]:
        """Fold an action's intents; raise when one does not apply, and leave it to be undone."""
        intents = list[Intent]()
        for event in work.intents:
            ordinal = len(intents)
            event_id = EventId(derive(self.name, self.number, index, ordinal))
            declined = self.working.apply(event, At(self.now_ms, self.number, event_id))
            if declined is not None:
                message = f"intent {type(event).__name__} was not applied: {declined}"
                raise TypeError(message)
            body = self.definition.encode_event(event)
            intents.append(Intent(event_id, self.seq + ordinal + 1, body, self.cause))
        return intents

    def name_calls(self, work: Work, index: int, cause: str) -> list[Call]:
        """Give an action's effects ids and ordinals; raise when one cannot be encoded."""
        return [
            self.call(effect, index, ordinal, cause)
            for ordinal, effect in enumerate(work.effects, start=len(self.calls))
        ]

    def call(self, effect: Effect, index: int, ordinal: int, cause: str) -> Call:
        """Give one effect its id."""
        effect_id = derive(self.name, self.number, "effect", index, ordinal)
        call = EffectCall(
            id=effect_id,
            actor=self.before.address,
            lane=effect.lane,
            provider=effect.provider,
            body=effect.body,
            epoch=effect.epoch,
            valid_until_ms=effect.valid_until_ms,
            key=effect_id,
        )
        body = self.definition.encode_effect(effect.body)
        return Call(effect_id, ordinal, call, body, cause, effect.supersedes)

    def decide(self, action: A, result: Any, found: Any, effects: tuple[str, ...] = ()) -> None:
        """Write one action into the record."""
        self.decisions.append(
            Decision(
                rule=action.rule,
                reason=action.reason,
                name=type(action).__name__,
                entity=action.entity,
                args=msgspec.to_builtins(action),
                result=result,
                found=found,
                effects=effects,
            )
        )

    def check(self) -> None:
        """Run the invariants over what was touched."""
        state = self.state
        for number, key, wrong in broken(self.definition, state, self.touched):
            if isinstance(wrong, Exception):
                self.fault(f"invariant {number}", wrong)
            else:
                self.notes.append(Note(number, key, wrong[:REASON_CHARS_MAX]))

    def notice(self) -> None:
        """Fold the subject's events of what the invariants found; one that raises leaves a note."""
        if self.definition.noticed is None or not self.touched:
            return
        mark = self.working.mark()
        try:
            events = self.definition.noticed(self.state, self.notes)
            if not events:
                return
            work = Work(intents=events)
            intents = self.fold_intents(work, TICK_ACTIONS_MAX)
        except Exception as error:  # noqa: BLE001  the state stays as it was before them
            self.working.back_to(mark)
            self.fault("noticed", error)
            return
        self.seq += len(intents)
        self.intents += intents

    def digest(self) -> int:
        """Return the digest after the tick, from the previous one and what was touched."""
        total, entity = self.before.digest, self.definition.entity
        old, new = self.before.state, self.state
        for key in self.touched:
            total += entity_hash(key, entity(new, key)) - entity_hash(key, entity(old, key))
        return total % DIGEST_MODULUS

    def deadline(self) -> int | None:
        """Return when to tick again without an event; note when nothing would ever wake it."""
        try:
            deadline = self.definition.deadline(self.state, self.policy, self.now_ms)
        except Exception as error:  # noqa: BLE001  kept as a note, and tried again by the alarm
            self.fault("deadline", error)
            return self.now_ms + FAULT_RETRY_MS
        if any(note.number == 0 for note in self.notes):
            retry = self.now_ms + FAULT_RETRY_MS
            return retry if deadline is None else min(deadline, retry)
        if (
            deadline is None
            and self.definition.exists(self.state)
            and not self.standing(self.state)
        ):
            self.notes.append(Note(0, "", "it exists but has neither a deadline nor a probe"))
            return self.now_ms + FAULT_RETRY_MS
        return deadline

    def standing(self, state: S) -> tuple[Probe, ...]:
        """Return the probes of a state."""
        return self.definition.probes(state, self.policy)

    def views(self) -> tuple[ViewRow, ...]:
        """Return the view rows; a view that raises is noted, and its row stays as it was."""
        if not self.touched:
            return ()
        before = self.before.state if self.before.seq else None
        try:
            return tuple(self.definition.views(before, self.state, tuple(self.touched)))
        except Exception as error:  # noqa: BLE001  a page that is stale beats an actor that stops
            self.fault("views", error)
            return ()


def _reasons(plan: Plan[Any]) -> tuple[tuple[Withheld, ...], Reasons]:
    """Return what was suppressed as counts, and as the set to compare with the last tick's."""
    counts: dict[tuple[str, str], int] = {}
    for item in plan.suppressed:
        counts[item.rule, item.because] = counts.get((item.rule, item.because), 0) + 1
    for some in plan.counted:
        if some.entities:
            counts[some.rule, some.because] = (
                counts.get((some.rule, some.because), 0) + some.entities
            )
    withheld = tuple(Withheld(rule, why, n) for (rule, why), n in sorted(counts.items()))
    return withheld, frozenset((s.rule, s.because, s.entity) for s in plan.suppressed)


def tick(  # noqa: PLR0917  one fixed order for all four callers as
    definition: Definition[S, E, A, P],
    policy: P,
    before: Folded[S],
    pending: Sequence[Pending],
    now_ms: int,
    number: int,
) -> Tick[S]:
    """Return the tick `number` of an actor, which takes `pending` at `now_ms`.

    Raise NewerEventError when an event was written by newer code; nothing else is raised.
    """
    draft = _Draft(definition, policy, before, (now_ms, number))
    for row in pending:
        draft.take(row)
    plan = draft.plan()
    for index, action in enumerate(plan.actions[:TICK_ACTIONS_MAX]):
        draft.carry_out(action, index)
    draft.check()
    draft.notice()
    deadline_ms = draft.deadline()
    if len(plan.actions) > TICK_ACTIONS_MAX:
        deadline_ms = now_ms
    views = draft.views()
    withheld, reasons = _reasons(plan)
    changes = _standing_changes(draft)
    after = Folded(
        address=before.address,
        state=draft.state,
        seq=draft.seq,
        number=number,
        digest=draft.digest(),
        alarm_ms=deadline_ms,
        reasons=reasons if reasons != before.reasons else before.reasons,
    )
    return Tick(
        before=before,
        after=after,
        now_ms=now_ms,
        stamps=tuple(draft.stamps),
        inputs=tuple(draft.inputs),
        decisions=tuple(draft.decisions),
        withheld=withheld,
        changed_reasons=tuple(sorted(reasons - before.reasons)),
        notes=tuple(draft.notes),
        intents=tuple(draft.intents),
        calls=tuple(draft.calls),
        letters=tuple(draft.letters),
        claims=changes[0],
        releases=changes[1],
        probes=changes[2],
        unprobes=changes[3],
        views=views,
        touched=tuple(draft.touched),
        deadline_ms=deadline_ms,
        places=draft.places,
    )


def _standing_changes(
    draft: _Draft[Any, Any, Any, Any],
) -> tuple[tuple[Claim, ...], tuple[Claim, ...], tuple[Probe, ...], tuple[str, ...]]:
    """Return the claims and probes that were added and removed."""
    if not draft.touched:
        return (), (), (), ()
    old, new = draft.before.state, draft.state
    held, wanted = draft.definition.claims(old), draft.definition.claims(new)
    before = {probe.key: probe for probe in draft.standing(old)}
    after = {probe.key: probe for probe in draft.standing(new)}
    return (
        tuple(sorted(wanted - held)),
        tuple(sorted(held - wanted)),
        tuple(probe for key, probe in after.items() if before.get(key) != probe),
        tuple(sorted(before.keys() - after.keys())),
    )
