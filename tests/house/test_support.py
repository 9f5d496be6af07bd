"""What tests rely on does not pass where there is nothing to hold, and runs on small machines."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support import power_loss, recorded
from tests.support.recorded import History, hold


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recorded, "FOLDER", tmp_path)
    return tmp_path


def history(*results: int) -> History:
    made = History()
    for result in results:
        made.add(result)
    return made


def test_a_history_that_was_recorded_is_held(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as recording:
        recording.setenv("HOLDFAST_RECORD", "1")
        hold("kind", "seed 1", history(1, 2))
    assert (folder / "kind.json").exists()
    hold("kind", "seed 1", history(1, 2))
    with pytest.raises(pytest.fail.Exception, match="step 1"):
        hold("kind", "seed 1", history(1, 3))
    with pytest.raises(AssertionError, match="seed 1"):
        hold("kind", "seed 1", history(1))


@pytest.mark.usefixtures("folder")
def test_one_of_which_nothing_was_recorded_is_not() -> None:
    with pytest.raises(AssertionError, match="nothing was recorded"):
        hold("kind", "seed 1", history())


def test_one_without_a_step_is_not_either(folder: Path) -> None:
    (folder / "kind.json").write_text('{"seed 1": ""}')
    with pytest.raises(AssertionError, match="without a step"):
        hold("kind", "seed 1", history())


@pytest.mark.parametrize(("free", "taken"), [(64 << 20, False), (8 << 30, True)])
def test_a_disk_in_memory_is_taken_where_it_has_room(
    free: int,
    taken: bool,  # noqa: FBT001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = tmp_path / "shm"
    disk.mkdir()
    monkeypatch.setattr(power_loss, "_MEMORY_DISK", disk)
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))
    with power_loss.scratch_folder() as made:
        assert made.parent == (disk if taken else Path(tempfile.gettempdir()))


def test_a_disk_in_memory_that_is_not_to_be_written_to_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(power_loss, "_MEMORY_DISK", tmp_path)
    monkeypatch.setattr("os.access", lambda path, _mode: path != tmp_path)
    with power_loss.scratch_folder() as made:
        assert made.parent == Path(tempfile.gettempdir())
