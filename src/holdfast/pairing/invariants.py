"""Invariants of an instance's pairing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from holdfast.actors.definition import Invariant
from holdfast.actors.limits import STATE_INLINE_BYTES_MAX
from holdfast.pairing.limits import DECISIONS_MAX
from holdfast.pairing.state import OPEN, Pairing, encode_state


def _once(state: Pairing, _key: str) -> str | None:
    seen: set[str] = set()
    for one in state.decisions:
        if seen.intersection(one.marks):
            return f"decision {one.serial} is about a request that another is about"
        seen.update(one.marks)
    return None


def _tellable(state: Pairing, _key: str) -> str | None:
    mute = [one.serial for one in state.decisions if one.status in OPEN and one.asked is None]
    return f"open decisions {mute} do not say what to tell the machine" if mute else None


def _bounded(state: Pairing, _key: str) -> str | None:
    size = len(encode_state(state))
    if len(state.decisions) > DECISIONS_MAX or size > STATE_INLINE_BYTES_MAX:
        return f"{len(state.decisions)} decisions, {size} bytes"
    return None


_CHECKS: Final[tuple[tuple[int, str, Callable[[Pairing, str], str | None]], ...]] = (
    (1, "One request has one decision.", _once),
    (2, "An open decision says what to tell the machine.", _tellable),
    (3, "The state fits in one row.", _bounded),
)
INVARIANTS: Final = tuple(Invariant(number, text, check) for number, text, check in _CHECKS)
