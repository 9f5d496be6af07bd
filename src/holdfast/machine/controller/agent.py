"""The agent in this machine: its processes, its files, its probes, by its profile.

It must never be reached but over loopback, and its environment must not hold the machine's own
credentials.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp

from holdfast.machine.agents.place import Place
from holdfast.machine.agents.profiles import Profile
from holdfast.machine.controller import leftovers, limits
from holdfast.machine.controller.answer import read_answer
from holdfast.machine.controller.child import Child, Nursery, OnLine, Stream, signal_name
from holdfast.machine.controller.environment import Running
from holdfast.machine.controller.log import Log

LineHook = Callable[[Stream, str], None]


class AgentProcesses:
    """Makes the agent's processes and asks whether it is ready."""

    def __init__(
        self,
        profile: Profile,
        place: Place,
        running: Running,
        *,
        nursery: Nursery,
        session: aiohttp.ClientSession,
        log: Log,
    ) -> None:
        """Run `profile` at `place`."""
        self.profile = profile
        self.place = place
        self._env = {**running.child_env, **profile.env(place), leftovers.MARK: place.home}
        self._nursery = nursery
        self._session = session
        self._log = log
        self.hooks: list[LineHook] = []

    def prepare(self) -> None:
        """Make the agent's folders and first files; raise OSError when that fails."""
        for folder in self.profile.folders(self.place):
            Path(folder).mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, content in self.profile.files(self.place).items():
            if not Path(name).exists():
                write_file(Path(name), content)

    def spawn(self, on_exit: Callable[[int | None, str | None], None]) -> Child:
        """Start the agent; raise OSError when it cannot be made."""

        def ended(code: int) -> None:
            strays = self._nursery.purge()
            if strays:
                self._log.emit("agent.strays_killed", count=strays)
            on_exit(*_split(code))

        self._nursery.purge()
        return self._launch(self.profile.argv(self.place), self._line, ended)

    def mend(self, on_exit: Callable[[], None]) -> Child:
        """Start the agent's repair, bounded in time; raise OSError when it cannot be made."""
        assert self.profile.mend_argv is not None, "the policy mends only what can be mended"
        loop = asyncio.get_running_loop()

        def ended(code: int) -> None:
            limit.cancel()
            self._log.emit("agent.mend_exited", code=code)
            on_exit()

        child = self._launch(self.profile.mend_argv(self.place), self._line, ended)
        limit = loop.call_later(limits.MEND_TIMEOUT_S, child.kill)
        return child

    async def watch(self, on_ready: Callable[[bool], None]) -> None:
        """Probe until cancelled; tell each change."""
        ready, misses = False, 0
        while True:
            if await self._probe():
                misses = 0
                if not ready:
                    ready = True
                    on_ready(True)  # noqa: FBT003  a callback that carries one fact
            else:
                misses += 1
                if ready and misses >= limits.READY_MISSES:
                    ready = False
                    on_ready(False)  # noqa: FBT003
            pause_ms = limits.READY_WATCH_MS if ready else limits.READY_POLL_MS
            await asyncio.sleep(pause_ms / 1_000)

    async def ask_version(self) -> str:
        """Return what `--version` prints; raise OSError or TimeoutError."""
        printed: list[str] = []
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def keep(stream: Stream, line: str) -> None:
            if stream == "stdout" and sum(map(len, printed)) < limits.VERSION_TEXT_MAX:
                printed.append(line)

        def ended(code: int) -> None:
            if not done.done():
                done.set_result(code)

        child = self._launch(self.profile.version_argv(self.place), keep, ended)
        try:
            async with asyncio.timeout(limits.VERSION_TIMEOUT_S):
                code = await done
        finally:
            child.kill()
        if code != 0:
            message = f"--version ended with {code}"
            raise OSError(message)
        return "\n".join(printed)

    async def ask_status(self) -> tuple[int, bytes]:
        """Return status and body of the agent's own readiness; raise OSError or TimeoutError."""
        return await self._get(self.profile.status_path)

    async def _probe(self) -> bool:
        try:
            status, body = await self._get(self.profile.ready_path)
        except (OSError, TimeoutError):
            return False
        return status == 200 and _is_object(body)  # noqa: PLR2004

    async def _get(self, path: str) -> tuple[int, bytes]:
        """Return status and body; a body that is not JSON by its header comes back empty."""
        url = f"http://127.0.0.1:{self.place.port}{path}"
        timeout = aiohttp.ClientTimeout(total=limits.PROBE_TIMEOUT_S)
        try:
            async with self._session.get(url, timeout=timeout, allow_redirects=False) as answer:
                json_said = answer.content_type == "application/json"
                body = await read_answer(answer, limits.PROBE_BYTES_MAX) if json_said else b""
                return answer.status, body
        except aiohttp.ClientError as error:
            raise OSError(str(error)) from error

    def _launch(
        self, argv: Sequence[str], on_line: OnLine, on_exit: Callable[[int], None]
    ) -> Child:
        return self._nursery.launch(
            argv,
            env=self._env,
            cwd=self.place.workspace,
            on_line=on_line,
            on_exit=on_exit,
            on_rest=self._rest,
        )

    def _rest(self, stream: Stream, text: str) -> None:
        """Log what a process left unfinished; it is no line, so the hooks do not get it."""
        self._log.emit("agent.line", stream=stream, line=text, unfinished=True)

    def _line(self, stream: Stream, line: str) -> None:
        self._log.emit("agent.line", stream=stream, line=line)
        for hook in self.hooks:
            try:
                hook(stream, line)
            except Exception as error:  # noqa: BLE001  one bad hook must not cost the next line
                self._log.emit("agent.hook_failed", error=repr(error))


def write_file(path: Path, content: str) -> None:
    """Write a file of mode 0600 so that no reader ever sees half of it."""
    fresh = path.with_name(f"{path.name}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    fresh.replace(path)


def _is_object(body: bytes) -> bool:
    try:
        return isinstance(json.loads(body), dict)
    except ValueError:
        return False


def _split(code: int) -> tuple[int | None, str | None]:
    """Return the exit code or the signal's name, the other one being None."""
    return (code, None) if code >= 0 else (None, signal_name(-code))
