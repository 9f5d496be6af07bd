"""The agent's command line: one at a time, bounded in time, memory and what is kept of its output.

A command of OpenClaw loads its whole program: seconds of both processors and up to 1.7 GB. So it
waits its turn, is the first that the kernel ends when memory runs out, is ended when it takes more
than its share, and is never run for what can be had otherwise. Its output is not to be trusted.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from holdfast.kernel.clock import Clock
from holdfast.kernel.secret import HIDDEN, redact
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.process.children import OnLine, Stream
from holdfast.machine.controller.process.priority_lock import Rank, Turn

_PAGE: Final = 4_096


class Running(Protocol):
    """A process that was started."""

    @property
    def pid(self) -> int:
        """Return its id, which is its group's too."""
        ...

    def kill(self) -> None:
        """End the whole group."""
        ...


class Launch(Protocol):
    """Starts a program in the agent's environment."""

    def __call__(
        self, argv: Sequence[str], on_line: OnLine, on_exit: Callable[[int], None]
    ) -> Running:
        """Start it; raise OSError when it cannot be made."""
        ...


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    `code` is negative for a signal. `because` is timeout, memory or overtaken when we ended it, the
    last for a look that made room for something urgent as often as it may. `output` is
    its standard output, `errors` the redacted tail of its standard error, for the log.
    """

    code: int
    output: str
    errors: str
    took_ms: int
    because: str = ""


class Commands:
    """Runs the agent's command lines, one after another."""

    def __init__(
        self,
        program: Callable[[], Sequence[str]],
        launch: Launch,
        *,
        turn: Turn,
        hidden: Sequence[str],
        clock: Clock,
        log: Log,
    ) -> None:
        """Begin each command with what `program` returns; keep no text of `hidden`.

        `turn` is shared with whoever else runs command lines of this agent.
        """
        self._program = program
        self._launch = launch
        self._hidden = tuple(text for text in hidden if text)
        self._clock = clock
        self._log = log
        self._turn = turn

    async def run(self, *arguments: str) -> Ended:
        """Run one that was ordered and return how it ended.

        Raise OSError when it cannot be made, TimeoutError when its turn does not come. Cancelled,
        it ends the command.
        """
        return await self._take_turn(Rank.ORDER, arguments, overtaken=None)

    async def look(self, *arguments: str) -> Ended:
        """Run one that changes nothing, and again where it made room; else as `run`."""
        ended = await self._look(arguments)
        for _ in range(limits.OVERTAKEN_MAX):
            if ended.because != "overtaken":
                break
            ended = await self._look(arguments)
        return ended

    async def _look(self, arguments: Sequence[str]) -> Ended:
        overtaken: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        return await self._take_turn(Rank.LOOK, arguments, overtaken=overtaken)

    async def _take_turn(
        self, rank: Rank, arguments: Sequence[str], *, overtaken: asyncio.Future[int] | None
    ) -> Ended:
        give_way = None if overtaken is None else partial(overtaken.set_result, 0)
        async with asyncio.timeout(limits.TURN_S):
            await self._turn.take(rank, give_way)
        ended = await self._run((*self._program(), *arguments), overtaken)
        self._log.emit(
            "pairing.command", what=" ".join(arguments[:2]), code=ended.code,
            because=ended.because, took_ms=ended.took_ms,
        )  # fmt: skip
        return ended

    async def _run(self, argv: Sequence[str], overtaken: asyncio.Future[int] | None) -> Ended:
        """Run it in the turn that was taken, and give that back."""
        began_ms = self._clock.steady_ms()
        kept = _Kept()
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def ended(code: int) -> None:
            if not done.done():
                done.set_result(code)

        try:
            child = self._launch(argv, kept.take, ended)
        except BaseException:
            self._turn.give_back()
            raise
        try:
            _offer_to_the_kernel(child.pid)
            because = await self._watch(child, done, overtaken, began_ms)
            code = await asyncio.shield(done)
        except BaseException:
            child.kill()
            raise
        finally:
            self._turn.give_back_after(done, within_s=limits.KILLED_S)
        took_ms = round(self._clock.steady_ms() - began_ms)
        return Ended(code, kept.output, self._clean(kept.errors), took_ms, because)

    async def _watch(
        self, child: Running, done: asyncio.Future[int],
        overtaken: asyncio.Future[int] | None, began_ms: float,
    ) -> str:  # fmt: skip
        """Return why the command was ended, empty when it ended by itself."""
        awaited = {done} if overtaken is None else {done, overtaken}
        while True:
            await asyncio.wait(
                awaited, timeout=limits.COMMAND_LOOK_S, return_when=asyncio.FIRST_COMPLETED
            )
            if done.done():
                return ""
            because = ""
            if overtaken is not None and overtaken.done():
                because = "overtaken"
            elif self._clock.steady_ms() - began_ms > limits.COMMAND_TIMEOUT_S * 1_000:
                because = "timeout"
            elif _resident(child.pid) > limits.COMMAND_BYTES_MAX:
                because = "memory"
            if because:
                child.kill()
                return because

    def _clean(self, text: str) -> str:
        for secret in self._hidden:
            text = text.replace(secret, HIDDEN)
        return redact(text)


class _Kept:
    """What is kept of a command's output: the head of one stream, the tail of the other."""

    def __init__(self) -> None:
        self._output: list[str] = []
        self._room = limits.COMMAND_OUTPUT_CHARS_MAX
        self._errors: deque[str] = deque(maxlen=limits.COMMAND_ERROR_LINES)

    def take(self, stream: Stream, line: str) -> None:
        if stream == "stderr":
            self._errors.append(line[: limits.COMMAND_ERROR_CHARS])
        elif self._room > 0:
            self._output.append(line)
            self._room -= len(line) + 1

    @property
    def output(self) -> str:
        return "\n".join(self._output)

    @property
    def errors(self) -> str:
        return "\n".join(self._errors)[-limits.COMMAND_ERROR_CHARS :]


def _offer_to_the_kernel(pid: int) -> None:
    """Let it be ended before the agent when the machine runs out of memory."""
    try:
        Path(f"/proc/{pid}/oom_score_adj").write_text("1000")
    except OSError:
        return  # it has ended already, or this kernel does not offer it


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
