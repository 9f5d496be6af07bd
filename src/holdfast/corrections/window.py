"""A sliding window of rows a minute, by brain. Pure.

A sliding window instead of a token bucket: a full bucket lets twice its size pass in the first
minute. Rows of one second leave together, at the end of that second's minute, so a returned wait
is never too short and may be up to a second too long.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from holdfast.corrections.limits import WINDOW_GRAIN_MS, WINDOW_MS

WINDOWS_SWEPT: Final = 10_000
"""Windows beyond which those of idle brains are removed."""


class Window:
    """The rows of one brain; times are those of the steady clock, in ms."""

    __slots__ = ("_most", "_sent", "_total")

    def __init__(self, most: int) -> None:
        """Allow `most` rows in any minute."""
        self._most = most
        self._sent: deque[list[int]] = deque()
        self._total = 0

    def take(self, rows: int, now_ms: int) -> int:
        """Count rows and return 0, or count none and return the wait, in milliseconds.

        More rows than `most` never fit: the caller must bound them.
        """
        wait_ms = self.wait_ms(rows, now_ms)
        if not wait_ms:
            self._note(rows, now_ms)
        return wait_ms

    def wait_ms(self, rows: int, now_ms: int) -> int:
        """Return the wait until there is room for rows, in milliseconds, without counting."""
        self._forget(now_ms)
        over = self._total + rows - self._most
        if over <= 0:
            return 0
        leaving = 0
        for at_ms, count in self._sent:
            leaving += count
            if leaving >= over:
                return max(1, at_ms + WINDOW_MS - now_ms)
        return WINDOW_MS

    def _forget(self, now_ms: int) -> None:
        while self._sent and self._sent[0][0] + WINDOW_MS <= now_ms:
            self._total -= self._sent.popleft()[1]

    def _note(self, rows: int, now_ms: int) -> None:
        if rows == 0:
            return
        # Dated to the end of its second, so that no row leaves the window early.
        at_ms = (now_ms // WINDOW_GRAIN_MS + 1) * WINDOW_GRAIN_MS
        self._total += rows
        if self._sent and self._sent[-1][0] == at_ms:
            self._sent[-1][1] += rows
        else:
            self._sent.append([at_ms, rows])

    def idle(self, now_ms: int) -> bool:
        """Return whether the window is empty."""
        self._forget(now_ms)
        return not self._sent


class Windows:
    """A window for each of many brains; those of idle brains are removed."""

    __slots__ = ("_each", "_most", "_sweep_at")

    def __init__(self, most: int) -> None:
        """Allow each brain `most` rows in any minute."""
        self._most = most
        self._each: dict[int, Window] = {}
        self._sweep_at = WINDOWS_SWEPT

    def wait_ms(self, brain: int, rows: int, now_ms: int) -> int:
        """Return a brain's wait; see `Window.wait_ms`."""
        window = self._each.get(brain)
        return 0 if window is None else window.wait_ms(rows, now_ms)

    def take(self, brain: int, rows: int, now_ms: int) -> int:
        """Count a brain's rows; see `Window.take`."""
        window = self._each.get(brain)
        if window is None:
            if len(self._each) >= self._sweep_at:
                self._each = {no: one for no, one in self._each.items() if not one.idle(now_ms)}
                self._sweep_at = max(WINDOWS_SWEPT, 2 * len(self._each))
            window = self._each[brain] = Window(self._most)
        return window.take(rows, now_ms)
