"""Finds out why an asyncio task ended: it was cancelled, it returned, or it raised."""

from __future__ import annotations

import asyncio
from typing import Any

from holdfast.kernel.failure import brief


def is_cancelled() -> bool:
    """Return whether the running task itself was cancelled.

    A CancelledError may also come from a task or future that this one awaits. That is a failure
    like any other and must not end the task that awaits it.
    """
    task = asyncio.current_task()
    return task is None or task.cancelling() > 0


def why_ended(task: asyncio.Task[Any] | None) -> str | None:
    """Return why a task ended, or None while it runs, was not started, or was stopped."""
    if task is None or not task.done():
        return None
    if task.cancelled():
        return "it was cancelled"
    error = task.exception()
    return "it returned" if error is None else f"it raised {brief(error)}"
