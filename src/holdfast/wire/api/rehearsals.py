"""Messages of rehearsals: dry run, replay, what-if and explain, for every kind of actor.

A rehearsal calls the same tick as the live loop and commits nothing. Its answer is what the tick
decided, in the words of the tick record.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import Counter, Label, Outcome, Reason, Time
from holdfast.wire.limits import (
    REHEARSAL_EVENTS_MAX,
    REHEARSAL_TICKS_MAX,
    STEPS_MAX,
)
from holdfast.wire.times import TIME_MS_MAX

TickCount = Annotated[int, Meta(ge=1, le=REHEARSAL_TICKS_MAX)]
Moment = Annotated[int, Meta(ge=0, le=TIME_MS_MAX)]
"""Milliseconds since the epoch."""
InventedEvent = Annotated[dict[str, Any], Meta(min_length=1, max_length=64)]
"""An event in its own JSON form, with its `type`; decoded by the actor's definition."""


class DryRunRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask what the next ticks would do. `at_ms` is the time to assume; absent means now."""

    ticks: TickCount = 1
    at_ms: Moment | None = None


class ReplayRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fold the log again and decide again; report where decisions or state would differ."""

    from_seq: Counter = 0
    to_seq: Counter | None = None
    decisions: bool = True


class WhatIfRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A replay, or the next ticks, under another policy or with invented events.

    `policy` overrides fields of the actor's policy by name. With `from_seq` the log is replayed
    from there; without it the rehearsal goes forward from the present state.
    """

    policy: Annotated[dict[str, Any], Meta(max_length=64)] = {}
    events: Annotated[tuple[InventedEvent, ...], Meta(max_length=REHEARSAL_EVENTS_MAX)] = ()
    from_seq: Counter | None = None
    ticks: TickCount = 1
    at_ms: Moment | None = None


class ExplainRequest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Ask why this tick, or the one that took this event, decided what it decided.

    Without either it is asked about now; `entity` is the key of a part of the actor, as `b/` with
    the id of a bead of a town, and empty for the actor itself.
    """

    tick: Counter | None = None
    event: Label = ""
    entity: Label = ""


class RehearsedEvent(Struct, frozen=True, kw_only=True):
    """One event as the rehearsed tick took it."""

    id: Label
    name: Label
    outcome: Outcome
    code: Label = ""
    message: Reason = ""


class RehearsedAction(Struct, frozen=True, kw_only=True):
    """One action the tick decided: by which rule, for what reason, expecting what."""

    name: Label
    rule: Label
    reason: Reason
    expect: Reason = ""
    effect: Label = ""
    lane: Label = ""
    conflict: Reason = ""


class Suppressed(Struct, frozen=True, kw_only=True):
    """An action that a rule wanted and another rule held back."""

    name: Label
    rule: Label
    reason: Reason
    until: Time | None = None


class RehearsedTick(Struct, frozen=True, kw_only=True):
    """One tick of a rehearsal."""

    number: Counter
    at: Time
    events: Annotated[tuple[RehearsedEvent, ...], Meta(max_length=STEPS_MAX)] = ()
    actions: Annotated[tuple[RehearsedAction, ...], Meta(max_length=STEPS_MAX)] = ()
    suppressed: Annotated[tuple[Suppressed, ...], Meta(max_length=STEPS_MAX)] = ()
    notes: Annotated[tuple[Reason, ...], Meta(max_length=STEPS_MAX)] = ()
    deadline_at: Time | None = None
    state_hash: Label = ""
    differs: Reason = ""


class Rehearsal(Struct, frozen=True, kw_only=True):
    """The answer of every rehearsal.

    `events_folded` counts the log entries that were read; `differences` the ticks that would
    have decided otherwise; `bit_equal` whether the state's hash came out as recorded. `changes`
    says in words what the state would become.
    """

    actor: Label
    mode: Literal["dry-run", "replay", "what-if", "explain"]
    ticks: Annotated[tuple[RehearsedTick, ...], Meta(max_length=REHEARSAL_TICKS_MAX)] = ()
    events_folded: Counter = 0
    differences: Counter = 0
    bit_equal: bool | None = None
    truncated: bool = False
    changes: Annotated[tuple[Reason, ...], Meta(max_length=STEPS_MAX)] = ()
    summary: Reason = ""
