"""Actions of pairing, and their intents and effects."""

from __future__ import annotations

from typing import Any, Final, TypeAlias

from msgspec import Struct

from holdfast.actors.definition import SELF, At, Effect, Work
from holdfast.pairing import events, ports
from holdfast.pairing.limits import SEND_MS
from holdfast.pairing.state import Pairing, by_serial

PROVIDER: Final = "pairing"
"""The provider of every effect."""
LANE: Final = "pairing"
"""One lane, so that at most one command runs in a machine."""


class Expect(Struct, frozen=True, gc=False):
    """What a rule saw of a decision; an empty status means that there is none."""

    serial: int
    status: str
    tries: int


class _Action(Struct, frozen=True, kw_only=True):
    """Fields of every action."""

    rule: str
    reason: str
    expect: Expect
    entity: str = SELF


class TellMachine(_Action, frozen=True, kw_only=True):
    """Send a decision to the machine."""


class LookForIt(_Action, frozen=True, kw_only=True):
    """Read from the machine whether the request of a doubted decision still waits."""


class GiveUp(_Action, frozen=True, kw_only=True):
    """Mark a sent decision as one of unknown outcome."""


class Forget(_Action, frozen=True, kw_only=True):
    """Remove decisions whose requests no source can list any more."""

    serials: tuple[int, ...]


Action: TypeAlias = TellMachine | LookForIt | GiveUp | Forget


def expect_of(state: Pairing, serial: int) -> Expect:
    """Return what a rule sees of a decision, for the action's expectation."""
    known = by_serial(state, serial)
    return Expect(serial, "", 0) if known is None else Expect(serial, known.status, known.tries)


def found(state: Pairing, action: Any) -> Expect:
    """Return what an action's expectation is compared with."""
    return expect_of(state, action.expect.serial)


def act(state: Pairing, action: Action, _policy: Any, at: At) -> Work:
    """Return the intent of an action, and its effect."""
    serial = action.expect.serial
    if isinstance(action, Forget):
        return Work(intents=(events.DecisionsForgotten(action.serials),))
    if isinstance(action, GiveUp):
        return Work(intents=(events.DecisionLost(serial),))
    known = by_serial(state, serial)
    assert known is not None
    assert known.asked is not None
    body: ports.Body
    intent: events.Intent
    if isinstance(action, TellMachine):
        intent = events.DecisionSent(serial)
        body = ports.DecideCall(serial, known.verb, known.asked)
    else:
        intent = events.LookSent(serial)
        early = at.now_ms < known.runs_until_ms
        body = ports.LookCall(serial, known.verb, known.asked, early=early)
    effect = Effect(
        lane=LANE, provider=PROVIDER, body=body, epoch=0, valid_until_ms=at.now_ms + SEND_MS
    )
    return Work(intents=(intent,), effects=(effect,))
