"""The agent's command lines: each takes the lock, is limited, and is killed as a group.

A command of OpenClaw loads its whole program: seconds of both processors and up to 1.7 GB. So only
one runs at a time, and no way out of here leaves one running or keeps the lock.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar

from holdfast.machine.controller.limits import CLOSE_TIMEOUT_S
from holdfast.machine.controller.process.children import OnExit, OnLine
from holdfast.machine.controller.process.priority_lock import PriorityLock, Rank
from holdfast.machine.controller.process.tree import resident

LOOK_S: Final = 0.25
"""Time between two checks of a running command's memory."""

KILLED_S: Final = 10.0
"""How long the lock waits for the end of a killed command."""

_KILLED: Final = -9

P = TypeVar("P")


class Running(Protocol):
    """A started process."""

    @property
    def session(self) -> int:
        """Return the id of its first process, the ancestor of all others."""
        ...

    def kill(self) -> None:
        """Kill the whole group."""
        ...


class Launch(Protocol):
    """Starts a program in the agent's environment."""

    def __call__(
        self,
        argv: Sequence[str],
        on_line: OnLine,
        on_exit: OnExit,
        *,
        cwd: str = "",
        write: Sequence[str] = (),
        expendable: bool = False,
    ) -> Running:
        """Start it in `cwd` or the agent's folder; raise OSError.

        It may write to the agent's home and to `write`. An `expendable` one is killed before the
        agent when memory runs out.
        """
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """Limits of one command.

    With `bytes_max` (0: no limit), for it and its children, it is also the first that the kernel
    kills when memory runs out.
    """

    timeout_s: float
    bytes_max: int = 0


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended: `code` is negative for a signal.

    `because` is timeout, memory or overtaken if we ended it, the last if it made way.
    """

    code: int
    because: str = ""


class Commands:
    """Runs command lines of one agent, one at a time."""

    def __init__(self, lock: PriorityLock, launch: Launch) -> None:
        """Start programs by `launch`, under this agent's only `lock`."""
        self._lock = lock
        self._launch = launch

    async def run(
        self,
        argv: Callable[[], Sequence[str]],
        on_line: OnLine,
        bounds: Bounds,
        *,
        rank: Rank,
        wait_s: float | None = None,
        gives_way: bool = False,
        cwd: str = "",
        write: Sequence[str] = (),
    ) -> Ran:
        """Run what `argv` returns once it has the lock; return how it ended.

        `gives_way` allows killing it for an urgent command. Raise OSError if it cannot be started,
        TimeoutError if the lock is not free within `wait_s`. Cancelling ends the command.
        """
        overtaken = asyncio.get_running_loop().create_future() if gives_way else None
        give_way = None if overtaken is None else partial(overtaken.set_result, 0)
        async with asyncio.timeout(wait_s):
            await self._lock.take(rank, give_way)
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def ended(code: int) -> None:
            if not done.done():
                done.set_result(code)

        try:
            expendable = bool(bounds.bytes_max)
            child = self._launch(
                argv(), on_line, ended, cwd=cwd, write=write, expendable=expendable
            )
        except BaseException:
            self._lock.give_back()
            raise
        because = ""
        try:
            because = await _watch(child, done, overtaken, bounds)
        finally:
            child.kill()
            self._lock.give_back_after(done, within_s=KILLED_S)
            if not done.done():
                await asyncio.wait({done}, timeout=CLOSE_TIMEOUT_S)
        return Ran(done.result() if done.done() else _KILLED, because)

    def begin(self, start: Callable[[OnExit], P], on_exit: OnExit) -> P | None:
        """Start something now if the lock is free; it is released at the end of the process.

        Return None if it is taken; raise what `start` raises.
        """
        if not self._lock.take_now():
            return None

        def ended(code: int) -> None:
            self._lock.give_back()
            on_exit(code)

        try:
            return start(ended)
        except BaseException:
            self._lock.give_back()
            raise

    @asynccontextmanager
    async def hold(self, rank: Rank, *, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Hold the lock for more than a command; `on_wait` is called before a wait."""
        if not self._lock.take_now():
            on_wait()
            await self._lock.take(rank)
        try:
            yield
        finally:
            self._lock.give_back()


async def _watch(
    child: Running, done: asyncio.Future[int], overtaken: asyncio.Future[int] | None, bounds: Bounds
) -> str:
    """Return why the command must be killed, empty if it ended by itself."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + bounds.timeout_s
    awaited = {done} if overtaken is None else {done, overtaken}
    while True:
        wait_s = min(LOOK_S, max(until_s - loop.time(), 0))
        await asyncio.wait(awaited, timeout=wait_s, return_when=asyncio.FIRST_COMPLETED)
        if done.done():
            return ""
        if overtaken is not None and overtaken.done():
            return "overtaken"
        if loop.time() >= until_s:
            return "timeout"
        if bounds.bytes_max and resident(child.session)[0] > bounds.bytes_max:
            return "memory"
