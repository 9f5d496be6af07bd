"""The agent's command lines: each takes the turn, is bounded, ended as a group, and gives it back.

A command of OpenClaw loads its whole program: seconds of both processors and up to 1.7 GB. So only
one runs at a time, whoever wants it, and no way out of here leaves one running or keeps the turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

from holdfast.machine.controller.limits import CLOSE_TIMEOUT_S
from holdfast.machine.controller.process.children import OnExit, OnLine
from holdfast.machine.controller.process.priority_lock import PriorityLock, Rank

LOOK_S: Final = 0.25
"""From one look at a running command's memory to the next."""

KILLED_S: Final = 10.0
"""How long the turn waits for the end of a command that was killed."""

_PAGE: Final = 4_096
_KILLED: Final = -9

P = TypeVar("P")


class Running(Protocol):
    """A process that was started."""

    @property
    def session(self) -> int:
        """Return the id of its first process, of which all others descend."""
        ...

    def kill(self) -> None:
        """End the whole group."""
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
        """Start it, in `cwd` or the agent's folder; raise OSError when it cannot be made.

        It may write to the agent's home and to `write`. One that is `expendable` is ended before
        the agent when the machine runs out of memory.
        """
        ...


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one command may take.

    With `bytes_max` (0: no bound), of it and what it starts, it is also the first that the kernel
    ends when memory runs out.
    """

    timeout_s: float
    bytes_max: int = 0


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended: `code` is negative for a signal.

    `because` is timeout, memory or overtaken when we ended it, the last for one that made room.
    """

    code: int
    because: str = ""


class Commands:
    """Runs command lines of one agent, one after another."""

    def __init__(self, turn: PriorityLock, launch: Launch) -> None:
        """Start programs by `launch`, in the one `turn` of this agent."""
        self._turn = turn
        self._launch = launch

    async def run(
        self,
        argv: Callable[[], Sequence[str]],
        on_line: OnLine,
        bounds: Bounds,
        *,
        rank: Rank,
        turn_s: float | None = None,
        gives_way: bool = False,
        cwd: str = "",
        write: Sequence[str] = (),
    ) -> Ran:
        """Run what `argv` returns once it has the turn; return how it ended, whatever ended it.

        `gives_way` lets it be ended for somebody urgent. Raise OSError when it cannot be made,
        TimeoutError when its turn does not come within `turn_s`. Cancelled, it ends the command.
        """
        overtaken = asyncio.get_running_loop().create_future() if gives_way else None
        give_way = None if overtaken is None else partial(overtaken.set_result, 0)
        async with asyncio.timeout(turn_s):
            await self._turn.take(rank, give_way)
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
            self._turn.give_back()
            raise
        because = ""
        try:
            because = await _watch(child, done, overtaken, bounds)
        finally:
            child.kill()
            self._turn.give_back_after(done, within_s=KILLED_S)
            if not done.done():
                await asyncio.wait({done}, timeout=CLOSE_TIMEOUT_S)
        return Ran(done.result() if done.done() else _KILLED, because)

    def begin(self, start: Callable[[OnExit], P], on_exit: OnExit) -> P | None:
        """Start something now if nobody has the turn, which it gives back at its end.

        Return None where somebody has it; raise what `start` raises.
        """
        if not self._turn.take_now():
            return None

        def ended(code: int) -> None:
            self._turn.give_back()
            on_exit(code)

        try:
            return start(ended)
        except BaseException:
            self._turn.give_back()
            raise

    @asynccontextmanager
    async def turn(self, rank: Rank, *, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Hold the turn for something that is more than a command; `on_wait` hears of a wait."""
        if not self._turn.take_now():
            on_wait()
            await self._turn.take(rank)
        try:
            yield
        finally:
            self._turn.give_back()


async def _watch(
    child: Running, done: asyncio.Future[int], overtaken: asyncio.Future[int] | None, bounds: Bounds
) -> str:
    """Return why the command must be ended, empty when it ended by itself."""
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
        if bounds.bytes_max and _resident(child.session) > bounds.bytes_max:
            return "memory"


def _resident(pid: int) -> int:
    """Return the bytes that a process and its descendants hold; 0 when it has ended."""
    found, left = 0, [pid]
    while left:
        current = Path("/proc", str(left.pop()))
        try:
            found += int((current / "statm").read_text().split()[1]) * _PAGE
            for task in (current / "task").iterdir():
                left += map(int, (task / "children").read_text().split())
        except (OSError, ValueError, IndexError):
            continue  # it ended in between
    return found
