"""The end of the controller: the first signal decides, and there is always an end.

Whoever would begin something asks `Lifecycle.closing`, which is set in the very turn of the loop
that hears the signal. The orderly shutdown has its own deadline. Beyond that a thread, which no
blocked loop and no stuck worker can hold up, ends what we started and then the process, with 1.
It must never be the reason that an orderly shutdown ends early.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable
from typing import Final

from holdfast.machine.controller.lifecycle import Lifecycle
from holdfast.machine.controller.limits import LAST_RESORT_SLACK_S, SHUTDOWN_SLACK_S

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
FAILED: Final = 1


class Shutdown:
    """Hears that the controller is to end, and sees to it that it does."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        """Wait for nothing yet."""
        self._lifecycle = lifecycle
        self._told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._last_acts: list[Callable[[], object]] = []
        self.grace_s = 0.0

    @property
    def told(self) -> asyncio.Future[int]:
        """Return what is done with the number of the first signal."""
        return self._told

    @property
    def limit_s(self) -> float:
        """Return how long the orderly shutdown may take: the agent's grace and some slack."""
        return self.grace_s + SHUTDOWN_SLACK_S

    def take_signals(self) -> None:
        """Hear SIGTERM and SIGINT from now on; call it with a running loop."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.tell, int(number))

    def before_last_resort(self, act: Callable[[], object]) -> None:
        """Call `act` from another thread before the process is ended by force."""
        self._last_acts.append(act)

    def tell(self, number: int) -> None:
        """Begin to end, as if this signal had come; repetitions are ignored."""
        if self._told.done():
            return
        self._lifecycle.close()
        self._told.set_result(number)
        after_s = self.limit_s + LAST_RESORT_SLACK_S
        guard = threading.Timer(after_s, self._end_by_force)
        guard.daemon = True
        guard.start()

    def _end_by_force(self) -> None:
        for act in self._last_acts:
            try:
                act()
            except Exception:  # noqa: BLE001, S112  nothing may come before the end now
                continue
        os._exit(FAILED)
