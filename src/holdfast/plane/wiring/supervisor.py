"""Watches what a plane cannot do without: loops and threads that go on until it stops.

One that has ended leaves instances ungoverned while calls are still answered, so health fails at
once and the process ends, for its own supervisor to start it again: all that matters is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from holdfast.kernel.liveness import Vital

LOOK_S: Final = 0.5
"""Between two looks, in seconds. Health looks by itself at each call."""


class Supervisor:
    """Everything vital of one process."""

    def __init__(self) -> None:
        """Watch nothing yet."""
        self.vitals: list[Vital] = []
        self._stopped = False

    def add(self, vitals: Iterable[Vital]) -> None:
        """Watch these from now on."""
        self.vitals.extend(vitals)

    def stop(self) -> None:
        """Look at nothing further: what ends now was told to."""
        self._stopped = True

    def fault(self) -> str | None:
        """Return what has ended first and why, or None while all goes on."""
        if self._stopped:
            return None
        for vital in self.vitals:
            why = vital.ended()
            if why is not None:
                return f"{vital.name}: {why}"
        return None

    async def wait(self) -> str:
        """Return what has ended and why, once something has."""
        while (fault := self.fault()) is None:  # noqa: ASYNC110  a thread tells no loop of its end
            await asyncio.sleep(LOOK_S)
        return fault
