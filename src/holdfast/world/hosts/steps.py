"""The blocking half of the host of local processes: steps on one attempt.

Call from worker threads, one step of an agent at a time. Every step reads from the kernel which
processes live; it signals only what it has identified.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from signal import SIGTERM
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from holdfast.disk.durable_file import write_file
from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import OperationError
from holdfast.wire.attempt import AttemptEnd
from holdfast.wire.parsers import json_as
from holdfast.world.hosts.port import Launch
from holdfast.world.hosts.records import AttemptStore, Places, Record
from holdfast.world.processes.barrier import HeldProcess, inherited_from, reap
from holdfast.world.processes.confine import VARIABLE, Confine, order
from holdfast.world.processes.log import NotALogError, older, open_log
from holdfast.world.processes.table import (
    MARKER,
    identify,
    is_alive,
    kill_members,
    send,
)

PROGRAM: Final = (sys.executable, "-I", "-m", "holdfast.machine.attempts")
"""Isolated: it must not load code or variables of the agent's."""

OUTPUT_BYTES: Final = 4 * 1_048_576
"""Output kept of an attempt."""
MEMORY_BYTES: Final = 4 * 1_073_741_824
"""Memory of an attempt's processes: twice what a build of a large program with a model takes."""
PROCESSES: Final = 512
"""Processes of an attempt."""
POKES_BYTES_MAX: Final = 65_536
"""Pokes kept for an attempt; what does not fit waits where the text is kept anyway."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one attempt may use; 0 is no limit but for its output."""

    output_bytes: int = OUTPUT_BYTES
    memory_bytes: int = MEMORY_BYTES
    processes: int = PROCESSES


class StuckError(Exception):
    """Processes of an attempt do not end when they are killed."""


def inherit_nothing(_town: str, _role: str) -> Sequence[str]:
    """Return no names of variables, whatever the town and role."""
    return ()


class Steps:
    """Starts, stops and looks at attempts."""

    def __init__(
        self,
        store: AttemptStore,
        *,
        clock: Clock,
        environ: Mapping[str, str],
        confine: Confine | None,
        accept_unconfined: bool,
        limits: Limits,
        inherit: Callable[[str, str], Sequence[str]],
        modules: Sequence[str],
        ports: tuple[int, int],
        program: Sequence[str],
    ) -> None:
        self._store = store
        self._clock = clock
        self._environ = environ
        self._inherited = inherited_from(environ)
        self._inherit = inherit
        self._modules = tuple(modules)
        self._confine = confine
        self._accept_unconfined = accept_unconfined
        self._limits = limits
        self._ports = ports
        self._program = tuple(program)

    @property
    def search(self) -> str:
        """Return the PATH of attempts: this Python's programs, the plane's own, those of modules.

        Those come last, because a package brings programs of many names.
        """
        own = str(Path(sys.executable).parent)
        modules = (f"{folder}/.bin" for folder in self._modules)
        return ":".join(part for part in (own, self._inherited.get("PATH", ""), *modules) if part)

    def start(self, launch: Launch, record: Record) -> Record:
        """Start an attempt whose intent is on disk; raise OSError when nothing of it ran."""
        places = self._store.places(record)
        write_file(places.prompt, launch.prompt.encode(), names=False)
        held = HeldProcess(
            self._argv(launch, places),
            env=self._env(launch, record, places),
            home=places.root,
            log=places.output,
        )
        try:
            leader = identify(held.process.pid)
            if leader is None:
                raise OperationError("it was killed at its barrier")  # noqa: TRY301
            now = self._clock.now_ms()
            ready = replace(record, phase="started", leader=leader, started_ms=now)
            self._store.save(ready)
        except BaseException:
            held.shut()
            raise
        held.disown()
        held.open()
        return ready

    def ask(self, record: Record, *, drain_s: float) -> Record:
        """Note that an attempt is to end, then ask its program."""
        now = self._clock.now_ms()
        by_ms = now + round(drain_s * 1_000)
        if record.leader is None:
            return self._store.save(
                replace(record, phase="ended", asked=True, ended_ms=now, reported=True)
            )
        if record.phase == "stopping":
            by_ms = min(by_ms, record.stop_by_ms)
        noted = replace(record, phase="stopping", asked=True, stop_by_ms=by_ms)
        self._store.save(noted)
        send(record.leader, SIGTERM)
        return noted

    def look(self, record: Record) -> Record:
        """Return the record, with its end once its process is gone."""
        if record.phase in {"intended", "ended"} or is_alive(record.leader):
            return record
        return self.close(record)

    def close(self, record: Record) -> Record:
        """Kill every process of an attempt and note how it ended."""
        if not kill_members(record.leader, self._store.mark(record)):
            raise StuckError(record.id)
        if record.leader is not None:
            reap(record.leader)
        ended = replace(
            record, phase="ended", ended_ms=self._clock.now_ms(), end=self._end(record),
            reported=record.reported or record.asked,
        )  # fmt: skip
        return self._store.save(ended)

    def poke(self, record: Record, text: str) -> bool:
        """Append a line for an attempt; return False where its file is full or not a file."""
        path = self._store.places(record).pokes
        with suppress(NotALogError):
            handle = open_log(path)
            with os.fdopen(handle, "ab") as file:
                line = msgspec.json.encode({"at_ms": self._clock.now_ms(), "text": text}) + b"\n"
                if os.fstat(handle).st_size + len(line) <= POKES_BYTES_MAX:
                    file.write(line)
                    return True
        return False

    def output(self, record: Record, bytes_max: int) -> bytes:
        """Return the end of what an attempt wrote."""
        path = self._store.places(record).output
        newest = _end_of(path, bytes_max)
        left = bytes_max - len(newest)
        return (_end_of(older(path), left) if left > 0 else b"") + newest

    def _end(self, record: Record) -> AttemptEnd | None:
        try:
            text = self._store.places(record).end.read_bytes()
            return json_as(AttemptEnd, text)
        except (OSError, msgspec.MsgspecError, RecursionError):
            return None  # it was killed with its program, or the host went down

    def _argv(self, launch: Launch, places: Places) -> tuple[str, ...]:
        limits = self._limits
        filled = (
            word.replace("{prompt}", str(places.prompt)).replace("{folder}", launch.folder)
            for word in launch.command
        )
        return (
            *self._program,
            "--end", str(places.end), "--output", str(places.output),
            "--output-bytes", str(limits.output_bytes),
            "--memory-bytes", str(limits.memory_bytes), "--processes", str(limits.processes),
            "--folder", launch.folder, "--write", launch.folder, "--write", str(places.own),
            *(word for path in (*launch.read, *self._modules) for word in ("--read", path)),
            *(("--accept-unconfined",) if self._accept_unconfined else ()),
            "--", *filled,
        )  # fmt: skip

    def _env(self, launch: Launch, record: Record, places: Places) -> dict[str, str]:
        named = self._inherit(launch.town, launch.role)
        env = {
            **{name: self._environ[name] for name in named if name in self._environ},
            **self._inherited,
            **launch.env,
            "PATH": self.search,
            "HOME": str(places.home),
            "TMPDIR": str(places.tmp),
            MARKER: self._store.mark(record),
            "HOLDFAST_TOWN": launch.town,
            "HOLDFAST_TOWN_AGENT": launch.agent,
            "HOLDFAST_TOWN_ROLE": launch.role,
            "HOLDFAST_ATTEMPT": launch.attempt,
            "HOLDFAST_PROMPT_FILE": str(places.prompt),
            "HOLDFAST_POKES_FILE": str(places.pokes),
        }
        if self._confine is not None:
            env[VARIABLE] = order(self._confine, self._inherited, self._ports, ())
        return env


def _end_of(path: Path, bytes_max: int) -> bytes:
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - bytes_max))
            return file.read(bytes_max)
    except FileNotFoundError:
        return b""
