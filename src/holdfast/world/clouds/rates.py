"""Token buckets by key, as a provider counts requests.

Full buckets are dropped, so that ten thousand idle machines cost nothing. Used by the simulated
cloud to refuse, and fit for a client that prefers to wait. Time is only ever an argument.
"""

from __future__ import annotations

from typing import Final

SWEEP_AT_LEAST: Final = 1_024
"""Buckets held before full ones are dropped."""


class Buckets:
    """One bucket per key: `burst` tokens, refilled at `per_s` a second."""

    __slots__ = ("_burst", "_levels", "_per_ms", "_sweep_at")

    def __init__(self, *, per_s: float, burst: int) -> None:
        self._per_ms = per_s / 1_000
        self._burst = burst
        self._levels: dict[str, tuple[float, int]] = {}
        self._sweep_at = SWEEP_AT_LEAST

    def __len__(self) -> int:
        """Return how many buckets may not be full."""
        return len(self._levels)

    def take(self, key: str, *, now_ms: int) -> int:
        """Take one token; return 0, or the milliseconds until there will be one."""
        level = self._level(key, now_ms)
        if level < 1.0:
            self._levels[key] = (level, now_ms)
            return max(1, round((1.0 - level) / self._per_ms))
        self._levels[key] = (level - 1.0, now_ms)
        if len(self._levels) >= self._sweep_at:
            self._sweep(now_ms)
        return 0

    def _level(self, key: str, now_ms: int) -> float:
        level, at_ms = self._levels.get(key, (float(self._burst), now_ms))
        return min(float(self._burst), level + max(0, now_ms - at_ms) * self._per_ms)

    def _sweep(self, now_ms: int) -> None:
        full = [key for key in self._levels if self._level(key, now_ms) >= self._burst]
        for key in full:
            del self._levels[key]
        self._sweep_at = max(SWEEP_AT_LEAST, 2 * len(self._levels))
