"""Copies of the agent's state: what an agent or a full disk does to one leaves the way back."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from holdfast.machine.controller.agent.state_copies import StateCopies

NOBODY = 65_534


@pytest.fixture
def made(tmp_path: Path) -> tuple[StateCopies, Path]:
    """Return the copies of a state with one file, all of it nobody's where this runs as root."""
    state = tmp_path / "state"
    state.mkdir()
    (state / "work").write_text("of before")
    if os.geteuid() == 0:
        for path in (tmp_path, state, state / "work"):
            os.chown(path, NOBODY, NOBODY)
        for above in tmp_path.parents:
            if above.name.startswith(("pytest-", "popen-")):
                above.chmod(0o755)
    return StateCopies(state, tmp_path / "kept"), state


def as_nobody(run: Callable[[], None]) -> int:
    """Run in a process to which permissions apply; return 0 where it did not fail."""
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(NOBODY)
            run()
        except BaseException:  # noqa: BLE001  told by the exit code
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.parametrize("mode", [0o555, 0o000])
def test_a_folder_that_an_agent_closed_is_no_end_of_the_way_back(
    made: tuple[StateCopies, Path], mode: int
) -> None:
    copies, state = made
    aside = copies.aside(1, "1.0")

    def run() -> None:
        copies.begin(aside, None, go_on=lambda: True)
        closed = state / "cache"
        closed.mkdir()
        (closed / "file").write_text("x")
        inner = closed / "inner"
        inner.mkdir()
        (inner / "file").write_text("x")
        inner.chmod(mode)
        closed.chmod(mode)
        copies.go_back(aside, "2.0", keep=False)
        assert [path.name for path in state.iterdir()] == ["work"]
        assert list((state.parent / "kept").iterdir()) == []

    assert as_nobody(run) == 0


def test_a_copy_that_fills_the_disk_is_removed(
    made: tuple[StateCopies, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    copies, state = made
    aside = copies.aside(1, "1.0")

    def full(*_: object, **__: object) -> NoReturn:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(OSError, match="No space left"):
        copies.begin(aside, None, go_on=lambda: True)
    assert list((state.parent / "kept").iterdir()) == [aside]
    copies.go_back(aside, "2.0", keep=False)
    assert (state / "work").read_text() == "of before"
