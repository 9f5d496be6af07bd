"""Invariants of a node's consent."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

from holdfast.actors.definition import SELF, Invariant
from holdfast.actors.limits import STATE_INLINE_BYTES_MAX
from holdfast.consent.state import (
    Node,
    encode_row,
    granted,
    is_registered,
    may_grant,
    signed_grant,
)
from holdfast.wire.consent import Grant
from holdfast.wire.limits import RECEIPTS_MAX


def _said(state: Node) -> str | None:
    nameless = [each for each in granted(state) if not state.classes[each].by]
    return f"{nameless} are granted by nobody" if nameless else None


def _alive(state: Node) -> str | None:
    if granted(state) and (state.closed_ms or not is_registered(state)):
        return f"{granted(state)} are granted on a node that is closed or never registered"
    return None


def _persons(state: Node) -> str | None:
    wrong = [
        each for each in granted(state) if not may_grant(state, state.classes[each].credential)
    ]
    return f"{wrong} are granted with a credential that the agent may have read" if wrong else None


def _numbered(state: Node) -> str | None:
    numbers = [one.number for one in state.unsigned]
    is_rising = all(one < other for one, other in pairwise(numbers))
    if not is_rising or any(number > state.number for number in numbers):
        return f"documents {numbers} wait, and the last number is {state.number}"
    return None


def _covered(state: Node) -> str | None:
    """Compare what is granted with the newest grant: the one that waits, else the signed one."""
    waits = [one.document for one in state.unsigned if isinstance(one.document, Grant)]
    newest = waits[-1] if waits else signed_grant(state)
    if len(waits) > 1:
        return f"{len(waits)} grants wait to be signed"
    beyond = set(newest.classes) - set(granted(state)) if newest is not None else set[str]()
    if beyond:
        return f"the newest grant names {sorted(beyond)}, which are not granted"
    return None


def _bounded(state: Node) -> str | None:
    size = len(encode_row(state))
    if len(state.receipts) > RECEIPTS_MAX or len(state.deletions) > 2 or size > _BYTES_MAX:  # noqa: PLR2004  one under way, one after it
        return f"{len(state.receipts)} receipts, {len(state.deletions)} deletions, {size} bytes"
    return None


_BYTES_MAX: Final = STATE_INLINE_BYTES_MAX

_CHECKS: Final[tuple[tuple[int, str, Callable[[Node], str | None]], ...]] = (
    (1, "What is granted, somebody granted.", _said),
    (2, "Nothing is granted on a node that is closed or never registered.", _alive),
    (3, "No agent granted itself anything.", _persons),
    (4, "Documents have rising numbers.", _numbered),
    (5, "The newest grant names nothing that is not granted.", _covered),
    (6, "The state is bounded.", _bounded),
)


def _of_node(check: Callable[[Node], str | None]) -> Callable[[Node, str], str | None]:
    """Return a check that runs for the node itself, and not for each of its receipts."""
    return lambda state, key: check(state) if key == SELF else None


INVARIANTS: Final = tuple(
    Invariant(number, text, _of_node(check)) for number, text, check in _CHECKS
)
