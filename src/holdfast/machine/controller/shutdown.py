"""The controller's shutdown: the first signal decides, and it always ends.

Code that starts work on its own checks `Lifecycle.closing`, which is set in the loop iteration that
receives the signal. The orderly shutdown has its own deadline. Beyond that a thread, which no
blocked loop or stuck worker can delay, kills what we started and then exits the process with 1. It
must never cut an orderly shutdown short.
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
    """Receives the shutdown signal and makes sure that the process ends."""

    def __init__(self, lifecycle: Lifecycle) -> None:
        self._lifecycle = lifecycle
        self._signalled: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._last_acts: list[Callable[[], object]] = []
        self.grace_s = 0.0

    @property
    def signalled(self) -> asyncio.Future[int]:
        """Return a future of the number of the first signal."""
        return self._signalled

    @property
    def limit_s(self) -> float:
        """Return the limit of the orderly shutdown: the agent's grace and some slack."""
        return self.grace_s + SHUTDOWN_SLACK_S

    def take_signals(self) -> None:
        """Handle SIGTERM and SIGINT from now on; call with a running loop."""
        loop = asyncio.get_running_loop()
        for number in SIGNALS:
            loop.add_signal_handler(number, self.begin, int(number))

    def before_last_resort(self, act: Callable[[], object]) -> None:
        """Call `act` from another thread before the process is ended by force."""
        self._last_acts.append(act)

    def begin(self, number: int) -> None:
        """Begin to shut down, as if this signal had come; repetitions are ignored."""
        if self._signalled.done():
            return
        self._lifecycle.close()
        self._signalled.set_result(number)
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
