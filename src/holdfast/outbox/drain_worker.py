"""The drain thread and its supervision: a dead or stalled thread is detected and replaced.

It is a daemon thread, so it never delays the end of the host program; what it had not sent is in
the folder. It must never raise into the host, whatever a cycle does.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import Clock
from holdfast.outbox import limits
from holdfast.outbox.database import UnavailableError
from holdfast.outbox.drain import Drainer
from holdfast.outbox.ports import Notice
from holdfast.outbox.signal import Signal

_AFTER_CRASH = Backoff(first_ms=250, cap_ms=10_000)


def _nothing() -> None:
    """Do nothing."""


class DrainWorker:
    """Runs one drainer on a thread."""

    def __init__(
        self, make: Callable[[], Drainer], *, bell: Signal, clock: Clock, notice: Notice
    ) -> None:
        """Make a drainer with `make` for each thread that is started."""
        self._make = make
        self._bell = bell
        self._clock = clock
        self._notice = notice
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self.drainer: Drainer | None = None
        self.crashes = 0
        self._afterwards: Callable[[], None] = _nothing

    def ensure(self) -> bool:
        """Start the thread if there is none, or it is dead or stalled; return whether one runs."""
        if self.healthy():
            return True
        with self._starting:
            if self.healthy():
                return True
            old, self.drainer = self.drainer, None
            if old is not None:
                old.stop()
            try:
                drainer = self._make()
                self._bell.open()
                thread = threading.Thread(
                    target=self._run, args=(drainer,), name="holdfast-outbox", daemon=True
                )
                thread.start()
            except (RuntimeError, OSError) as error:
                self._notice(f"no thread to send with: {error}; the next call tries again")
                return False
            self.drainer, self._thread = drainer, thread
        return True

    def healthy(self) -> bool:
        """Return whether a thread runs and has completed a cycle within the last minute."""
        thread, drainer = self._thread, self.drainer
        if thread is None or drainer is None or not thread.is_alive():
            return False
        return self._clock.steady_ms() - drainer.turned_ms < limits.STALL_MS

    def _run(self, drainer: Drainer) -> None:
        crashes = 0
        try:
            while not drainer.stopping:
                try:
                    wait_ms = drainer.cycle()
                    crashes = 0
                except UnavailableError as error:
                    drainer.blocked = str(error)
                    wait_ms = limits.REOPEN_MS
                except BaseException as error:  # noqa: BLE001  # whatever it was, go on draining
                    crashes += 1
                    self.crashes += 1
                    drainer.blocked = f"crashed: {type(error).__name__}: {error}"
                    if crashes == 1:
                        self._notice(f"the drain crashed and goes on: {drainer.blocked}")
                    wait_ms = _AFTER_CRASH.delay_ms(crashes)
                if wait_ms > 0 and not drainer.stopping:
                    self._bell.wait(wait_ms / 1_000)
        finally:
            drainer.lease.release()
            self._afterwards()

    def afterwards(self, do: Callable[[], None]) -> None:
        """Run this once the thread has ended: now, or when it does."""
        self._afterwards = do
        if self._thread is None or not self._thread.is_alive():
            do()

    def stop(self, timeout_s: float) -> bool:
        """End the thread; return whether it ended in time."""
        drainer, thread = self.drainer, self._thread
        if drainer is None or thread is None:
            return True
        drainer.stop()
        self._bell.ring_here()
        if thread is threading.current_thread():
            return False
        thread.join(max(timeout_s, 0))
        return not thread.is_alive()

    def forked(self) -> None:
        """Drop, in a child, the parent's thread."""
        self._starting = threading.Lock()
        self._thread = None
        self.drainer = None
