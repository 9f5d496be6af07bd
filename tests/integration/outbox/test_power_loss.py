"""What each durability level promises when the power goes, on a replayed record of system calls."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.outbox.database import MEMORY, POWER, PROCESS
from holdfast.sdk import Brain
from tests.integration.outbox import power
from tests.support import power_loss
from tests.support.power_loss import Cut, Keep, Line, Recorded
from tests.support.slices import slice_of

pytestmark = pytest.mark.usefixtures("strace")

LOG = f"{power.FOLDER}/system.db-wal"
DATABASE = f"{power.FOLDER}/system.db"
LOG_BYTES = 150_000
"""Small enough for some checkpoints in a record; the real bound is 16 MiB."""
CUTS = slice_of(150, here=75)
Look = Callable[[Cut, power.Found], None]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, strace: None) -> Callable[[str], Recorded]:
    """Record each level once, for all tests."""
    done: dict[str, Recorded] = {}

    def record(level: str) -> Recorded:
        if level not in done:
            scratch = tmp_path_factory.mktemp(level)
            done[level] = power.record(scratch, level, number=25, log_bytes=LOG_BYTES)
            assert len(done[level].lines) == 50
        return done[level]

    return record


def losses(recorded: Recorded, scratch: Path, *, number: int, keep: Keep = Keep.CHOSEN) -> int:
    """Return after how many of the cuts something acknowledged is gone."""
    found = power_loss.cuts(recorded, number=number, seed=53, scratch=scratch, keep=keep)
    return sum(bool(power.after(cut).lost) for cut in found)


def whole(found: power.Found) -> bool:
    return not found.problem and not found.quarantined


def test_power_loses_nothing(recorded: Callable[[str], Recorded], tmp_path: Path) -> None:
    for cut in power_loss.cuts(recorded(POWER), number=CUTS, seed=53, scratch=tmp_path):
        found = power.after(cut)
        assert not found.lost, cut
        assert whole(found), cut
        assert not found.counted, "a loss is counted, and nothing is lost"


def test_power_syncs_the_log_in_each_call(recorded: Callable[[str], Recorded]) -> None:
    assert min(recorded(POWER).syncs(lambda path: path == LOG)) >= 1


def test_power_loses_nothing_where_calls_share_a_transaction(tmp_path: Path) -> None:
    shared = power.record(tmp_path, POWER, number=15, threads=4, openings=1, log_bytes=LOG_BYTES)
    assert len(shared.lines) == 60
    assert losses(shared, tmp_path, number=60) == 0


def test_process_keeps_everything_when_killed(
    recorded: Callable[[str], Recorded], tmp_path: Path
) -> None:
    assert losses(recorded(PROCESS), tmp_path, number=60, keep=Keep.EVERYTHING) == 0


def test_process_loses_the_newest_since_the_last_checkpoint(
    recorded: Callable[[str], Recorded], tmp_path: Path
) -> None:
    lost = 0
    for cut in power_loss.cuts(recorded(PROCESS), number=CUTS, seed=53, scratch=tmp_path):
        found = power.after(cut)
        lost += bool(found.lost)
        assert not power.breach(recorded(PROCESS), cut, found, PROCESS), cut
        assert whole(found), cut
    assert lost, "the level promises less than this: the cuts lose nothing"


def test_process_may_lose_what_is_committed_and_not_acknowledged_yet(
    recorded: Callable[[str], Recorded], tmp_path: Path
) -> None:
    """It is counted as lost, since the count is on the disk on its own, and breaks no promise."""
    alone = 0
    for cut in power_loss.cuts(
        recorded(PROCESS), number=200, seed=53, scratch=tmp_path, before=Line
    ):
        found = power.after(cut)
        assert not power.breach(recorded(PROCESS), cut, found, PROCESS), cut
        alone += bool(found.counted and not found.lost)
    assert alone, "no cut takes just that: the test is of nothing"


@pytest.mark.parametrize(
    ("found", "broken"),
    [
        (power.Found((), 2, 0, ""), False),
        (power.Found((3, 4), 6, 0, ""), False),
        (power.Found((3, 4), 7, 0, ""), True),
        (power.Found((3,), 2, 0, ""), True),
        (power.Found((1, 2, 3, 4), 8, 0, ""), True),
    ],
    ids=["in flight", "the newest", "too many counted", "one before", "checkpointed"],
)
def test_a_breach_of_the_level_process_is_told(
    found: power.Found, *, broken: bool, tmp_path: Path
) -> None:
    """Five lines, of which the first two were checkpointed."""
    lines = [Line(f"{count}") for count in range(5)]
    sync = power_loss.Synced(1, DATABASE, begun=2)
    record = Recorded((*lines[:2], sync, *lines[2:]), tmp_path, "")
    cut = Cut(tmp_path, tuple(line.text for line in lines), at=6, seed=0)
    assert bool(power.breach(record, cut, found, PROCESS)) is broken
    assert power.breach(record, cut, found, POWER)


def test_process_syncs_in_no_call_but_where_it_checkpoints(
    recorded: Callable[[str], Recorded], tmp_path: Path
) -> None:
    unfilled = power.record(tmp_path, PROCESS, number=8, openings=1)
    assert sum(unfilled.syncs()[1:]) == 0
    assert sum(recorded(PROCESS).syncs(lambda path: path == DATABASE)[1:]) > 1


def test_memory_writes_no_file(recorded: Callable[[str], Recorded]) -> None:
    assert all(isinstance(change, Line) for change in recorded(MEMORY).changes)


@pytest.mark.parametrize("keep", Keep)
def test_a_damaged_database_may_be_cut_short_while_it_is_replaced(
    tmp_path: Path, keep: Keep
) -> None:
    """What could be saved of it before the cut is there after it."""
    folder = tmp_path / "watched" / power.FOLDER
    with Brain(folder, gate=lambda: "later", notice=lambda _text: None) as brain:
        old = {
            brain.correct(f"Utilize report {n}.", f"Use report {n}.", session="s").event_id
            for n in range(40)
        }
    database = folder / "system.db"
    raw = bytearray(database.read_bytes())
    raw[2 * 4096 : 3 * 4096] = b"\xff" * 4096
    database.write_bytes(raw)
    recorded = power.record(tmp_path, POWER, number=3, openings=1)
    saved = power.in_queue(folder) & old
    assert len(saved) > 30
    assert list(folder.glob("system.db.quarantine-*"))
    for cut in power_loss.cuts(recorded, number=60, seed=53, scratch=tmp_path, keep=keep):
        assert saved | set(cut.acknowledged) <= power.in_queue(cut.folder / power.FOLDER), cut


# ------------------------------------------------------------------ the check can see a loss


def test_power_a_step_lower_is_found(tmp_path: Path) -> None:
    lower = power.record(tmp_path, POWER, number=10, openings=1, synchronous="NORMAL")
    assert min(lower.syncs(lambda path: path == LOG)) == 0
    assert losses(lower, tmp_path, number=40) > 0


def test_process_a_step_lower_is_found(tmp_path: Path) -> None:
    """Without a sync in a checkpoint there is no bound to what is lost."""
    lower = power.record(
        tmp_path, PROCESS, number=25, openings=1, log_bytes=LOG_BYTES, synchronous="OFF"
    )
    assert sum(lower.syncs(lambda path: path == DATABASE)[1:]) == 0


def test_a_checkpoint_that_is_not_synced_is_found(
    recorded: Callable[[str], Recorded], tmp_path: Path
) -> None:
    unsynced = recorded(PROCESS).without_syncs(lambda path: path in {DATABASE, LOG})
    older = 0
    for cut in power_loss.cuts(unsynced, number=60, seed=53, scratch=tmp_path):
        found = power.after(cut)
        kept = power.checkpointed(recorded(PROCESS), cut)
        older += not whole(found) or any(place < kept for place in found.lost)
    assert older


@pytest.mark.parametrize("folder", ["", "agent", power.FOLDER])
def test_a_folder_that_is_not_synced_is_found(
    recorded: Callable[[str], Recorded], tmp_path: Path, folder: str
) -> None:
    without = recorded(POWER).without_syncs(lambda path: path == folder)
    assert losses(without, tmp_path, number=40) > 0


@pytest.mark.parametrize("name", [LOG, DATABASE])
def test_a_file_that_is_not_synced_is_found(
    recorded: Callable[[str], Recorded], tmp_path: Path, name: str
) -> None:
    without = recorded(POWER).without_syncs(lambda path: path == name)
    assert losses(without, tmp_path, number=60) > 0
