"""The environment of a process is read whole, also while it becomes another program."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import pytest

from holdfast.disk import process_environ
from holdfast.disk.process_environ import read_environ

MARK = b"HOLDFAST_TEST_MARK=here"
EXEC_LOOP = 'exec "$0" "$0"'


@pytest.fixture
def restless(tmp_path: Path) -> Iterator[int]:
    """Yield a process that becomes a program again and again."""
    script = tmp_path / "again"
    script.write_text(f"#!/bin/sh\n{EXEC_LOOP}\n")
    script.chmod(0o700)
    name, _, value = MARK.decode().partition("=")
    with subprocess.Popen([str(script)], env={name: value}) as process:
        yield process.pid
        process.kill()


def test_it_is_read_while_the_process_becomes_another_program(restless: int) -> None:
    assert all(MARK in read_environ(restless) for _ in range(3_000))


def test_one_that_shows_nothing_is_taken_for_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_environ, "EXEC_WAIT_S", 0.01)
    assert read_environ(7, process_files(tmp_path, flags=0)) == []


def test_nothing_is_awaited_of_a_thread_of_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_environ, "EXEC_WAIT_S", float("inf"))
    assert read_environ(7, process_files(tmp_path, flags=0x0020_8040)) == []


def test_one_that_was_started_without_any_has_none() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], env={}, stdin=PIPE) as process:
        assert read_environ(process.pid) == []


def test_one_that_ended_is_an_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        pass
    with pytest.raises(OSError):
        read_environ(process.pid)


def process_files(folder: Path, *, flags: int) -> Path:
    """Write what the kernel shows of process 7 while it has no program; return the folder."""
    own = folder / "7"
    own.mkdir()
    (own / "cmdline").write_bytes(b"")
    (own / "environ").write_bytes(b"")
    (own / "stat").write_text(f"7 (a) b) R 1 7 7 0 -1 {flags}" + " 0" * 43)
    return folder
