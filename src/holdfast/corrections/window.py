"""How many rows a brain sent in the last minute, and when there is room again. Pure.

A window that slides, not a bucket that fills: a bucket of 600 lets 1,200 pass in the first minute.
What was sent in one second leaves together, at the end of that second's minute, so an answer of
"wait" is never too short and may be up to a second too long.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from holdfast.corrections.limits import WINDOW_GRAIN_MS, WINDOW_MS

WINDOWS_SWEPT: Final = 10_000
"""Windows beyond which those of quiet brains are looked for and dropped."""


class Window:
    """What one brain sent; times are steady milliseconds that never go back."""

    __slots__ = ("_most", "_sent", "_total")

    def __init__(self, most: int) -> None:
        """Allow `most` rows in any minute."""
        self._most = most
        self._sent: deque[list[int]] = deque()
        self._total = 0

    def take(self, rows: int, now_ms: int) -> int:
        """Count rows and return 0, or count none and return how long to wait, in milliseconds.

        More rows than a whole minute allows never fit: whoever calls bounds them before.
        """
        wait_ms = self.wait_ms(rows, now_ms)
        if not wait_ms:
            self._note(rows, now_ms)
        return wait_ms

    def wait_ms(self, rows: int, now_ms: int) -> int:
        """Return how long until there is room for rows, in milliseconds, and count nothing."""
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
        # Dated to the end of its second, so that nothing leaves the window early.
        at_ms = (now_ms // WINDOW_GRAIN_MS + 1) * WINDOW_GRAIN_MS
        self._total += rows
        if self._sent and self._sent[-1][0] == at_ms:
            self._sent[-1][1] += rows
        else:
            self._sent.append([at_ms, rows])

    def idle(self, now_ms: int) -> bool:
        """Return whether nothing is counted any more."""
        self._forget(now_ms)
        return not self._sent


class Windows:
    """A window for each of many brains; those of brains that send nothing are dropped."""

    __slots__ = ("_each", "_most", "_sweep_at")

    def __init__(self, most: int) -> None:
        """Allow each brain `most` rows in any minute."""
        self._most = most
        self._each: dict[int, Window] = {}
        self._sweep_at = WINDOWS_SWEPT

    def wait_ms(self, brain: int, rows: int, now_ms: int) -> int:
        """Return how long a brain has to wait; see `Window.wait_ms`."""
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
