"""What is open to agents now, so that it ends when whoever opened it may no longer be there."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Final

from holdfast.plane.agent_door.door import Door
from holdfast.plane.agent_door.sessions import Signed
from holdfast.plane.edge_ports import EdgeLog

LOOK_S: Final = 1.0
"""Between two looks at who may stay, in seconds."""


class Tally:
    """How much of one kind is open: in all, and to each instance, however many browsers ask."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._each: Counter[str] = Counter()
        self.total = 0

    def of(self, instance_id: str) -> int:
        """Return how many are open to one instance."""
        return self._each[instance_id]

    def enter(self, instance_id: str) -> None:
        """Count one more."""
        self._each[instance_id] += 1
        self.total += 1

    def leave(self, instance_id: str) -> None:
        """Count one less."""
        self.total -= 1
        self._each[instance_id] -= 1
        if not self._each[instance_id]:
            del self._each[instance_id]


class Live:
    """Everything open, by whose it is."""

    def __init__(self, door: Door, *, log: EdgeLog) -> None:
        """Begin with nothing."""
        self._door = door
        self._log = log
        self._open: dict[Signed, set[Callable[[], None]]] = {}

    def add(self, signed: Signed, end: Callable[[], None]) -> Callable[[], None]:
        """Remember how to end something; return what forgets it, which may be called twice."""
        self._open.setdefault(signed, set()).add(end)

        def forget() -> None:
            ends = self._open.get(signed)
            if ends is not None:
                ends.discard(end)
                if not ends:
                    del self._open[signed]

        return forget

    def end_all(self) -> None:
        """End everything."""
        for ends in list(self._open.values()):
            for end in list(ends):
                self._end(end)

    async def watch(self) -> None:
        """End what may not stay, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_S)
            for signed in list(self._open):
                if not await self._stays(signed):
                    for end in list(self._open.get(signed, ())):
                        self._end(end)

    async def _stays(self, signed: Signed) -> bool:
        """Return whether somebody may stay; where that cannot be told, not."""
        try:
            return await self._door.still(signed)
        except Exception as error:  # noqa: BLE001  whatever it is, nobody stays for it
            self._log.error("agent_door.watch_failed", exc_info=error)
            return False

    def _end(self, end: Callable[[], None]) -> None:
        """End one thing; what goes wrong there keeps no other open."""
        try:
            end()
        except Exception as error:  # noqa: BLE001  whatever it is, nobody stays for it
            self._log.error("agent_door.end_failed", exc_info=error)
