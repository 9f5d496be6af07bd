"""Jobs that run once a day across restarts: the time of the last run is kept in a file."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec

from holdfast.disk.durable_file import write_file
from holdfast.kernel.clock import DAY_MS, Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.log import Log
from holdfast.plane.wiring.part import HOUR_S, MINUTE_S, Job
from holdfast.wire.parsers import from_json

DAILY_FILE: Final = "daily.json"
"""File in the data folder: when each job last succeeded, in milliseconds since the epoch."""

FIRST_S: Final = MINUTE_S
"""Seconds from the start to the first check whether a job is due; then it is hourly."""

_LAST: Final = msgspec.json.Decoder(dict[str, int])

_NOTING: Final = threading.Lock()
"""The jobs share one file, and are due at the same moment; each notes its success in a thread."""


def daily(
    name: str,
    job: Callable[[], Awaitable[object]],
    home: Path,
    clock: Clock,
    log: Log,
    *,
    first_s: float = FIRST_S,
) -> Job:
    """Return a job that runs soon after the start if its last success is a day old or more.

    A failure is logged, and the job is tried again an hour later.
    """

    async def look() -> None:
        now_ms = clock.now_ms()
        if 0 <= now_ms - _read(home).get(name, 0) < DAY_MS:
            return
        await job()
        await asyncio.to_thread(_note, home, name, now_ms)

    async def repeat() -> None:
        await asyncio.sleep(first_s)
        while True:
            try:
                await look()
            except Exception as error:
                why = brief(error)
                log.error("housekeeping.failed", job=name, reason=why, exc_info=error)  # noqa: TRY400  the port
            await asyncio.sleep(HOUR_S)

    return Job(name, repeat)


def _read(home: Path) -> dict[str, int]:
    """Return when each job last succeeded; empty if the file is missing or unreadable."""
    try:
        return from_json(_LAST, (home / DAILY_FILE).read_bytes())
    except (OSError, msgspec.MsgspecError):
        return {}


def _note(home: Path, name: str, now_ms: int) -> None:
    """Keep when a job was done."""
    with _NOTING:
        write_file(home / DAILY_FILE, msgspec.json.encode(_read(home) | {name: now_ms}))
