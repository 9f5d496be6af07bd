"""Wrong proofs are refused unread after a while, and whoever proved something is let through."""

from __future__ import annotations

from holdfast.kernel.clock import ManualClock
from holdfast.relay.rate import Rate
from holdfast.relay.wrong_proofs import PROVEN_MAX, SAME_PROOF_AT_ONCE, WrongProofs


def fail(proofs: WrongProofs, times: int, peer: str = "p") -> None:
    for number in range(times):
        proofs.wait_s(peer, f"wrong-{number}")
        proofs.wrong(peer, f"wrong-{number}")


def test_so_many_are_looked_at_and_then_one_a_second() -> None:
    clock = ManualClock()
    proofs = WrongProofs(clock, Rate(burst=3, per_s=0.5))
    assert [proofs.wait_s("p", f"at-once-{number}") for number in range(4)] == [0, 0, 0, 2]
    assert proofs.wait_s("another", "x") == 0
    clock.advance(2_000)
    assert proofs.wait_s("p", "x") == 0


def test_who_proved_something_is_looked_at_until_it_is_wrong() -> None:
    proofs = WrongProofs(ManualClock(), Rate(burst=1, per_s=0.5))
    for number in range(100):
        assert proofs.wait_s("p", f"good-{number}") == 0, "a right one is not counted"
        proofs.right("p", f"good-{number}")
    proofs.right("p", "good")
    fail(proofs, 100)
    assert proofs.wait_s("p", "good") == 0
    proofs.wrong("p", "good")
    assert proofs.wait_s("p", "good") > 0


def test_calls_with_one_proof_at_once_count_as_one() -> None:
    proofs = WrongProofs(ManualClock(), Rate(burst=2, per_s=0.5))
    waits = [proofs.wait_s("p", "unknown yet") for _ in range(SAME_PROOF_AT_ONCE)]
    assert waits == [0] * SAME_PROOF_AT_ONCE
    assert proofs.wait_s("p", "unknown yet") == 0, "a second turn of the two"
    proofs.wrong("p", "unknown yet")
    assert proofs.wait_s("p", "unknown yet") > 0, "known as wrong, it counts again"
    assert proofs.wait_s("another", "unknown yet") == 0


def test_what_is_remembered_is_bounded() -> None:
    proofs = WrongProofs(ManualClock())
    for number in range(PROVEN_MAX + 10):
        proofs.right("p", f"good-{number}")
    fail(proofs, 1_000)
    assert proofs.wait_s("p", "good-0") > 0
    assert proofs.wait_s("p", f"good-{PROVEN_MAX + 9}") == 0
    assert len(proofs._proven) == PROVEN_MAX
