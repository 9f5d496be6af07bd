"""A clock that runs faster than time, for parts that wait in real time."""

from __future__ import annotations

import asyncio
import time


class ScaledClock:
    """`factor` seconds of this clock pass in one of real time; `sleep` takes its milliseconds."""

    def __init__(self, factor: float) -> None:
        self.factor = factor
        self._steady = time.monotonic()
        self._now_ms = time.time() * 1_000

    def now_ms(self) -> int:
        return int(self._now_ms + self.steady_ms())

    def steady_ms(self) -> float:
        return (time.monotonic() - self._steady) * 1_000 * self.factor

    async def sleep(self, by_ms: float) -> None:
        await asyncio.sleep(by_ms / 1_000 / self.factor)
