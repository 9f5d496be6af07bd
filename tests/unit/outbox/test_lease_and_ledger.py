"""The two small files beside the database: the lease and the ledger."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.kernel.clock import HOUR_MS, ManualClock
from holdfast.outbox import lease as leases
from holdfast.outbox import limits
from holdfast.outbox.lease import Lease
from holdfast.outbox.ledger import Account, Ledger


def test_a_free_lease_is_taken_and_a_beating_one_is_kept(tmp_path: Path) -> None:
    clock = ManualClock()
    one = Lease(str(tmp_path), token="one", clock=clock)
    two = Lease(str(tmp_path), token="two", clock=clock)
    assert one.take()
    for _ in range(20):
        clock.advance(limits.LEASE_BEAT_MS)
        assert one.beat()
        assert not two.take()
    one.release()
    assert two.take()
    assert not one.held


def test_a_silent_holder_is_replaced_within_ten_seconds_whatever_the_time_of_day_does(
    tmp_path: Path,
) -> None:
    clock = ManualClock()
    one = Lease(str(tmp_path), token="one", clock=clock)
    two = Lease(str(tmp_path), token="two", clock=clock)
    assert one.take()
    waited_ms = 0
    while not two.take():
        clock.jump(HOUR_MS)
        clock.advance(limits.STANDBY_MS)
        waited_ms += limits.STANDBY_MS
    assert limits.LEASE_EXPIRY_MS <= waited_ms <= 10_000
    assert leases.read(str(tmp_path / leases.LEASE)).token == "two"
    assert not one.beat(), "the old holder notices before it sends again"
    assert not one.held


def test_a_holder_known_to_be_gone_is_replaced_at_once(tmp_path: Path) -> None:
    clock = ManualClock()
    assert Lease(str(tmp_path), token="one", clock=clock).take()
    two = Lease(str(tmp_path), token="two", clock=clock)
    assert not two.take(abandoned=lambda: True)
    clock.advance(limits.LEASE_ABANDONED_MS)
    assert two.take(abandoned=lambda: True)


def test_a_holder_that_was_idle_is_watched_anew(tmp_path: Path) -> None:
    clock = ManualClock()
    one = Lease(str(tmp_path), token="one", clock=clock)
    two = Lease(str(tmp_path), token="two", clock=clock)
    assert one.take()
    assert not two.take()
    clock.advance(HOUR_MS)
    two.forget()
    assert not two.take(), "an idle holder does not beat, and is not dead"


@pytest.mark.parametrize("content", [b"", b"noise", b"00000000 one 1 1 1\n", b"\xff" * 200])
def test_a_damaged_lease_is_a_free_one(tmp_path: Path, content: bytes) -> None:
    (tmp_path / leases.LEASE).write_bytes(content)
    assert Lease(str(tmp_path), token="one", clock=ManualClock()).take()


def test_where_no_lease_can_be_written_what_waits_leaves_all_the_same(tmp_path: Path) -> None:
    assert Lease(str(tmp_path / "missing"), token="one", clock=ManualClock()).take()


ACCOUNT = Account("0123456789abcdef", 7, 6, 5, 4, 3, 2, 1, 9)


def test_the_ledger_is_read_back_by_another(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "l")
    assert not ledger.exact
    ledger.write(ACCOUNT._replace(seq=5))
    ledger.write(ACCOUNT)
    other = Ledger(tmp_path / "l")
    assert (other.exact, other.account) == (True, ACCOUNT)
    assert (tmp_path / "l").stat().st_size == 1_024


@settings(deadline=None)
@given(at=st.integers(0, 1_023), flip=st.integers(1, 255))
def test_no_damaged_byte_of_the_ledger_is_believed(
    tmp_path_factory: pytest.TempPathFactory, at: int, flip: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "ledger"
    path.unlink(missing_ok=True)
    ledger = Ledger(path)
    for seq in range(1, 4):
        ledger.write(ACCOUNT._replace(seq=seq))
    raw = bytearray(path.read_bytes())
    raw[at] ^= flip
    path.write_bytes(raw)
    found = Ledger(path)
    # One slot is always whole: the newest, or the one before it.
    assert found.exact
    assert found.account in {ACCOUNT._replace(seq=3), ACCOUNT._replace(seq=2)}
