"""What the plane's stores keep when the power goes, on a replayed record of system calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.stores import power
from tests.support import power_loss
from tests.support.power_loss import Recorded

pytestmark = pytest.mark.usefixtures("strace")

KEPT = ("journal", "accounts", "corrections", "content", "consent", "towns")
SQLITE = (*KEPT, "contacts")
ROUNDS = 3
Record = Callable[[str], Recorded]


@pytest.fixture(scope="module")
def recorded(strace: None) -> Iterator[Record]:
    """Record each store once, for all tests."""
    done: dict[str, Recorded] = {}

    def record(store: str) -> Recorded:
        if store not in done:
            done[store] = power.record(folder / store, store, rounds=ROUNDS)
            assert len(done[store].lines) >= 2 * ROUNDS
        return done[store]

    with power_loss.scratch_folder() as folder:
        yield record


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Yield a folder for what a test records and cuts."""
    with power_loss.scratch_folder() as folder:
        yield folder


def log_of(store: str) -> str:
    beside = ".wal" if store == "charts" else "-wal"
    return f"{power.HOME}/{power.STORES[store].file}{beside}"


def losing(store: str, recorded: Recorded, scratch: Path, *, number: int) -> int:
    """Return after how many of the cuts something acknowledged is gone, or the store is damaged."""
    count = 0
    for cut in power_loss.cuts(recorded, number=number, seed=53, scratch=scratch):
        found = power.after(store, recorded, cut)
        count += bool(found.lost or found.problem)
    return count


@pytest.mark.parametrize("store", SQLITE)
def test_nothing_that_was_answered_is_lost(store: str, recorded: Record, scratch: Path) -> None:
    whole = power.Found(lost=(), torn=(), moved=False, problem="")
    for cut in power_loss.cuts(recorded(store), number=30, seed=53, scratch=scratch):
        assert power.after(store, recorded(store), cut) == whole, cut


def test_charts_lose_nothing_or_are_begun_anew(recorded: Record, scratch: Path) -> None:
    """DuckDB may not open a file or a log that was torn while it was begun or checkpointed."""
    for cut in power_loss.cuts(recorded("charts"), number=12, seed=53, scratch=scratch):
        found = power.after("charts", recorded("charts"), cut)
        assert found.moved or not found.lost, cut
        assert not found.torn, cut
        assert not found.problem, cut


@pytest.mark.parametrize("store", power.STORES)
def test_each_answer_waits_for_a_sync_of_the_log(store: str, recorded: Record) -> None:
    syncs = recorded(store).syncs(lambda path: path == log_of(store))
    # Receipts may be signed in the commit that the line before is about.
    pairs = zip(syncs, recorded(store).lines, strict=True)
    assert min(count for count, line in pairs if not line.startswith("receipt:")) >= 1


def test_answers_that_share_a_commit_are_kept_too(scratch: Path) -> None:
    shared = power.record(scratch, "journal", rounds=4, together=4, openings=1)
    syncs = sum(shared.syncs(lambda path: path == log_of("journal")))
    assert len(shared.lines) > syncs, "no two answers shared a commit"
    assert losing("journal", shared, scratch, number=20) == 0


# ------------------------------------------------------------------ the check can see a loss


@pytest.mark.parametrize("store", KEPT)
def test_a_step_lower_is_found(store: str, scratch: Path) -> None:
    lower = power.record(
        scratch, store, rounds=ROUNDS, openings=1, pages=1_000, synchronous="NORMAL"
    )
    assert min(lower.syncs(lambda path: path == log_of(store))) == 0
    assert losing(store, lower, scratch, number=30) > 0


def test_no_syncs_at_all_are_found(scratch: Path) -> None:
    lower = power.record(scratch, "journal", rounds=ROUNDS, openings=1, synchronous="OFF")
    assert sum(lower.syncs(lambda path: path == log_of("journal"))) == 0
    assert losing("journal", lower, scratch, number=15) > 0


@pytest.mark.parametrize("folder", ["", "data", power.HOME])
def test_a_folder_that_is_not_synced_is_found(recorded: Record, scratch: Path, folder: str) -> None:
    without = recorded("accounts").without_syncs(lambda path: path == folder)
    assert losing("accounts", without, scratch, number=15) > 0


@pytest.mark.parametrize("beside", ["", "-wal"])
def test_a_file_that_is_not_synced_is_found(recorded: Record, scratch: Path, beside: str) -> None:
    file = f"{power.HOME}/{power.STORES['accounts'].file}{beside}"
    without = recorded("accounts").without_syncs(lambda path: path == file)
    assert losing("accounts", without, scratch, number=30) > 0


@pytest.mark.parametrize("path", [power.HOME, log_of("charts")])
def test_charts_that_are_not_synced_are_found(recorded: Record, scratch: Path, path: str) -> None:
    without = recorded("charts").without_syncs(lambda one: one == path)
    assert losing("charts", without, scratch, number=8) > 0
