"""Wrong proofs are refused unread after a while, and whoever proved something is let through."""

from __future__ import annotations

from holdfast.kernel.clock import ManualClock
from holdfast.plane.edge.limits import PROVEN_MAX
from holdfast.plane.edge.rate import Rate
from holdfast.plane.edge.wrong_proofs import WrongProofs


def fail(proofs: WrongProofs, times: int, peer: str = "p") -> None:
    for number in range(times):
        proofs.wrong(peer, f"wrong-{number}")


def test_so_many_are_looked_at_and_then_one_a_second() -> None:
    clock = ManualClock()
    proofs = WrongProofs(clock, Rate(burst=3, per_s=0.5))
    fail(proofs, 2)
    assert proofs.wait_s("p", "x") == 0
    fail(proofs, 1)
    assert proofs.wait_s("p", "x") == 2
    assert proofs.wait_s("another", "x") == 0
    clock.advance(2_000)
    assert proofs.wait_s("p", "x") == 0


def test_who_proved_something_is_looked_at_until_it_is_wrong() -> None:
    proofs = WrongProofs(ManualClock(), Rate(burst=1, per_s=0.5))
    proofs.right("good")
    fail(proofs, 100)
    assert proofs.wait_s("p", "good") == 0
    proofs.wrong("p", "good")
    assert proofs.wait_s("p", "good") > 0


def test_what_is_remembered_is_bounded() -> None:
    proofs = WrongProofs(ManualClock())
    for number in range(PROVEN_MAX + 10):
        proofs.right(f"good-{number}")
    fail(proofs, 1_000)
    assert proofs.wait_s("p", "good-0") > 0
    assert proofs.wait_s("p", f"good-{PROVEN_MAX + 9}") == 0
    assert len(proofs._proven) == PROVEN_MAX
