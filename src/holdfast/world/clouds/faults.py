"""Faults of calls to the simulated cloud, as data.

A fault sets when the call is executed and which answer the caller gets; the cloud applies it. Plans
are functions of the call, so that a test can target one call and the simulator can draw from a
seed. A plan must not use a clock or randomness other than what it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal, Protocol, TypeAlias

from msgspec import Struct

FaultKind: TypeAlias = Literal["delay", "refuse", "lose_reply", "repeat", "late"]
"""`delay`: executed after `delay_ms`.

`refuse`: not executed. `lose_reply`, `repeat`, `late`: see below.

`refuse` answers `status` and `body`; with 404 that is false. `lose_reply`: executed, no answer.
`repeat`: executed twice, the second answer is returned. `late`: no answer, and executed `delay_ms`
afterwards.
"""

FAULT_KINDS: Final[tuple[FaultKind, ...]] = ("delay", "refuse", "lose_reply", "repeat", "late")
_LIES: Final = ((500, "internal error"), (503, "unavailable"), (404, "not found"), (502, ""))


class Draws(Protocol):
    """The two draws that the cloud and its faults need; `random.Random` has them."""

    def random(self) -> float:
        """Return a number in [0, 1)."""
        ...

    def randrange(self, start: int, /) -> int:
        """Return a whole number in [0, start)."""
        ...


class Call(Struct, frozen=True, kw_only=True, gc=False):
    """One call as a plan sees it; `number` counts calls of this verb from 1."""

    verb: str
    target: str
    number: int
    now_ms: int


class Fault(Struct, frozen=True, kw_only=True, gc=False):
    """The fault applied to one call."""

    kind: FaultKind
    delay_ms: int = 0
    status: int = 500
    body: str = "internal error"


Faults: TypeAlias = Callable[[Call], Fault | None]


def no_faults(call: Call) -> Fault | None:
    """Let every call through."""
    del call
    return None


def on_call(verb: str, fault: Fault, *, numbers: frozenset[int] = frozenset({1})) -> Faults:
    """Return a plan that hits the calls of this verb with these numbers."""

    def plan(call: Call) -> Fault | None:
        return fault if call.verb == verb and call.number in numbers else None

    return plan


def outage(*, from_ms: int, until_ms: int, status: int = 503) -> Faults:
    """Return a plan that refuses every call within a span of time, epoch milliseconds."""

    def plan(call: Call) -> Fault | None:
        if from_ms <= call.now_ms < until_ms:
            return Fault(kind="refuse", status=status, body="unavailable")
        return None

    return plan


def seeded(
    chance: Draws, *, per_mille: Mapping[FaultKind, int], delay_ms_max: int = 30_000
) -> Faults:
    """Return a plan that draws: of a thousand calls so many of each kind."""
    kinds: list[tuple[FaultKind, int]] = [(kind, per_mille.get(kind, 0)) for kind in FAULT_KINDS]

    def plan(call: Call) -> Fault | None:
        del call
        draw = chance.randrange(1_000)
        for kind, share in kinds:
            if draw < share:
                status, body = _LIES[chance.randrange(len(_LIES))]
                delay_ms = 1 + chance.randrange(delay_ms_max)
                return Fault(kind=kind, delay_ms=delay_ms, status=status, body=body)
            draw -= share
        return None

    return plan


def first_of(*plans: Faults) -> Faults:
    """Return a plan that tries these in turn and takes the first fault."""

    def plan(call: Call) -> Fault | None:
        return next((fault for one in plans if (fault := one(call)) is not None), None)

    return plan
