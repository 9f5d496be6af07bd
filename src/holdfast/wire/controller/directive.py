"""The directive: the plane's orders to a controller, in answers to check-ins and long polls.

It is state, not a stream: a controller that missed ten of them and gets the eleventh has all
it needs. Commands are the exception; each has an id, is leased until its outcome comes back in a
check-in, and may arrive twice.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from holdfast.wire.controller.checkin import Counter, Label
from holdfast.wire.limits import COMMANDS_MAX, COUNTER_MAX

CommandName = Literal["agent.start", "agent.stop", "agent.restart", "checkin.now"]


class Command(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One thing to do once; `epoch` is the machine's incarnation it was meant for."""

    id: Label
    name: CommandName
    epoch: Counter = 0
    valid_until_ms: Counter = COUNTER_MAX


class Directive(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """The orders of the plane to one machine.

    `revision` grows with each change, so that a long poll can wait for a newer one.
    `checkin_interval_ms` outside 1 s to 1 h is ignored by the controller, which keeps its own.
    `ladder` says whether a recovery may go on by itself, or is held where it is; a `ladder_turn`
    that has grown lets it begin anew.
    """

    protocol: Annotated[int, Meta(ge=1, le=1_000)] = 1
    revision: Counter = 0
    epoch: Counter = 0
    desired: Literal["running", "stopped", "destroyed"] = "running"
    checkin_interval_ms: Counter = 0
    ladder: Literal["auto", "held"] = "auto"
    ladder_turn: Counter = 0
    commands: Annotated[tuple[Command, ...], Meta(max_length=COMMANDS_MAX)] = ()
