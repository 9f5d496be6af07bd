"""Commands of `holdfast`, each in a process of its own that need not import the command line again.

A process started anew spends most of its time on imports. Here one process per worker imports
everything once (`multiprocessing`'s fork server), and each command is a fork of it, with its own
environment, working folder, input, outputs and exit code: one that ends (`run_command`), or one
that stays, such as a plane (`ForkedCommand`). That `python -m holdfast.cli.main` itself works, and
what it loads, is tested in tests/integration/plane/test_life.py and
tests/integration/cli/test_commands.py.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest import mock
from weakref import WeakSet

from holdfast.cli.main import COMMANDS, NOUNS, main

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *sorted({path.partition(":")[0] for path in (*COMMANDS.values(), *NOUNS.values())}),
        "holdfast.plane.serve",  # refusals to start
        "holdfast.plane.wiring.local_admin",  # the first command on a data folder
        __name__,  # a fork imports its target's module
    ]
)
_STREAMS = ((0, os.O_RDONLY), (1, os.O_WRONLY | os.O_APPEND), (2, os.O_WRONLY | os.O_APPEND))


def run_command(
    *words: str, environment: Mapping[str, str], given: str = "", timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a command with this environment and input; raise TimeoutExpired when it takes longer."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder, name) for name in ("in", "out", "err")]
        for path, text in zip(files, (given, "", ""), strict=True):
            path.write_text(text)
        command = ForkedCommand(words, environment, files)
        try:
            code = command.wait(timeout_s)
        except subprocess.TimeoutExpired:
            command.kill()
            command.wait()
            raise
        return subprocess.CompletedProcess(words, code, *(path.read_text() for path in files[1:]))


class ForkedCommand:
    """A command that runs, with what `subprocess.Popen` has for its process.

    /proc shows the server's command line and environment instead of its own: it is found by
    `forks_of`.
    """

    def __init__(
        self, words: Sequence[str], environment: Mapping[str, str], files: Sequence[Path]
    ) -> None:
        """Start it in a session of its own, with these files as input, output and errors."""
        _serve_forks()
        self.words = list(words)
        self.home = environment.get("HOLDFAST_HOME", "")
        self._process = _FORKS.Process(target=_command, args=(words, dict(environment), files))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid
        _STARTED.add(self)

    @property
    def returncode(self) -> int | None:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit code once it has ended; raise TimeoutExpired when it takes longer."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise subprocess.TimeoutExpired(self.words, timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self._process.exitcode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)


_STARTED: WeakSet[ForkedCommand] = WeakSet()


def forks_of(home: Path) -> set[int]:
    """Return the process ids of commands that run on a data folder."""
    return {one.pid for one in list(_STARTED) if one.home == str(home) and one.poll() is None}


def _serve_forks() -> None:
    """Start the server, if none runs; by a data folder in its environment it would be found.

    A controller that is tested in this process ends and reaps every child that it does not know:
    the server, of which `multiprocessing` then learns by ECHILD, and its resource tracker, of whose
    end it warns.
    """
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    with mock.patch.dict(os.environ, kept, clear=True), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "resource_tracker: process died", UserWarning)
        try:
            forkserver.ensure_running()
        except ChildProcessError:
            _forget_server()
            forkserver.ensure_running()


def _forget_server() -> None:
    """Have the next use start a new server; the module has no public way to say so."""
    server: Any = forkserver._forkserver
    os.close(server._forkserver_alive_fd)
    server._forkserver_alive_fd = server._forkserver_pid = server._forkserver_address = None


def _command(words: Sequence[str], environment: Mapping[str, str], files: Sequence[Path]) -> None:
    """Become the command: its streams, its environment, its words."""
    gc.freeze()  # a collection would copy what this fork shares with the server
    os.setsid()
    for (number, mode), path in zip(_STREAMS, files, strict=True):
        opened = os.open(path, mode)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  a fork's was closed
    os.environ.clear()
    os.environ.update(environment)
    main(words)
