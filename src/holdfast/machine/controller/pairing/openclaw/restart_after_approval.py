"""What follows an approval by command line: the agent may start itself again because of it.

OpenClaw's command makes the first person that it approves the owner of commands, and writes that
into the configuration. Releases up to 2026.7 restart their gateway for it, a tenth of a second
later, and what somebody says to it in that moment is lost. So such an approval is answered once
the agent can be spoken to again. The restart is seen by the end of our own connection, which is
the first thing that a gateway of any release lets go of.
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
    """How it was before the command: the file of the configuration, and our connection's end."""

    file: tuple[int, int, int] | None
    ended: Ended | None


class Aftermath:
    """Waits for a restart that a command caused, where it caused one."""

    def __init__(
        self,
        config_path: str,
        *,
        link_end: Callable[[], Ended | None],
        is_ready: Callable[[], Awaitable[bool]],
        log: Log,
    ) -> None:
        """`link_end` returns what is done when our connection ends, `is_ready` asks the agent."""
        self._path = config_path
        self._link_end = link_end
        self._is_ready = is_ready
        self._log = log

    def before(self) -> Before:
        """Return how it is now."""
        return Before(_stamp(self._path), self._link_end())

    async def over(self, before: Before) -> None:
        """Return when the agent can be spoken to: at once, unless it starts itself again."""
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
        """Wait, in bounded time; one that is about to end may still say once that it is ready."""
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
