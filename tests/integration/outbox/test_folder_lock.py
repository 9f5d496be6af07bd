"""The folder's lock: threads queue for longer than a call waits for another process."""

from __future__ import annotations

import fcntl
import os
import threading
import time
from pathlib import Path

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.outbox.folder_lock import FolderLock, LockTimeoutError


def test_a_thread_queues_behind_others_that_move_on(tmp_path: Path) -> None:
    lock = FolderLock(str(tmp_path / "lock"), SystemClock())
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with lock.held(1):
            held.set()
            let_go.wait(20)

    other = threading.Thread(target=hold)
    other.start()
    assert held.wait(20)
    with pytest.raises(LockTimeoutError), lock.held(0.05):
        pass
    threading.Timer(0.3, let_go.set).start()
    with lock.held(0.05, queue_s=20):
        assert let_go.is_set()
    other.join()


def test_those_behind_do_not_wait_again_for_a_process_that_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    theirs = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(theirs, fcntl.LOCK_EX)
    lock = FolderLock(str(path), SystemClock())
    started = time.monotonic()
    for _ in range(20):
        with pytest.raises(LockTimeoutError), lock.held(1.0, queue_s=20):
            pass
    # The first waited for its second; had each of them, it would have been twenty.
    assert 1.0 <= time.monotonic() - started < 10
    os.close(theirs)
    with lock.held(1.0, queue_s=20):
        pass
