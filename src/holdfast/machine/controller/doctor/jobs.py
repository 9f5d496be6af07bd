"""Runs the agent's doctor: one at a time, time-limited, cancellable, recorded on disk.

Output is redacted line by line before it is kept. The record and the output are written at most
once a second during a run, and at its end; a record `running` without a process was cut off by a
restart of the controller, and is closed at the next start.
"""

from __future__ import annotations

import asyncio
import signal
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias

import msgspec
from msgspec import Struct, structs

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.secret import redact
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.controller.process.children import OnLine
from holdfast.wire.parsers import json_as

Status: TypeAlias = Literal["running", "completed", "failed", "cancelled"]

OUTPUT_BYTES_MAX: Final = 1_048_576
"""Bytes kept of the end of the output (compat/controller.md)."""

CUT: Final = "[… the beginning was cut …]\n"

INTERRUPTED: Final = "interrupted by controller restart"


class Record(Struct, frozen=True, kw_only=True, rename="camel"):
    """One run; times are milliseconds since the epoch.

    `error` describes a failure that the exit code does not.
    """

    run_id: str
    status: Status
    fix: bool
    started_at_ms: int
    finished_at_ms: int | None = None
    exit_code: int | None = None
    error: str = ""


class Chunk(NamedTuple):
    """Output from a position on; `next` is the position after it."""

    text: str
    next: int
    cut: bool


class Tail:
    """The last `limit` bytes of a growing text, in whole lines."""

    def __init__(self, limit: int = OUTPUT_BYTES_MAX) -> None:
        self._limit = limit
        self._lines: deque[bytes] = deque()
        self._kept = 0
        self._dropped = 0

    @property
    def end(self) -> int:
        """Return the total number of bytes added."""
        return self._dropped + self._kept

    def add(self, line: str) -> None:
        """Add a line."""
        piece = line.encode("utf-8", "replace") + b"\n"
        self._lines.append(piece)
        self._kept += len(piece)
        while self._kept > self._limit:
            gone = self._lines.popleft()
            self._kept -= len(gone)
            self._dropped += len(gone)

    def since(self, position: int) -> Chunk:
        """Return what was added from `position` on; `cut` if part of it is no longer kept."""
        skip = max(position - self._dropped, 0)
        content = b"".join(self._lines)[skip:]
        cut = position < self._dropped
        text = content.decode("utf-8", "replace")
        return Chunk(CUT + text if cut else text, self.end, cut)


ALREADY: Final = "openclaw_doctor_already_active"
NO_RUN: Final = "openclaw_doctor_no_active_run"

LIMIT_S: Final = 120.0
"""Time limit of a run (compat/controller.md)."""

KILL_S: Final = 5.0
"""From SIGTERM to SIGKILL (compat/controller.md)."""

CLOSE_KILL_S: Final = 1.0
"""The same at the end of the controller, whose own shutdown has a deadline."""

FLUSH_S: Final = 1.0
"""Time between two writes during a run (compat/controller.md)."""

_RUN_ID_BYTES: Final = 8
_RECORD_FILE: Final = "record.json"
_OUTPUT_FILE: Final = "output.log"
_RECORD_BYTES_MAX: Final = 65_536


class Process(Protocol):
    """A running doctor."""

    def send(self, number: int) -> None:
        """Send a signal to the process."""
        ...

    def kill(self) -> None:
        """Kill the process and its group."""
        ...


class Launch(Protocol):
    """Starts the agent's doctor."""

    def __call__(self, *, fix: bool, on_line: OnLine, on_exit: Callable[[int], None]) -> Process:
        """Return the process; raise OSError."""
        ...


class DoctorJobs:
    """The runs of one agent's doctor; the last one is kept."""

    def __init__(
        self,
        folder: Path,
        launch: Launch,
        *,
        draw: Callable[[int], str],
        clock: Clock,
        log: Log,
        limit_s: float = LIMIT_S,
        kill_s: float = KILL_S,
    ) -> None:
        """Store the record in `folder`; `draw` returns random bytes as hexadecimal digits."""
        self._folder = folder
        self._launch = launch
        self._draw = draw
        self._clock = clock
        self._log = log
        self._limit_s = limit_s
        self._kill_s = kill_s
        self._record: Record | None = None
        self._tail = Tail()
        self._process: Process | None = None
        self._ended = asyncio.Event()
        self._wanted: Status = "completed"
        self._because = ""
        self._timers: list[asyncio.TimerHandle] = []
        self._writing: asyncio.Task[None] | None = None
        self._dirty = False

    @property
    def record(self) -> Record | None:
        """Return the current run or the last one, None before the first."""
        return self._record

    @property
    def output(self) -> Tail:
        """Return the output of that run."""
        return self._tail

    async def recover(self) -> None:
        """Load the record of an earlier controller; close a run that it left."""
        record, output = await asyncio.to_thread(self._load)
        if record is None or self._record is not None:
            return
        for line in output.splitlines():
            self._tail.add(line)
        self._record = record
        if record.status == "running":
            self._log.emit("doctor.interrupted", run=record.run_id)
            self._close("failed", None, INTERRUPTED)
            self._write_soon()

    def start(self, *, fix: bool) -> Record:
        """Start a run; raise RefusedError if one is running or the start fails."""
        if self._process is not None:
            raise RefusedError(409, ALREADY, "A doctor run is under way")
        self._tail = Tail()
        self._wanted, self._because = "completed", ""
        self._ended = asyncio.Event()
        try:
            self._process = self._launch(fix=fix, on_line=self._line, on_exit=self._exited)
        except OSError as error:
            text = f"The doctor cannot be started: {error.strerror or type(error).__name__}"
            raise RefusedError(500, "openclaw_doctor_start_failed", text) from error
        self._record = Record(
            run_id=self._draw(_RUN_ID_BYTES),
            status="running",
            fix=fix,
            started_at_ms=self._clock.now_ms(),
        )
        self._later(self._limit_s, self._end, "failed", f"not within {self._limit_s:g} s")
        self._log.emit("doctor.started", run=self._record.run_id, fix=fix)
        self._write_soon()
        return self._record

    def cancel(self) -> None:
        """Cancel the current run; raise RefusedError if there is none."""
        if self._process is None:
            raise RefusedError(409, NO_RUN, "No doctor run is under way")
        self._end("cancelled", "cancelled")

    async def wait(self) -> Record:
        """Return the record of the run once it has ended."""
        await self._ended.wait()
        assert self._record is not None, "a run was started"
        return self._record

    async def close(self) -> None:
        """Cancel a run, and finish pending writes."""
        if self._process is not None:
            self._end("failed", INTERRUPTED)
            self._later(CLOSE_KILL_S, self._process.kill)
            await self._ended.wait()
        if self._writing is not None:
            self._dirty = False
            self._writing.cancel()
            await asyncio.gather(self._writing, return_exceptions=True)
            await self._write()

    # -- events of a run

    def _line(self, _stream: str, line: str) -> None:
        self._tail.add(redact(line))
        self._write_soon()

    def _end(self, status: Status, because: str) -> None:
        """Send SIGTERM, later SIGKILL; the first reason is the one recorded."""
        if self._process is None or self._because:
            return
        self._wanted, self._because = status, because
        self._process.send(signal.SIGTERM)
        self._later(self._kill_s, self._process.kill)

    def _exited(self, code: int) -> None:
        self._process = None
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        status = self._wanted if code == 0 or self._because else "failed"
        because = self._because or ("" if code == 0 else f"exit code {code}")
        self._close(status, code, because)
        self._write_soon()

    def _close(self, status: Status, code: int | None, because: str) -> None:
        assert self._record is not None, "it was made when the run was started"
        self._record = structs.replace(
            self._record,
            status=status,
            finished_at_ms=self._clock.now_ms(),
            exit_code=code,
            error=because,
        )
        self._log.emit("doctor.ended", run=self._record.run_id, status=status, because=because)
        self._ended.set()

    def _later(self, delay_s: float, act: Callable[..., None], *given: str) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(delay_s, act, *given))

    # -- writing the record

    def _write_soon(self) -> None:
        self._dirty = True
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._keep_writing(), name="doctor")

    async def _keep_writing(self) -> None:
        while self._dirty:
            self._dirty = False
            await self._write()
            if self._process is not None:
                try:
                    async with asyncio.timeout(FLUSH_S):
                        await self._ended.wait()
                except TimeoutError:
                    continue

    async def _write(self) -> None:
        if self._record is None:
            return
        record, output = msgspec.json.encode(self._record), self._tail.since(0).text.encode()
        try:
            await asyncio.to_thread(self._save, record, output)
        except OSError as error:
            self._log.emit("doctor.write_failed", error=brief(error))

    def _save(self, record: bytes, output: bytes) -> None:
        atomic_file.make_folder(self._folder)
        with atomic_file.open_folder(self._folder) as folder:
            atomic_file.put_over(folder, _OUTPUT_FILE, output)
            atomic_file.put_over(folder, _RECORD_FILE, record)

    def _load(self) -> tuple[Record | None, str]:
        try:
            with atomic_file.open_folder(self._folder) as folder:
                record = json_as(Record, atomic_file.read(folder, _RECORD_FILE, _RECORD_BYTES_MAX))
                output = atomic_file.read(folder, _OUTPUT_FILE, 2 * OUTPUT_BYTES_MAX)
        except (OSError, msgspec.MsgspecError, RecursionError):
            return None, ""
        return record, output.decode("utf-8", "replace")
