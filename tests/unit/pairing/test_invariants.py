"""Each invariant of a pairing names a state that breaks it, and none that is as it should be."""

from __future__ import annotations

from typing import Any

from holdfast.actors.limits import STATE_INLINE_BYTES_MAX
from holdfast.pairing.invariants import INVARIANTS
from holdfast.pairing.limits import DECISIONS_MAX
from holdfast.pairing.state import Decision, Pairing
from tests.unit.pairing.rig import INSTANCE, telegram


def decision(serial: int, **changes: Any) -> Decision:
    values: dict[str, Any] = {
        "serial": serial, "verb": "approve", "status": "done", "marks": (f"m{serial}",),
        "at_ms": 1, "until_ms": 2, "forget_ms": 3,
    }  # fmt: skip
    return Decision(**(values | changes))


def broken(*decisions: Decision) -> list[int]:
    state = Pairing(instance=INSTANCE, decisions=decisions)
    return [one.number for one in INVARIANTS if one.check(state, "") is not None]


def test_one_request_has_one_decision() -> None:
    assert not broken(decision(1), decision(2))
    assert broken(decision(1, marks=("a", "b")), decision(2, marks=("c", "b"))) == [1]


def test_an_open_decision_says_what_to_tell() -> None:
    for status in ("asked", "sent", "doubted"):
        assert broken(decision(1, status=status)) == [2]
        assert not broken(decision(1, status=status, asked=telegram().asked))
    assert not broken(decision(1, status="failed"))


def test_it_is_bounded() -> None:
    many = [decision(number) for number in range(DECISIONS_MAX)]
    assert not broken(*many)
    assert broken(*many, decision(DECISIONS_MAX)) == [3]
    assert broken(decision(1, message="x" * STATE_INLINE_BYTES_MAX)) == [3]
