"""What all that waits to be written has in common: the loop, the rests of a roll-up, the counts."""

from __future__ import annotations

import abc
import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from msgspec import Struct

from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.log import Log
from holdfast.telemetry.limits import RETRY_CAP_MS, RETRY_FIRST_MS, SETTLE_MIN_MS, SETTLE_SHARE


class Loss(Struct, frozen=True, kw_only=True):
    """What a sink has done so far: rows written, waiting, dropped for want of room, refused.

    `failures` counts failed writes, which lose nothing by themselves.
    """

    written: int
    waiting: int
    dropped: int
    poisoned: int
    failures: int


@dataclass(slots=True)
class Tally:
    """Counts of a sink, but for what waits."""

    written: int = 0
    dropped: int = 0
    poisoned: int = 0
    failures: int = 0

    def loss(self, waiting: int) -> Loss:
        """Return them with what waits."""
        return Loss(
            written=self.written,
            waiting=waiting,
            dropped=self.dropped,
            poisoned=self.poisoned,
            failures=self.failures,
        )


def _fields(loss: Loss) -> dict[str, object]:
    """Return the counts as fields of a line in the log."""
    return {name: getattr(loss, name) for name in Loss.__struct_fields__}


class WriteLoop:
    """Writes each `flush_ms` until it is stopped, waiting longer after each failure in a row."""

    def __init__(self, *, flush_ms: int) -> None:
        self._flush_ms = flush_ms
        self._backoff = Backoff(first_ms=RETRY_FIRST_MS, cap_ms=RETRY_CAP_MS)
        self._stopping = asyncio.Event()

    @property
    def is_stopping(self) -> bool:
        """Return whether this is the last write."""
        return self._stopping.is_set()

    async def run(
        self, write: Callable[[], Awaitable[None]], failed: Callable[[Exception], None]
    ) -> None:
        """Write until stopped; `failed` is told of what a write raised."""
        in_a_row = 0
        while not self._stopping.is_set():
            wait_ms = self._backoff.delay_ms(in_a_row) if in_a_row else self._flush_ms
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait_ms / 1_000)
            try:
                await write()
                in_a_row = 0
            except Exception as error:  # noqa: BLE001  whatever it was, it is written again
                in_a_row += 1
                failed(error)

    def stop(self) -> None:
        """Have `run` write once more and return; a write is never broken off half-way."""
        self._stopping.set()


class Settling:
    """Brings a roll-up up to date, resting in proportion to what that costs."""

    def __init__(self, settle: Callable[[int], Awaitable[None]], clock: Clock) -> None:
        """Settle by `settle`, which is given the time in ms since the epoch."""
        self._settle = settle
        self._clock = clock
        self._at = 0.0

    async def once(self) -> None:
        """Settle, unless it rests."""
        began = self._clock.steady_ms()
        if began < self._at:
            return
        await self._settle(self._clock.now_ms())
        took = self._clock.steady_ms() - began
        self._at = began + max(SETTLE_MIN_MS, took * SETTLE_SHARE)


class Sink(abc.ABC):
    """Points on their way to a store with a roll-up; a subclass keeps them, and drops the oldest.

    A store that is slow, failing or absent changes nothing for who offers them.
    """

    def __init__(
        self,
        settle: Callable[[int], Awaitable[None]],
        *,
        clock: Clock,
        log: Log,
        flush_ms: int,
        name: str,
    ) -> None:
        """Write and settle each `flush_ms`; `name` begins lines of the log."""
        self._log = log
        self._name = name
        self._loop = WriteLoop(flush_ms=flush_ms)
        self._settling = Settling(settle, clock)
        self._tally = Tally()
        self._said = 0
        self._lock = asyncio.Lock()

    @property
    @abc.abstractmethod
    def waiting(self) -> int:
        """Return how many points wait."""

    @abc.abstractmethod
    async def flush(self) -> None:
        """Write what waits; on failure it waits on, and the error is raised."""

    def loss(self) -> Loss:
        """Return what was written, waits, and was lost."""
        return self._tally.loss(self.waiting)

    async def run(self) -> None:
        """Write and settle until stopped."""
        await self._loop.run(self._flush_and_settle, self._failed)

    def stop(self) -> None:
        """Have `run` write once more and return."""
        self._loop.stop()

    def _refused(self, error: Exception) -> None:
        """Count a point that the store can never take."""
        self._tally.poisoned += 1
        self._log.warning(f"{self._name}.refused", error=brief(error))

    async def _flush_and_settle(self) -> None:
        try:
            await self.flush()
            if not self._loop.is_stopping:
                await self._settling.once()
        finally:
            if self._tally.dropped > self._said:
                self._said = self._tally.dropped
                self._log.warning(f"{self._name}.dropped", **_fields(self.loss()))

    def _failed(self, error: Exception) -> None:
        self._tally.failures += 1
        self._log.warning(f"{self._name}.not_written", error=brief(error), **_fields(self.loss()))
