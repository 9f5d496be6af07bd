"""Hands attempts to the agent, one command each, and keeps how they ended.

An attempt lives as long as the command that handed it over: when the agent or this controller is
restarted it ends, and its record says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import OperationError, brief, may_pass
from holdfast.kernel.turns import Turns
from holdfast.machine.agents.work import WorkFiles
from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.doctor.jobs import Tail
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.controller.process.children import Child
from holdfast.machine.controller.work.records import Record, WorkRecords, work_id
from holdfast.wire.attempt import AttemptEnd
from holdfast.wire.controller.work import (
    BUNDLE_BYTES_MAX,
    OUTPUT_BYTES_MAX,
    PART_BYTES_MAX,
    WorkOrder,
    WorkPart,
    WorkPoke,
    WorkResult,
    WorkState,
    WorkStop,
)

GIT_S: Final = 120.0
"""Time limit of one git command."""
CLOSE_S: Final = 1.0
"""From SIGTERM to SIGKILL at the end of the controller, whose own shutdown has a deadline."""
KILLED_S: Final = 10.0
"""How long the end of a killed command is waited for."""
POKES_BYTES_MAX: Final = 65_536
TOOL: Final = "holdfast-tool"
_GIT: Final = (
    "env",
    "LC_ALL=C",
    "git",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
)
_GIT_SAID_NO: Final = frozenset({1, 128})
_BUNDLE: Final = "result.bundle"
_COMMITTER: Final = {"user.name": "GIT_AUTHOR_NAME", "user.email": "GIT_AUTHOR_EMAIL"}
"""Settings of a clone by variables, which the commands of an agent's turn do not see."""


class GitRefusedError(OperationError):
    """Git cannot do what it was asked to, and could not if it were asked again."""


class _Running:
    """An attempt that runs."""

    __slots__ = ("child", "ended", "tail")

    def __init__(self) -> None:
        self.child: Child | None = None
        self.ended = asyncio.Event()
        self.tail = Tail(OUTPUT_BYTES_MAX)


class WorkJobs:
    """The attempts of one machine; calls about the attempts of one agent take turns."""

    def __init__(
        self,
        agent: AgentProcesses,
        folder: Path,
        *,
        is_ready: Callable[[], bool],
        clock: Clock,
        log: Log,
    ) -> None:
        """Keep records below `folder`; `is_ready` says whether the agent takes work now."""
        self._agent = agent
        self._records = WorkRecords(folder)
        self._is_ready = is_ready
        self._clock = clock
        self._log = log
        self._known: dict[str, Record] = {}
        self._running: dict[str, _Running] = {}
        self._turns, self._writes = Turns(asyncio.Lock), Turns(asyncio.Lock)
        self._closing = False
        self._saving: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Read the records; what an earlier controller ran has ended with it."""
        for record in await asyncio.to_thread(self._records.load):
            kept = record
            if record.status == "running":
                kept = replace(record, status="ended")
                await asyncio.to_thread(self._records.save, kept)
            self._known[work_id(record.town, record.attempt)] = kept

    async def close(self) -> None:
        """Ask what runs to end, then kill it; its records say that it was asked."""
        self._closing = True
        for running in self._running.values():
            if running.child is not None:
                running.child.send(signal.SIGTERM)
        await self._wait_all(list(self._running.values()), CLOSE_S)
        await asyncio.gather(*self._saving, return_exceptions=True)

    # ------------------------------------------------------------------------------- handlers

    async def take(self, part: WorkPart) -> None:
        """Append a part of the bundle of an attempt; one that came already changes nothing."""
        one = work_id(part.town, part.attempt)
        known = self._known.get(one)
        if known is not None and known.status != "intended":
            raise RefusedError(409, "work_started", "This attempt was started already")
        if part.offset + len(part.data) > BUNDLE_BYTES_MAX:
            raise RefusedError(409, "work_too_large", f"At most {BUNDLE_BYTES_MAX} bytes")
        async with self._turns.of(one):
            await asyncio.to_thread(self._append, one, part)

    async def start(self, order: WorkOrder) -> WorkState:
        """Start an attempt once, whatever was asked before."""
        one = work_id(order.town, order.attempt)
        async with self._turns.of(order.town, order.agent), self._turns.of(one):
            known = self._known.get(one)
            if known is not None and known.status != "intended":
                return self._state(one)
            command = self._agent.profile.work_argv
            if command is None:
                text = f"The agent {self._agent.profile.name} cannot be handed work"
                raise RefusedError(409, "work_not_offered", text)
            if not self._is_ready():
                raise RefusedError(409, "agent_not_ready", "The agent is not ready")
            record = await asyncio.to_thread(self._intend, order)
            await self._stop(order.town, order.agent, order.epoch - 1, 0)
            self._known[one] = record
            try:
                files = await self._lay_out(one, order)
                self._launch(one, record, command(self._agent.place, files))
            except (OSError, TimeoutError) as error:
                raise RefusedError(409, "work_failed", f"Not started: {brief(error)}") from error
            await self._save(one)
            await asyncio.to_thread(self._records.drop_incoming, one)
        return self._state(one)

    async def stop(self, order: WorkStop) -> None:
        """Stop an agent's attempts up to an epoch."""
        async with self._turns.of(order.town, order.agent):
            await asyncio.to_thread(self._fence_stop, order)
            await self._stop(order.town, order.agent, order.epoch, order.drain_ms / 1_000)

    def state(self, town: str, attempt: str) -> WorkState:
        """Return how an attempt is."""
        return self._state(work_id(town, attempt))

    async def poke(self, order: WorkPoke) -> None:
        """Append a line to the file of pokes of a running attempt."""
        one = work_id(order.town, order.attempt)
        if one not in self._running:
            raise RefusedError(409, "work_unknown", "This attempt does not run here")
        line = json.dumps({"at_ms": self._clock.now_ms(), "text": order.text})
        await asyncio.to_thread(self._add_line, one, f"{line}\n")

    def output(self, town: str, attempt: str) -> bytes:
        """Return the end of what an attempt wrote."""
        one = work_id(town, attempt)
        record = self._find(town, attempt)
        running = self._running.get(one)
        text = record.output if running is None else running.tail.since(0).text
        return text.encode()[-OUTPUT_BYTES_MAX:]

    async def bundle(self, town: str, attempt: str) -> WorkResult:
        """Make a bundle of what was committed since the base of an attempt."""
        record = self._find(town, attempt)
        place = self._place(work_id(town, attempt))
        clone = ("-C", f"{place}/clone")
        async with self._turns.of(record.town, record.agent):
            try:
                head = await self._git((*clone, "rev-parse", "--verify", record.branch))
                commit = head.strip()
                if commit == record.base:
                    return WorkResult(commit=commit)
                span = (record.branch, f"^{record.base}")
                await self._git((*clone, "bundle", "create", f"{place}/{_BUNDLE}", *span))
                size = await asyncio.to_thread(self._size, place)
            except GitRefusedError as error:
                raise RefusedError(409, "work_failed", f"No bundle: {brief(error)}") from error
            except (OSError, TimeoutError) as error:
                raise RefusedError(503, "work_waits", f"No bundle: {brief(error)}") from error
        if size > BUNDLE_BYTES_MAX:
            raise RefusedError(409, "work_too_large", f"The bundle has {size} bytes")
        return WorkResult(commit=commit, size=size)

    async def piece(self, town: str, attempt: str, offset: int) -> bytes:
        """Return a part of the bundle that was made last."""
        self._find(town, attempt)
        return await asyncio.to_thread(self._read, self._place(work_id(town, attempt)), offset)

    async def drop(self, town: str, attempt: str) -> None:
        """Delete what is left of an attempt that does not run, with the last one its agent's fence.

        The plane, which alone orders starts, has a fence of its own.
        """
        one = work_id(town, attempt)
        record = self._known.get(one)
        agent = "" if record is None else record.agent
        async with self._turns.of(town, agent), self._turns.of(one):
            if one in self._running:
                raise RefusedError(409, "work_runs", "This attempt runs")
            self._known.pop(one, None)
            await asyncio.to_thread(self._remove, one)
            others = ((each.town, each.agent) for each in self._known.values())
            if record is not None and (town, agent) not in set(others):
                await asyncio.to_thread(self._records.drop_fence, town, agent)

    # ------------------------------------------------------------------------------- starting

    def _intend(self, order: WorkOrder) -> Record:
        """Write the intent, unless an epoch forbids it."""
        fence = self._records.fence(order.town, order.agent)
        known = work_id(order.town, order.attempt) in self._known
        if not fence.admits(order.epoch, known=known):
            raise RefusedError(409, "work_stopped", "It was stopped, or a later one was started")
        record = Record(
            town=order.town, agent=order.agent, attempt=order.attempt, epoch=order.epoch,
            branch=order.branch, base=order.base, status="intended",
        )  # fmt: skip
        self._records.save(record)
        started = replace(fence, started=order.epoch)
        self._records.save_fence(order.town, order.agent, started)
        return record

    async def _lay_out(self, one: str, order: WorkOrder) -> WorkFiles:
        """Make the clone and the files of an attempt; raise OSError or TimeoutError."""
        place = self._place(one)
        incoming = await asyncio.to_thread(self._records.incoming, one)
        await asyncio.to_thread(self._clear, place)
        words = ["clone", "--quiet", "--branch", order.branch]
        for key, variable in _COMMITTER.items():
            if value := order.env.get(variable):
                words += ["--config", f"{key}={value}"]
        await self._git((*words, f"{incoming}/bundle", f"{place}/clone"), write=(str(incoming),))
        files = WorkFiles(
            session=one, folder=f"{place}/clone", prompt=f"{place}/prompt.md",
            env=f"{place}/env.json",
        )  # fmt: skip
        await asyncio.to_thread(self._write_files, place, order)
        return files

    def _write_files(self, place: Path, order: WorkOrder) -> None:
        tool = f"{place}/bin/{TOOL}"
        env = {
            **order.env,
            "HOLDFAST_TOOL_URL": order.tools,
            "HOLDFAST_TOOL_TOKEN": order.token,
            "HOLDFAST_TOWN": order.town,
            "HOLDFAST_TOWN_AGENT": order.agent,
            "HOLDFAST_TOWN_ROLE": order.role,
            "HOLDFAST_ATTEMPT": order.attempt,
            "HOLDFAST_POKES_FILE": f"{place}/pokes.jsonl",
            "PATH": f"{place}/bin:{self._agent.env.get('PATH', os.defpath)}",
        }
        where = f"## Where\n\n- Your clone: `{place}/clone`\n- `{TOOL}` is `{tool}`\n"
        program = Path(self._agent.place.python).with_name(TOOL)
        names = (one for one in env if one.startswith("HOLDFAST_"))
        lines = (f"export {name}={shlex.quote(env[name])}" for name in names)
        script = "\n".join(("#!/bin/sh", *lines, f'exec {shlex.quote(str(program))} "$@"', ""))
        write = partial(atomic_file.write, below=self._home)
        write(place / "prompt.md", f"{order.prompt}\n{where}")
        write(place / "env.json", json.dumps(env))
        with atomic_file.open_folder(place, below=self._home) as folder:
            os.mkdir("bin", 0o700, dir_fd=folder)
        write(place / "bin" / TOOL, script, mode=0o700)

    def _launch(self, one: str, record: Record, argv: Sequence[str]) -> None:
        """Hand the attempt over; raise OSError."""
        running = _Running()

        def line(_stream: str, text: str) -> None:
            running.tail.add(text)

        running.child = self._agent.launch(
            argv, line, partial(self._ended, one, running), on_rest=line, expendable=True
        )
        self._running[one] = running
        now = self._clock.now_ms()
        self._known[one] = replace(record, status="running", started_ms=now)
        self._log.emit("work.started", attempt=record.attempt, town=record.town)

    # --------------------------------------------------------------------------------- ending

    def _ended(self, one: str, running: _Running, code: int) -> None:
        self._running.pop(one, None)
        record = self._known[one]
        because = "asked" if record.asked or self._closing else ""
        self._known[one] = replace(
            record, status="ended", end=AttemptEnd(code=code, because=because),
            output=running.tail.since(0).text,
        )  # fmt: skip
        running.ended.set()
        self._log.emit("work.ended", attempt=record.attempt, code=code)
        task = asyncio.create_task(self._save(one), name="work")
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)

    async def _stop(self, town: str, agent: str, epoch: int, drain_s: float) -> None:
        """Ask an agent's attempts up to an epoch to end, and kill them after the drain."""
        asked = []
        for one, record in self._known.items():
            if (record.town, record.agent) != (town, agent) or record.epoch > epoch:
                continue
            running = self._running.get(one)
            if running is not None and running.child is not None:
                self._known[one] = replace(record, asked=True)
                running.child.send(signal.SIGTERM)
                asked.append(running)
        await self._wait_all(asked, drain_s)

    async def _wait_all(self, asked: list[_Running], drain_s: float) -> None:
        """Return when all have ended; what has not after the drain is killed."""
        ends = [asyncio.create_task(one.ended.wait()) for one in asked]
        if not ends:
            return
        _, late = await asyncio.wait(ends, timeout=drain_s)
        for one in asked:
            if not one.ended.is_set() and one.child is not None:
                one.child.kill()
        if late:
            await asyncio.wait(late, timeout=KILLED_S)
        for end in ends:
            end.cancel()

    def _fence_stop(self, order: WorkStop) -> None:
        fence = self._records.fence(order.town, order.agent)
        if order.epoch > fence.stopped:
            stopped = replace(fence, stopped=order.epoch)
            self._records.save_fence(order.town, order.agent, stopped)

    # ---------------------------------------------------------------------------------- files

    @property
    def _home(self) -> Path:
        return Path(self._agent.place.home)

    def _place(self, one: str) -> Path:
        """Return the folder of an attempt in the agent's home."""
        return self._home / "work" / one

    def _append(self, one: str, part: WorkPart) -> None:
        path = self._records.incoming(one) / "bundle"
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
            if part.offset > file.seek(0, os.SEEK_END):
                raise RefusedError(409, "work_gap", "The parts before this one are missing")
            file.seek(part.offset)
            file.write(part.data)
            file.truncate()

    def _clear(self, place: Path) -> None:
        """Make an empty folder in the agent's home, by steps that follow no link."""
        with atomic_file.open_folder(self._home) as home, suppress(FileExistsError):
            os.mkdir("work", 0o700, dir_fd=home)
        with atomic_file.open_folder(place.parent, below=self._home) as work:
            shutil.rmtree(place.name, ignore_errors=True, dir_fd=work)
            os.mkdir(place.name, 0o700, dir_fd=work)

    def _remove(self, one: str) -> None:
        """Delete an attempt with its clone, by steps that follow no link."""
        with (
            suppress(OSError),  # there is none, or the agent made something else of it
            atomic_file.open_folder(self._home / "work", below=self._home) as work,
        ):
            shutil.rmtree(one, ignore_errors=True, dir_fd=work)
        self._records.remove(one)

    def _add_line(self, one: str, line: str) -> None:
        path = self._place(one) / "pokes.jsonl"
        with atomic_file.open_folder(path.parent, below=self._home) as folder:
            try:
                before = atomic_file.read(folder, path.name, POKES_BYTES_MAX)
            except FileNotFoundError:
                before = b""
            if len(before) + len(line) <= POKES_BYTES_MAX:
                atomic_file.put_over(folder, path.name, before + line.encode())

    def _size(self, place: Path) -> int:
        with atomic_file.open_folder(place, below=self._home) as folder:
            return atomic_file.stat_plain(folder, _BUNDLE).st_size

    def _read(self, place: Path, offset: int) -> bytes:
        with atomic_file.open_folder(place, below=self._home) as folder:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with os.fdopen(os.open(_BUNDLE, flags, dir_fd=folder), "rb") as file:
                atomic_file.check_plain(os.fstat(file.fileno()), _BUNDLE)
                file.seek(offset)
                return file.read(PART_BYTES_MAX)

    async def _git(self, words: Sequence[str], *, write: Sequence[str] = ()) -> str:
        """Run git confined; return what it printed. Raise OSError or TimeoutError."""
        lines: list[str] = []
        code: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def ended(status: int) -> None:
            if not code.done():
                code.set_result(status)

        def line(_stream: str, text: str) -> None:
            lines[:] = [*lines[-20:], text]

        child = self._agent.launch(
            (*_GIT, *words), line, ended, on_rest=line, cwd=str(self._home), write=write
        )
        try:
            async with asyncio.timeout(GIT_S):
                status = await asyncio.shield(code)
        finally:
            child.kill()
        if status:
            text = " ".join(lines)
            message = f"git {words[0]} ended with {status}: {text[-200:]}"
            no = status in _GIT_SAID_NO and not may_pass(text)
            raise GitRefusedError(message) if no else OperationError(message)
        return "\n".join(lines)

    # -------------------------------------------------------------------------------- the rest

    def _find(self, town: str, attempt: str) -> Record:
        record = self._known.get(work_id(town, attempt))
        if record is None:
            raise RefusedError(409, "work_unknown", "This attempt was never here")
        return record

    def _state(self, one: str) -> WorkState:
        record = self._known.get(one)
        if record is None or record.status == "intended":
            return WorkState(status="unknown")
        return WorkState(
            status=record.status, started_ms=record.started_ms, asked=record.asked, end=record.end
        )

    async def _save(self, one: str) -> None:
        """Write a record as it is now; a disk that fails is logged, and it stays in memory.

        Writes of one record take turns, so that the last one on disk is the latest.
        """
        async with self._writes.of(one):
            record = self._known.get(one)
            if record is None:
                return  # it was dropped
            try:
                await asyncio.to_thread(self._records.save, record)
            except OSError as error:
                self._log.emit("work.write_failed", attempt=record.attempt, error=brief(error))
