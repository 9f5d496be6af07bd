"""What a plane does for itself now and then; a failure is a log line and tried next time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

from holdfast.accounts.access import Access
from holdfast.kernel.clock import DAY_MS, Clock
from holdfast.plane import log_file
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.files import Stores

MINUTE_S: Final = 60.0
HOUR_S: Final = 3_600.0
DAY_S: Final = 86_400.0


def keep_house(
    stores: Stores, access: Access, settings: Settings, clock: Clock, log: Any
) -> list[asyncio.Task[None]]:
    """Return running tasks; whoever stops the plane cancels them."""

    async def prune() -> None:
        before_ms = clock.now_ms() - settings.journal_days * DAY_MS
        forgotten = await stores.journal.prune(before_ms)
        if forgotten:
            log.info("journal.pruned", rows=forgotten, before_ms=before_ms)

    async def purge() -> None:
        await stores.accounts.purge(clock.now_ms())

    async def note_uses() -> None:
        await access.flush()

    async def shrink_log() -> None:
        home = Path(settings.home)
        if log_file.is_ours(home):
            await asyncio.to_thread(log_file.shrink, home)

    jobs = (
        ("log.shrink", shrink_log, MINUTE_S),
        ("tokens.note_uses", note_uses, MINUTE_S),
        ("accounts.purge", purge, HOUR_S),
        ("journal.prune", prune, DAY_S),
    )
    return [
        asyncio.create_task(_repeat(name, job, every_s, log), name=f"holdfast-{name}")
        for name, job, every_s in jobs
    ]


async def _repeat(name: str, job: Callable[[], Awaitable[None]], every_s: float, log: Any) -> None:
    """Do a job again and again."""
    while True:
        await asyncio.sleep(every_s)
        try:
            await job()
        except Exception as error:
            log.exception("housekeeping.failed", job=name, reason=str(error))
