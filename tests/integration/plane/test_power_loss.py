"""What a plane's and a controller's files keep when the power goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.plane import power
from tests.support import power_loss
from tests.support.power_loss import Recorded

pytestmark = pytest.mark.usefixtures("strace")

Record = Callable[[str], Recorded]
KEYS = f"{power.HOME}.keys"


@pytest.fixture(scope="module")
def recorded(strace: None) -> Iterator[Record]:
    """Record each use once, for all tests."""
    done: dict[str, Recorded] = {}

    def record(files: str) -> Recorded:
        if files not in done:
            done[files] = power.record(folder / files, files, rounds=4)
        return done[files]

    with power_loss.scratch_folder() as folder:
        yield record


@pytest.fixture
def scratch() -> Iterator[Path]:
    """Yield a folder for what a test records and cuts."""
    with power_loss.scratch_folder() as folder:
        yield folder


def losing(files: str, recorded: Recorded, scratch: Path, *, number: int) -> int:
    """Return after how many of the cuts something acknowledged is gone, or cannot be read."""
    count = 0
    for cut in power_loss.cuts(recorded, number=number, seed=53, scratch=scratch):
        found = power.after(files, recorded, cut)
        count += bool(found.lost or found.problem)
    return count


@pytest.mark.parametrize("files", power.FILES)
def test_nothing_that_was_written_is_lost(files: str, recorded: Record, scratch: Path) -> None:
    for cut in power_loss.cuts(recorded(files), number=40, seed=53, scratch=scratch):
        assert power.after(files, recorded(files), cut) == power.Found(lost=(), problem=""), cut


@pytest.mark.parametrize("files", ["keys", "daily", "machine"])
def test_each_answer_waits_for_the_content_and_the_name(files: str, recorded: Record) -> None:
    assert min(recorded(files).syncs(lambda path: path.endswith(".new"))) >= 1
    folders = {power.HOME, KEYS, power.MACHINE}
    folders |= {f"{power.MACHINE}/{name}" for name in ("run", power.VERSIONS)}
    assert min(recorded(files).syncs(lambda path: path in folders)) >= 1


@pytest.mark.parametrize(
    ("files", "path"),
    [
        ("keys", "data"),
        ("keys", KEYS),
        ("old keys", "data"),
        ("old keys", KEYS),
        ("daily", ""),
        ("daily", power.HOME),
        ("machine", "machines"),
        ("machine", power.MACHINE),
        ("machine", f"{power.MACHINE}/run"),
        ("records", power.HOME),
        ("records", f"{power.HOME}/volumes"),
        ("brain key", "config"),
        ("brain key", "config/holdfast"),
        ("consent key", KEYS),
        ("gate", power.GATE),
    ],
)
def test_a_folder_that_is_not_synced_is_found(
    files: str, path: str, recorded: Record, scratch: Path
) -> None:
    without = recorded(files).without_syncs(lambda one: one == path)
    assert losing(files, without, scratch, number=60) > 0


@pytest.mark.parametrize("files", power.FILES)
def test_content_that_is_not_synced_is_found(files: str, recorded: Record, scratch: Path) -> None:
    without = recorded(files).without_syncs(lambda path: path.endswith(".new"))
    assert losing(files, without, scratch, number=60) > 0


@pytest.mark.parametrize(
    "part", ["/data", "/data/state.json", "/data/memory", "/data/memory/notes/today.md"]
)
def test_a_part_of_a_fork_that_is_not_synced_is_found(
    part: str, recorded: Record, scratch: Path
) -> None:
    without = recorded("records").without_syncs(lambda path: path.endswith(part))
    assert losing("records", without, scratch, number=100) > 0
