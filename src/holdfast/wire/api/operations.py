"""Messages about operations and quarantine: what became of an order.

An operation is one accepted event followed through what it caused. It is read from the log, never
kept beside it, so it cannot disagree with what happened.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import Counter, Cursor, Label, Reason, Time, order
from holdfast.wire.limits import PAGE_ITEMS_MAX, STEPS_MAX


class Pending(Struct, frozen=True, kw_only=True):
    """The answer 202: accepted and durable, but not taken within 2 s; follow `url`."""

    operation: Label
    url: Label


followed: Final = partial(order, pending=Pending, statuses=(200, 202, 409))
"""The row of an order that becomes an event: 200 once taken, 202 with where to follow it."""


class OperationStep(Struct, frozen=True, kw_only=True):
    """One step: the event, an action it led to, an effect of that, or the effect's outcome."""

    kind: Literal["event", "action", "effect", "outcome"]
    id: Label
    name: Label
    at: Time | None = None
    state: Literal["pending", "running", "done", "failed", "refused", "ignored"] = "pending"
    rule: Label = ""
    reason: Reason = ""
    message: Reason = ""
    attempts: Counter = 0
    cause: Label = ""


class Operation(Struct, frozen=True, kw_only=True):
    """An order and what became of it; `done` when nothing it caused is still under way.

    `actor_name` is what people call the instance that it is for, empty where it is not known.
    """

    event: Label
    actor: Label
    name: Label
    accepted_at: Time | None
    outcome: Label
    code: Label = ""
    message: Reason = ""
    by: Label = ""
    seq: Counter = 0
    done: bool = False
    steps: Annotated[tuple[OperationStep, ...], Meta(max_length=STEPS_MAX)] = ()
    damaged: Reason = ""
    actor_name: Label = ""


class OperationList(Struct, frozen=True, kw_only=True):
    """Operations, newest first, without their steps."""

    items: Annotated[tuple[Operation, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class QuarantinedEvent(Struct, frozen=True, kw_only=True):
    """An event whose fold raised; the actor goes on without it until an operator decides."""

    event: Label
    actor: Label
    name: Label
    at: Time | None
    error: Reason
    attempts: Counter = 0
    damaged: Reason = ""
    actor_name: Label = ""


class QuarantineList(Struct, frozen=True, kw_only=True):
    """Events in quarantine, newest first."""

    items: Annotated[tuple[QuarantinedEvent, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class QuarantineOrder(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Retry or drop one quarantined event; `reason` goes into the log."""

    reason: Reason = ""


class QuarantineAnswer(Struct, frozen=True, kw_only=True):
    """What became of the quarantined event."""

    event: Label
    result: Literal["retrying", "dropped"]
