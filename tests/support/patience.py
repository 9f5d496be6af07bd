"""Deadlines of tests, longer on a busy machine.

A deadline in a test bounds how long a failure takes to show; it does not measure speed. So every
one of real time goes through `patience`, and its figure is that of an idle machine.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any

CORES = os.cpu_count() or 1
LEAST = 4.0
"""So many times an idle machine's figure is waited at least: the load is an average of a minute,
late by that, and says nothing of a slow disk or of a neighbour of a virtual machine."""
MOST = 8.0
"""A machine busier than this many times its cores is not waited for longer."""


def slowness() -> float:
    """Return how many times longer than on an idle machine things may take: load over cores."""
    return min(MOST, max(LEAST, os.getloadavg()[0] / CORES))


def patience(seconds: float) -> float:
    """Return the deadline, in seconds from now, that an idle machine would keep in `seconds`."""
    return seconds * slowness()


async def until(condition: Callable[[], Any], *, seconds: float = 20) -> None:
    """Return once a condition holds; raise TimeoutError where it does not in time."""
    async with asyncio.timeout(patience(seconds)):
        while not condition():  # noqa: ASYNC110  nothing else to wait for
            await asyncio.sleep(0.01)
