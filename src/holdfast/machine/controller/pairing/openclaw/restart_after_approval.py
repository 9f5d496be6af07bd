"""Handles the restart that an approval by command line may cause.

OpenClaw's command makes the first approved person the owner of commands, and writes that into the
configuration. Releases up to 2026.7 restart their gateway for it, a tenth of a second later, and
messages in that moment are lost. So such an approval is answered once the agent is reachable again.
The restart is detected by the end of our own connection, which a gateway of any release closes
first.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, TypeAlias

from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits

Ended: TypeAlias = "asyncio.Future[Any]"
"""Done when our connection to the agent has ended."""


class Before(NamedTuple):
    """State before the command: the configuration's file, and the end of our connection."""

    file: tuple[int, int, int] | None
    ended: Ended | None


class Aftermath:
    """Waits for a restart that a command caused."""

    def __init__(
        self,
        config_path: str,
        *,
        link_end: Callable[[], Ended | None],
        is_ready: Callable[[], Awaitable[bool]],
        log: Log,
    ) -> None:
        """`link_end` returns the future of our connection's end, `is_ready` probes the agent."""
        self._path = config_path
        self._link_end = link_end
        self._is_ready = is_ready
        self._log = log

    def before(self) -> Before:
        """Return the current state."""
        return Before(_stamp(self._path), self._link_end())

    async def over(self, before: Before) -> None:
        """Return when the agent is reachable: at once, unless it restarts."""
        if before.ended is None or _stamp(self._path) == before.file:
            return
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        ended, _ = await asyncio.wait({before.ended}, timeout=limits.RESTART_SEEN_S)
        if ended:
            await self._wait_until_ready()
        waited_ms = round((loop.time() - began_s) * 1_000)
        self._log.emit("pairing.aftermath", restarted=bool(ended), waited_ms=waited_ms)

    async def _wait_until_ready(self) -> None:
        """Wait within a limit; one that is about to end may still report ready once."""
        in_a_row = 0
        try:
            async with asyncio.timeout(limits.RESTARTED_S):
                while in_a_row < limits.RESTARTED_LOOKS:
                    in_a_row = in_a_row + 1 if await self._is_ready() else 0
                    await asyncio.sleep(limits.RESTART_LOOK_S)
        except TimeoutError:
            return


def _stamp(path: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  three numbers of one file
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
