"""Commands of `holdfast`, each in a process of its own that need not import the command line again.

A process started anew spends most of its time on imports. Here one process per worker imports
everything once (`multiprocessing`'s fork server), and each command is a fork of it, with its own
environment, working folder, input, outputs and exit code. That `python -m holdfast.cli.main` itself
works, and what it loads, is tested by the planes that are started with it and in
tests/integration/cli/test_commands.py.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest import mock

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
_STREAMS = ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY))


def run_command(
    *words: str, environment: Mapping[str, str], given: str = "", timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """Run a command with this environment and input; raise TimeoutExpired when it takes longer."""
    with tempfile.TemporaryDirectory() as folder:
        _serve_forks()
        files = [Path(folder, name) for name in ("in", "out", "err")]
        for path, text in zip(files, (given, "", ""), strict=True):
            path.write_text(text)
        process = _FORKS.Process(target=_command, args=(words, dict(environment), files))
        process.start()
        process.join(timeout_s)
        code = process.exitcode
        if code is None:
            process.kill()
            process.join()
            raise subprocess.TimeoutExpired(words, timeout_s)
        process.close()
        return subprocess.CompletedProcess(words, code, *(path.read_text() for path in files[1:]))


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
    gc.disable()  # it would copy what this fork shares with the server
    for (number, mode), path in zip(_STREAMS, files, strict=True):
        opened = os.open(path, mode)
        os.dup2(opened, number)
        os.close(opened)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115  a fork's was closed
    os.environ.clear()
    os.environ.update(environment)
    main(words)
