"""The agent's processes, files and probes, by its profile.

It must be reachable over loopback only, and its environment must not hold the machine's
credentials.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp

from holdfast.kernel.failure import OperationError, brief
from holdfast.machine.agents.catalogue import Profile
from holdfast.machine.agents.drain import DrainWay
from holdfast.machine.agents.pairing import Place
from holdfast.machine.controller import limits
from holdfast.machine.controller.agent.secret_references import put_references
from holdfast.machine.controller.http_body import read_answer
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.process import atomic_file, orphans
from holdfast.machine.controller.process.children import (
    Child,
    ChildProcesses,
    OnLine,
    Stream,
)
from holdfast.machine.controller.process.commands import Bounds, Commands
from holdfast.machine.controller.process.port_owner import find_owner
from holdfast.machine.controller.process.priority_lock import PriorityLock, Rank
from holdfast.machine.controller.settings import Running
from holdfast.machine.controller.supervise.ports import PortTakenError, Process
from holdfast.machine.signals import signal_name
from holdfast.relay.urls import http_url
from holdfast.wire.address import LOOPBACK, Address

LineHook = Callable[[Stream, str], None]

_LINES_KEPT: Final = 20
"""Lines kept of a command's output."""


class Ran(NamedTuple):
    """How a command ended: its code, negative for a signal, and its last lines."""

    code: int
    lines: tuple[str, ...]


class AgentProcesses:
    """Starts the agent's processes and probes whether it is ready."""

    def __init__(
        self,
        profile: Profile,
        place: Place,
        running: Running,
        *,
        child_processes: ChildProcesses,
        session: aiohttp.ClientSession,
        log: Log,
    ) -> None:
        self.profile = profile
        self.place = place
        self.env = {**running.child_env, **profile.env(place), orphans.MARK: place.home}
        self._child_processes = child_processes
        self._session = session
        self._log = log
        self._session_id = 0
        self._way: DrainWay | None = None
        self._on_work_ended: Callable[[bool | None], None] = lambda _cut: None
        self.is_changing = False
        """Another version may be being given to it: nothing may run on its state meanwhile."""
        self.version: str | None = None
        self.watch_ms = limits.READY_WATCH_MS
        self.hooks: list[LineHook] = []
        self.lock = PriorityLock()
        self.commands = Commands(self.lock, self.launch)
        """Runs every command line beside the agent: each loads its whole program."""

    def prepare(self) -> None:
        """Make the agent's folders and first files; raise OSError."""
        for folder in self.profile.folders(self.place):
            atomic_file.make_folder(Path(folder))
        for name, content in self.profile.files(self.place).items():
            if not Path(name).exists():
                atomic_file.write(Path(name), content, below=Path(self.place.home))
        if self.profile.refer is not None:
            put_references(self.profile, self.place, self.env, log=self._log)

    def spawn(
        self,
        on_exit: Callable[[int | None, str | None], None],
        on_work_ended: Callable[[bool | None], None],
    ) -> Child:
        """Start the agent; raise OSError, or PortTakenError if another program has its port.

        `on_work_ended` is called with whether work was cut, at the end of a drain.
        """
        loop = asyncio.get_running_loop()
        self._child_processes.purge()
        self._free_port()
        self._way, self._on_work_ended = None, on_work_ended

        def ended(code: int) -> None:
            strays = self._child_processes.purge()
            if strays:
                self._log.emit("agent.strays_killed", count=strays)
            on_exit(*_split(code))

        def line(stream: Stream, text: str) -> None:
            self._on_line(stream, text)
            way = self._way
            if way is not None and (seen := way.read_line(text)) is not None:
                loop.call_later(way.settle_s, on_work_ended, seen[0])

        child = self.launch(self.profile.argv(self.place), line, ended)
        self._session_id = child.session
        return child

    def call_doctor(self, *, fix: bool, on_line: OnLine, on_exit: Callable[[int], None]) -> Child:
        """Start the agent's doctor; raise OSError."""
        if self.is_changing:
            raise OperationError("another version is being given to the agent")
        argv = self.profile.doctor_argv(self.place, fix)
        return self.launch(argv, on_line, on_exit, on_rest=on_line)

    def drain(self, process: Process) -> None:
        """Make the agent finish its work, in the way of its release.

        A signal that does not end it goes to the process that listens: the wrapper that some
        releases have would not pass it on, and SIGUSR1 would open its debugger.
        """
        self._way = way = self.drain_way
        if way is None:
            return
        if way.ends_too:
            process.send(way.signal)
            return
        owner = find_owner(self.place.port)
        if owner is not None and owner.pid and self._is_ours(owner.pid):
            orphans.send(owner.pid, way.signal)
        else:
            asyncio.get_running_loop().call_soon(self._on_work_ended, None)

    @property
    def drain_way(self) -> DrainWay | None:
        """Return how the agent drains, None if it cannot."""
        return None if self.profile.drain is None else self.profile.drain(self.version)

    async def run(self, argv: Sequence[str], *, timeout_s: float, write: Sequence[str] = ()) -> Ran:
        """Run a command that a start waits for; raise OSError or TimeoutError.

        It waits for a running command line without limit; `timeout_s` begins afterwards. `write`
        are folders it may write to besides the agent's.
        """
        seen: list[str] = []

        def keep(stream: Stream, line: str) -> None:
            self._on_line(stream, line)
            if stream == "stdout":
                seen[:] = [*seen[-_LINES_KEPT:], line]

        ran = await self._run(argv, keep, rank=Rank.START, timeout_s=timeout_s, write=write)
        return Ran(ran, tuple(seen))

    async def _run(
        self,
        argv: Sequence[str],
        on_line: OnLine,
        *,
        rank: Rank,
        timeout_s: float,
        cwd: str = "",
        write: Sequence[str] = (),
    ) -> int:
        """Run a program under the lock; return the exit code. Raise OSError or TimeoutError."""
        bounds = Bounds(timeout_s)
        ran = await self.commands.run(
            lambda: argv, on_line, bounds, rank=rank, cwd=cwd, write=write
        )
        if ran.because:
            raise TimeoutError
        return ran.code

    async def watch(self, on_probe: Callable[[bool, bool], None]) -> None:
        """Probe until cancelled; report (ready, answered) each time."""
        was_ready = False
        while True:
            ready, answered = await self._probe()
            if ready and not was_ready and not await self._holds_port():
                self._log.emit("agent.foreign_answer", port=self.place.port)
                ready = answered = False
            on_probe(ready, answered)
            pause_ms = limits.READY_POLL_MS
            if was_ready or ready:
                pause_ms = self.watch_ms if ready else min(self.watch_ms, limits.READY_DOUBT_MS)
            was_ready = was_ready or ready
            await asyncio.sleep(pause_ms / 1_000)

    def use(self, install: str) -> None:
        """Use the installation at `install` from the next start on."""
        self.place = replace(self.place, install=install)
        self.env = {**self.env, **self.profile.env(self.place)}

    def _free_port(self) -> None:
        """Raise PortTakenError if another program listens on the agent's port; kill our orphans."""
        owner = find_owner(self.place.port)
        if owner is None:
            return
        text = f"port {self.place.port} is held by {owner}"
        ours = owner.pid != 0 and orphans.belongs(owner.pid, self.place.home)
        if ours:
            orphans.kill(owner.pid)
        raise PortTakenError(text, freed=ours)

    async def _holds_port(self) -> bool:
        """Return whether the agent holds the port; True if that cannot be determined."""
        owner = await asyncio.to_thread(find_owner, self.place.port)
        if owner is None or not owner.pid:
            return True
        return self._is_ours(owner.pid)

    def _is_ours(self, pid: int) -> bool:
        """Return whether a process carries the agent's mark or is in its session."""
        if orphans.belongs(pid, self.place.home):
            return True
        return orphans.session_of(pid) == self._session_id

    def end_orphans(self) -> int:
        """Kill what an earlier controller's agent left; return the number of processes."""
        return orphans.end_orphans(self.place.home, spared=lambda: self._child_processes.sessions)

    async def query_version(self) -> str:
        """Return what `--version` prints; raise OSError or TimeoutError."""
        printed: list[str] = []

        def keep(stream: Stream, line: str) -> None:
            if stream == "stdout" and sum(map(len, printed)) < limits.VERSION_TEXT_MAX:
                printed.append(line)

        # Runs before the agent's own folders are made, and needs none of them.
        code = await self._run(
            self.profile.version_argv(self.place), keep,
            rank=Rank.BRIEF, timeout_s=limits.VERSION_TIMEOUT_S, cwd="/",
        )  # fmt: skip
        if code != 0:
            message = f"--version ended with {code}"
            raise OperationError(message)
        return "\n".join(printed)

    async def query_status(self) -> tuple[int, bytes]:
        """Return status and body of the agent's own readiness; raise OSError or TimeoutError."""
        return await self._get(self.profile.status_path)

    async def is_ready(self) -> bool:
        """Probe now; return whether the agent reports that it can work."""
        return (await self._probe())[0]

    async def _probe(self) -> tuple[bool, bool]:
        """Return whether it is ready, and whether it answered at all."""
        try:
            status, body = await self._get(self.profile.ready_path)
        except (OSError, TimeoutError):
            return False, False
        return status == 200 and _is_object(body), True  # noqa: PLR2004

    async def _get(self, path: str) -> tuple[int, bytes]:
        """Return status and body; the body is empty unless its header says JSON."""
        url = http_url(Address(LOOPBACK, self.place.port), path)
        timeout = aiohttp.ClientTimeout(total=limits.PROBE_TIMEOUT_S)
        try:
            async with self._session.get(url, timeout=timeout, allow_redirects=False) as answer:
                is_json = answer.content_type == "application/json"
                body = await read_answer(answer, limits.PROBE_BYTES_MAX) if is_json else b""
                return answer.status, body
        except aiohttp.ClientError as error:
            raise OperationError(brief(error)) from error

    def launch(
        self,
        argv: Sequence[str],
        on_line: OnLine,
        on_exit: Callable[[int], None],
        *,
        on_rest: OnLine | None = None,
        cwd: str = "",
        write: Sequence[str] = (),
        expendable: bool = False,
    ) -> Child:
        """Start a program in the agent's environment and folder, or in `cwd`; raise OSError.

        Output without a final newline goes to `on_rest`, or to the log. It may write to the agent's
        home and to `write`. An `expendable` one is killed before the agent when memory runs out.
        """
        return self._child_processes.launch(
            argv,
            env=self.env,
            cwd=cwd or self.place.workspace,
            on_line=on_line,
            on_exit=on_exit,
            on_rest=on_rest or self._rest,
            read=(self.place.install,) if self.place.install else (),
            write=(self.place.home, *write),
            expendable=expendable,
        )

    def _rest(self, stream: Stream, text: str) -> None:
        """Log an unfinished line, without passing it to the hooks."""
        self._log.emit("agent.line", stream=stream, line=text, unfinished=True)

    def _on_line(self, stream: Stream, line: str) -> None:
        self._log.emit("agent.line", stream=stream, line=line)
        for hook in self.hooks:
            try:
                hook(stream, line)
            except Exception as error:  # noqa: BLE001  one bad hook must not cost the next line
                self._log.emit("agent.hook_failed", error=brief(error))


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except (ValueError, RecursionError):
        return False


def _split(code: int) -> tuple[int | None, str | None]:
    """Return the exit code and the signal's name; one of them is None."""
    return (code, None) if code >= 0 else (None, signal_name(-code))
