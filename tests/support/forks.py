"""Processes of Holdfast that need not import again what they run.

A process started anew spends most of its time on imports. Here one process per worker imports
everything once (`multiprocessing`'s fork server), and each command, plane or controller of a
machine is a fork of it, with its own environment, session, input, outputs and exit code. That the
programs themselves work, and what they load, is tested where they are started as people do:
tests/integration/plane/test_life.py, tests/integration/machine/test_boot.py and
tests/integration/cli/test_commands.py.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest import mock
from weakref import WeakSet

from holdfast.cli.main import COMMANDS, NOUNS

_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    [
        *sorted({path.partition(":")[0] for path in (*COMMANDS.values(), *NOUNS.values())}),
        "holdfast.plane.serve",
        "holdfast.plane.wiring.local_admin",  # the first command on a data folder
        "holdfast.machine.controller.__main__",
        "holdfast.machine.controller.wiring",
        __name__,  # a fork imports its target's module
    ]
)
_STREAMS = ((0, os.O_RDONLY), (1, os.O_WRONLY | os.O_APPEND), (2, os.O_WRONLY | os.O_APPEND))


class Fork:
    """A process that calls a function, with what `subprocess.Popen` has for its process.

    /proc shows the server's command line and environment instead of its own: it is found by
    `forks_of`.
    """

    def __init__(
        self,
        target: Callable[[], int | None],
        *,
        environment: Mapping[str, str],
        files: Sequence[Path],
    ) -> None:
        """Start it in a session of its own, with these files as input, output and errors.

        What `target` returns is given to `sys.exit`.
        """
        _serve_forks()
        self.home = environment.get("HOLDFAST_HOME", "")
        self._process = _FORKS.Process(target=_become, args=(target, dict(environment), files))
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
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self._process.exitcode is None:
            with contextlib.suppress(ProcessLookupError):  # the server reaped it in between
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)


_STARTED: WeakSet[Fork] = WeakSet()


def forks_of(home: Path) -> set[int]:
    """Return the process ids of forks that run on a data folder."""
    return {one.pid for one in list(_STARTED) if one.home == str(home) and one.poll() is None}


def _serve_forks() -> None:
    """Start the server, if none runs; by a data folder in its environment it would be found.

    A controller that is tested in this process ends and reaps every child that it does not know:
    the server with every fork below it, of which `multiprocessing` then learns by ECHILD, and its
    resource tracker, of whose end it warns. So a plane that many tests share must not be a fork of
    a process that tests a controller in itself later: `tests/integration/confine` and `machine`
    come before `plane`, by their names.
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


def _become(
    target: Callable[[], int | None], environment: Mapping[str, str], files: Sequence[Path]
) -> None:
    """Become the process: its session, its streams, its environment, its work."""
    gc.freeze()  # a collection would copy what this fork shares with the server
    os.setsid()
    for (number, mode), path in zip(_STREAMS, files, strict=True):
        opened = os.open(path, mode)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  a fork's was closed
    os.environ.clear()
    os.environ.update(environment)
    sys.exit(target())
