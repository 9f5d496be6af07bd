"""Commands are forked by a server that is started again after somebody ended it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
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


def test_a_fork_is_found_by_its_data_folder_until_it_ends(tmp_path: Path) -> None:
    files = (Path(os.devnull),) * 3
    environment = {"HOLDFAST_HOME": str(tmp_path)}
    fork = forks.Fork(signal.pause, environment=environment, files=files)
    assert forks.forks_of(tmp_path) == {fork.pid}
    assert forks.forks_of(tmp_path / "another") == set()
    with pytest.raises(subprocess.TimeoutExpired):
        fork.wait(0.01)
    fork.send_signal(signal.SIGTERM)
    assert fork.wait(patience(30)) == fork.poll() == -signal.SIGTERM
    assert forks.forks_of(tmp_path) == set()
    fork.kill()  # as with Popen, without effect


def test_what_a_fork_prints_is_in_its_file(tmp_path: Path) -> None:
    files = (Path(os.devnull), tmp_path / "out", tmp_path / "err")
    for path in files[1:]:
        path.touch()
    fork = forks.Fork(partial(print, "told"), environment={}, files=files)
    assert fork.wait(patience(30)) == 0
    assert files[1].read_text() == "told\n"
