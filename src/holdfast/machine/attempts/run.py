"""Runs the program of an attempt until it ends, is asked to end, or passes a limit."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import msgspec

from holdfast.disk.durable_file import write_file
from holdfast.kernel.failure import brief
from holdfast.machine.attempts.options import Options
from holdfast.machine.attempts.output import Output
from holdfast.machine.confine.report import Report
from holdfast.machine.confine.sandbox import ConfineError, Launch, open_confinement
from holdfast.machine.controller.process.tree import adopt_orphans, children_of, resident
from holdfast.wire.attempt import AttemptEnd
from holdfast.wire.limits import REASON_MAX

NOT_STARTED: Final = 125
"""The exit code of an attempt whose program was not started."""

LOOK_S: Final = 0.5
"""Time between two looks at memory and processes, in seconds."""

_CHUNK_BYTES: Final = 65_536
_READS_MAX: Final = 64
"""Reads of what a program wrote before its end: a process that outlives it may write for ever."""

ASKED: Final = "asked"
_MEMORY: Final = "memory"
_PROCESSES: Final = "processes"
LIMITS: Final = frozenset({_MEMORY, _PROCESSES})


class Attempt:
    """One program with its output; signals may come at any time."""

    def __init__(self, launch: Launch, options: Options, output: Output) -> None:
        """Start it; raise OSError."""
        self._options = options
        self._output = output
        self._because = ""
        self._report: Report | None = launch.report
        reading, writing = os.pipe2(os.O_CLOEXEC)
        try:
            self._process = subprocess.Popen(
                launch.argv, env=launch.env, cwd=options.folder, pass_fds=launch.inherited,
                stdin=subprocess.DEVNULL, stdout=writing, stderr=writing, process_group=0,
            )  # fmt: skip
        except BaseException:
            os.close(reading)
            launch.failed()
            raise
        finally:
            os.close(writing)
        launch.started()
        os.set_blocking(reading, False)
        self._reading = reading
        self._ended = os.pidfd_open(self._process.pid)

    def send(self, number: int) -> None:
        """Signal the program; one in a sandbox is found through the report."""
        self._because = self._because or ASKED
        if self._report is not None:
            self._report.send(number)
            return
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def wait(self) -> AttemptEnd:
        """Return how it ended."""
        copying = reporting = True
        while self._process.poll() is None and not self._is_reported():
            watched = [self._ended]
            watched += [self._reading] if copying else []
            if self._report is not None and reporting:
                watched.append(self._report.fileno())
            ready, _, _ = select.select(watched, [], [], LOOK_S)
            if self._reading in ready:
                copying = self._copy()
            if self._report is not None and self._report.fileno() in ready:
                reporting = self._report.take()
            self._reap()
            self._look()
        return self._finish()

    def _is_reported(self) -> bool:
        return self._report is not None and self._report.ended

    def _finish(self) -> AttemptEnd:
        """Kill what is left, read what was written, and return the end."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        status = self._process.wait()
        code = status if self._report is None else self._report.code(status)
        for _ in range(_READS_MAX):
            if not self._copy():
                break
        os.close(self._reading)
        os.close(self._ended)
        if self._report is not None:
            self._report.close()
        return AttemptEnd(code=code, because=self._because)

    def _copy(self) -> bool:
        """Copy what was written; return False at the end, or where nothing is there."""
        try:
            data = os.read(self._reading, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        self._output.write(data)
        return bool(data)

    def _reap(self) -> None:
        """Reap orphans of the program, which this process adopts; the program is left to Popen."""
        while ended := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            if ended.si_pid == self._process.pid:
                return
            os.waitpid(ended.si_pid, 0)

    def _look(self) -> None:
        """Kill it where it uses more than it may."""
        limits = self._options
        if self._because in LIMITS or not (limits.memory_bytes or limits.processes):
            return
        used, processes = resident(*children_of(os.getpid()))
        if 0 < limits.memory_bytes < used:
            self._because = _MEMORY
            self._output.say(f"killed: {used} bytes of memory, at most {limits.memory_bytes}")
        elif 0 < limits.processes < processes:
            self._because = _PROCESSES
            self._output.say(f"killed: {processes} processes, at most {limits.processes}")
        if self._because in LIMITS:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)


def run(options: Options, *, env: Mapping[str, str], order: str) -> int:
    """Run the program and record its end; return the exit code for this process."""
    adopt_orphans()
    output = Output(options.output, bytes_max=options.output_bytes)
    asked: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda given, _frame: asked.append(given))
    end = _run(options, env, order, output, asked)
    if end.detail:
        output.say(f"{end.because}: {end.detail}")
    output.close()
    write_file(options.end, msgspec.json.encode(end))
    return end.code if end.code >= 0 else 128 - end.code


def _run(
    options: Options, env: Mapping[str, str], order: str, output: Output, asked: list[int]
) -> AttemptEnd:
    try:
        confinement = open_confinement(order, agent_port=0)
        if confinement.kind == "none" and not options.accept_unconfined:
            return _not_started(
                "unconfined", f"nothing confines it here: {confinement.found.reason}"
            )
        launch = confinement.wrap(
            options.command, env=env, cwd=options.folder, read=options.read, write=options.write
        )
        attempt = Attempt(launch, options, output)
    except ConfineError as error:
        return _not_started("unconfined", brief(error))
    except (OSError, ValueError) as error:
        return _not_started("not_started", brief(error))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda given, _frame: attempt.send(given))
    for given in asked:
        attempt.send(given)
    return attempt.wait()


def _not_started(because: str, detail: str) -> AttemptEnd:
    return AttemptEnd(code=NOT_STARTED, because=because, detail=detail[:REASON_MAX])
