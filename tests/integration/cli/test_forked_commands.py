"""Commands are forked by a server that is started again after somebody ended it."""

from __future__ import annotations

import os
import signal
from multiprocessing import forkserver, resource_tracker
from typing import Any

from tests.support.command_line import run_command
from tests.support.patience import patience


def help_text() -> str:
    done = run_command("-h", environment=dict(os.environ), timeout_s=patience(30))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_server_that_was_ended_and_reaped_is_started_again() -> None:
    before = help_text()
    server: Any = forkserver._forkserver
    pid = server._forkserver_pid
    tracker: Any = resource_tracker._resource_tracker
    for ended in (pid, tracker._pid):
        os.kill(ended, signal.SIGKILL)
        os.waitpid(ended, 0)  # as a controller in this process does
    assert help_text() == before
    assert server._forkserver_pid != pid
