"""Watches the vital parts of a plane: loops and threads that must run until it stops.

When one has ended, calls are still answered but instances are no longer controlled. So health fails
at once and the process exits, for systemd or the like to restart it; all state that matters is
stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from holdfast.kernel.liveness import Vital

LOOK_S: Final = 0.5
"""Seconds between two checks. A call of health checks by itself."""


class Supervisor:
    """The vital parts of one process."""

    def __init__(self) -> None:
        """Begin with no parts."""
        self.vitals: list[Vital] = []
        self._stopped = False

    def add(self, vitals: Iterable[Vital]) -> None:
        """Watch these from now on."""
        self.vitals.extend(vitals)

    def stop(self) -> None:
        """Report no fault from now on: parts end because the plane stops."""
        self._stopped = True

    def fault(self) -> str | None:
        """Return the first part that has ended and why, or None while all run."""
        if self._stopped:
            return None
        for vital in self.vitals:
            why = vital.ended()
            if why is not None:
                return f"{vital.name}: {why}"
        return None

    async def wait(self) -> str:
        """Wait until a part has ended; return which and why."""
        while (fault := self.fault()) is None:  # noqa: ASYNC110  threads signal no event at their end
            await asyncio.sleep(LOOK_S)
        return fault
