"""The log of a machine lies where its agent writes: nothing but the log is read or written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.world.processes.log import NotALogError, older, open_log, rotate, tail

SECRET = "x" * 100 + "\n"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "machine" / "log" / "machine.log"
    path.parent.mkdir(parents=True)
    return path


def _folder(target: Path, path: Path) -> None:
    path.parent.rmdir()
    target.rename(target.with_name(path.name))
    path.parent.symlink_to(target.parent)


@pytest.mark.parametrize("attack", [os.link, os.symlink, _folder, lambda _, path: os.mkfifo(path)])
def test_a_link_in_place_of_a_log_is_neither_shown_nor_written(
    log: Path, tmp_path: Path, attack: Callable[[Path, Path], None]
) -> None:
    outside = tmp_path / "keys" / "keyring.json"
    outside.parent.mkdir()
    outside.write_text(SECRET)
    attack(outside, log)
    with pytest.raises(NotALogError, match="remove it"):
        tail(log, lines=5)
    with pytest.raises(NotALogError):
        open_log(log)
    assert not rotate(log, bytes_max=10)
    (left,) = outside.parent.iterdir()
    assert left.read_text() == SECRET


def test_a_log_is_rotated_into_a_new_file(log: Path, tmp_path: Path) -> None:
    handle = open_log(log)
    os.write(handle, b"one\ntwo\n")
    outside = tmp_path / "keyring.json"
    outside.write_text(SECRET)
    os.link(outside, log.with_name(f"{log.name}.1.new"))
    assert rotate(log, bytes_max=3)
    os.write(handle, b"three\n")
    os.close(handle)
    assert older(log).read_text() == "one\ntwo\n"
    assert tail(log, lines=2) == ("two", "three")
    assert outside.read_text() == SECRET
