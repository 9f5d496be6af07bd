"""Hears of containers that start and end, over the engine's stream of events.

A stream can break at any time, so after each connection the listing is read, and what ended in
between is told as if it had been heard. A plane that was away learns of it the same way.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final

from aiodocker.events import DockerEvents

from holdfast.kernel.failure import brief
from holdfast.kernel.outcome import Ok
from holdfast.world.clouds.docker.answers import Listed, state_of
from holdfast.world.clouds.docker.engine import Engine
from holdfast.world.clouds.docker.listing import list_ours
from holdfast.world.clouds.docker.shape import LABEL_MACHINE, LABEL_OWNER

RECONNECT_FIRST_S: Final = 0.2
RECONNECT_MAX_S: Final = 5.0
_HEARD: Final = ("start", "die", "died", "destroy", "remove")
_ENDED: Final = frozenset({"die", "died"})
_log: Final = logging.getLogger("holdfast.clouds.docker")


class Watch:
    """Follows the machines of one plane until it is cancelled."""

    def __init__(
        self,
        engine: Engine,
        *,
        owner: str,
        changed: Callable[[str], None],
        ended: Callable[[str], Awaitable[None]],
        connected: Callable[[], Awaitable[None]],
    ) -> None:
        """Call `changed` for each event of a machine, and `ended` when one is not running any more.

        `connected` is called after each connection, before what was missed is told.
        """
        self._engine = engine
        self._owner = owner
        self._changed = changed
        self._ended = ended
        self._connected = connected
        self._down: set[str] = set()

    async def run(self) -> None:
        """Follow events; connect again, later each time, while the engine is away."""
        pause_s = RECONNECT_FIRST_S
        while True:
            try:
                answered = await self._follow()
            except Exception as error:  # noqa: BLE001  it must go on, whatever the stream brings
                _log.warning("the engine's stream of events broke: %s", brief(error))
                answered = False
            if answered:
                pause_s = RECONNECT_FIRST_S
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RECONNECT_MAX_S)

    async def _follow(self) -> bool:
        """Follow one stream to its end; return whether the engine answered."""
        events = DockerEvents(self._engine.docker)
        heard = events.subscribe(
            filters=json.dumps(
                {"type": ["container"], "label": [f"{LABEL_OWNER}={self._owner}"],
                 "event": list(_HEARD)}
            )
        )  # fmt: skip
        try:
            if not await self._catch_up():
                return False
            while (event := await heard.get()) is not None:
                await self._hear(event)
            _log.warning("the engine's stream of events ended; connecting again")
        finally:
            with suppress(Exception):  # it raises what the stream ended with
                await events.stop()
        return True

    async def _catch_up(self) -> bool:
        """Tell of machines that are down and were not known to be; return whether it was read."""
        listed = await list_ours(self._engine, self._owner)
        if not isinstance(listed, Ok):
            return False
        await self._connected()
        down = {machine for one in listed.value if is_down(one) and (machine := machine_id(one))}
        for machine in sorted(down - self._down):
            await self._tell(machine)
        self._down = down
        for one in listed.value:
            self._changed(machine_id(one))
        return True

    async def _hear(self, event: Any) -> None:
        attributes = event.get("Actor", {}).get("Attributes", {}) if isinstance(event, dict) else {}
        machine = attributes.get(LABEL_MACHINE, "")
        if not machine:
            return
        action = event.get("Action", event.get("status", ""))
        if action in _ENDED:
            self._down.add(machine)
            await self._tell(machine)
        else:
            self._down.discard(machine)
        self._changed(machine)

    async def _tell(self, machine: str) -> None:
        try:
            await self._ended(machine)
        except Exception as error:  # noqa: BLE001  the next event must be heard
            _log.error("machine %s: its end was not told: %s", machine, brief(error))


def machine_id(one: Listed) -> str:
    """Return the machine a container belongs to, empty for none."""
    return (one.labels or {}).get(LABEL_MACHINE, "")


def is_down(one: Listed) -> bool:
    """Return whether a listed container has run and does not any more."""
    return state_of(one.state) in {"stopped", "failed"}
