"""One plane at a time has the data folder, and the second one's error names it."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.stores.sqlite.folder_lock import NAME, Holder, LockedError, read_holder, take_lock

ME = Holder(pid=1, since_ms=2, host="here", url="http://127.0.0.1:8700")

HOLD = """
import sys
from pathlib import Path
from holdfast.stores.sqlite.folder_lock import Holder, take_lock
lock = take_lock(Path(sys.argv[1]), Holder(pid=42, since_ms=7, host="there", url="http://first"))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_plane_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match="process 42 on there at http://first") as refused:
            take_lock(tmp_path, ME)
        assert refused.value.holder == Holder(pid=42, since_ms=7, host="there", url="http://first")
        first.send_signal(signal.SIGKILL)
        first.wait()
    lock = take_lock(tmp_path, ME)
    assert read_holder(tmp_path) == ME
    lock.release()


def test_a_released_lock_is_free_and_a_held_one_is_not(tmp_path: Path) -> None:
    lock = take_lock(tmp_path, ME)
    with pytest.raises(LockedError):
        take_lock(tmp_path, ME)
    lock.release()
    lock.release()
    take_lock(tmp_path, ME).release()


def test_what_was_left_in_the_file_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("not json " * 50)
    assert read_holder(tmp_path) is None
    take_lock(tmp_path, ME).release()
    assert read_holder(tmp_path) == ME
