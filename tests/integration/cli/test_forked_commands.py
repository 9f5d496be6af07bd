"""Commands are forked by a server that is started again after somebody ended it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import Any

import pytest

from tests.support import forks
from tests.support.command_line import run_command
from tests.support.patience import patience


def help_text() -> str:
    done = run_command("-h", environment=dict(os.environ), timeout_s=patience(30))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server that may be killed: forks of the usual one, such as planes, are in use elsewhere."""
    made = forkserver.ForkServer()
    monkeypatch.setattr(forkserver, "_forkserver", made)
    for name in ("ensure_running", "connect_to_new_process"):
        monkeypatch.setattr(forkserver, name, getattr(made, name))
    yield made
    forks._forget_server()  # it ends with its last client


def test_a_server_that_was_ended_and_reaped_is_started_again(server: Any) -> None:
    before = help_text()
    pid = server._forkserver_pid
    tracker: Any = resource_tracker._resource_tracker
    for ended in (pid, tracker._pid):
        os.kill(ended, signal.SIGKILL)
        os.waitpid(ended, 0)  # as a controller in this process does
    assert help_text() == before
    assert server._forkserver_pid != pid


def test_a_fork_imports_nothing_of_what_runs_a_command(tmp_path: Path) -> None:
    assert help_text()  # it starts the server
    seen = tmp_path / "seen"
    code = f"import sys; open({str(seen)!r}, 'w').write('\\n'.join(sys.modules))"
    fork = forks._FORKS.Process(target=exec, args=(code,))
    fork.start()
    fork.join(patience(30))
    assert fork.exitcode == 0
    loaded = set(seen.read_text().split())
    assert {forks.__name__, "holdfast.cli.main"} <= loaded, sys.path
