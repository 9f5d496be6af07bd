"""The agent's command line for pairing: limited in time, memory and output kept.

Used only where nothing else gives the answer. Its output is not trusted.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from holdfast.kernel.clock import Clock
from holdfast.kernel.secret import HIDDEN, redact
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.process.children import Stream
from holdfast.machine.controller.process.commands import Bounds, Commands
from holdfast.machine.controller.process.priority_lock import Rank


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended.

    `code` is negative for a signal. `because` is timeout, memory or overtaken if we ended it, the
    last for a read that made way for urgent commands as often as allowed. `output` is its standard
    output, `errors` the redacted tail of its standard error, for the log.
    """

    code: int
    output: str
    errors: str
    took_ms: int
    because: str = ""


class CommandLine:
    """Runs the agent's command lines for pairing."""

    def __init__(
        self,
        program: Callable[[], Sequence[str]],
        commands: Commands,
        *,
        hidden: Sequence[str],
        clock: Clock,
        log: Log,
    ) -> None:
        """Begin each command with the result of `program`; remove `hidden` from its output."""
        self._program = program
        self._commands = commands
        self._hidden = tuple(text for text in hidden if text)
        self._clock = clock
        self._log = log

    async def run(self, *arguments: str) -> Ended:
        """Run an ordered command and return how it ended.

        Raise OSError if it cannot be started, TimeoutError if the lock is not free in time.
        Cancelling ends the command.
        """
        return await self._run(arguments, Rank.ORDER)

    async def look(self, *arguments: str) -> Ended:
        """Run a read-only command, again after it made way; otherwise like `run`."""
        ended = await self._run(arguments, Rank.LOOK)
        for _ in range(limits.OVERTAKEN_MAX):
            if ended.because != "overtaken":
                break
            ended = await self._run(arguments, Rank.LOOK)
        return ended

    async def _run(self, arguments: Sequence[str], rank: Rank) -> Ended:
        kept, began_ms = _Kept(), 0.0

        def argv() -> Sequence[str]:
            nonlocal began_ms
            began_ms = self._clock.steady_ms()
            return (*self._program(), *arguments)

        bounds = Bounds(limits.COMMAND_TIMEOUT_S, limits.COMMAND_BYTES_MAX)
        ran = await self._commands.run(
            argv, kept.take, bounds,
            rank=rank, wait_s=limits.LOCK_WAIT_S, gives_way=rank is Rank.LOOK,
        )  # fmt: skip
        took_ms = round(self._clock.steady_ms() - began_ms)
        self._log.emit(
            "pairing.command", what=" ".join(arguments[:2]), code=ran.code,
            because=ran.because, took_ms=took_ms,
        )  # fmt: skip
        return Ended(ran.code, kept.output, self._clean(kept.errors), took_ms, ran.because)

    def _clean(self, text: str) -> str:
        for secret in self._hidden:
            text = text.replace(secret, HIDDEN)
        return redact(text)


class _Kept:
    """What is kept of a command's output: the head of one stream, the tail of the other."""

    def __init__(self) -> None:
        self._output: list[str] = []
        self._left = limits.COMMAND_OUTPUT_CHARS_MAX
        self._errors: deque[str] = deque(maxlen=limits.COMMAND_ERROR_LINES)

    def take(self, stream: Stream, line: str) -> None:
        if stream == "stderr":
            self._errors.append(line[: limits.COMMAND_ERROR_CHARS])
        elif self._left > 0:
            self._output.append(line)
            self._left -= len(line) + 1

    @property
    def output(self) -> str:
        return "\n".join(self._output)

    @property
    def errors(self) -> str:
        return "\n".join(self._errors)[-limits.COMMAND_ERROR_CHARS :]
