"""The Brain for asyncio programs: the same calls, awaited, and the loop never blocked.

Recording runs on one thread, in order; waiting for the plane runs on another, so that a flush does
not delay corrections. A call whose await is cancelled is executed all the same.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self, TypeVar

from holdfast.outbox.limits import FLUSH_DEADLINE_S
from holdfast.outbox.ports import DeadLetter
from holdfast.outbox.receipts import Flushed
from holdfast.sdk import limits
from holdfast.sdk.brain import Brain
from holdfast.sdk.lessons import Lesson
from holdfast.sdk.record import Event
from holdfast.sdk.results import Correction, Recorded, SessionEnd, Synced

T = TypeVar("T")


class AsyncBrain:
    """One brain, awaited. Arguments and answers are those of `Brain`.

    async with AsyncBrain("~/agent/brain") as brain:
        await brain.correct(draft="Utilize the tool.", final="Use the tool.")
    """

    def __init__(self, folder: str | os.PathLike[str], **options: Any) -> None:
        """Store the folder; it is opened with the first call, off the loop."""
        self._open: Callable[[], Brain] = lambda: Brain(folder, **options)
        self._brain: Brain | None = None
        self._recording = ThreadPoolExecutor(1, thread_name_prefix="holdfast-record")
        self._waiting = ThreadPoolExecutor(1, thread_name_prefix="holdfast-wait")

    def _opened(self) -> Brain:
        """Return the brain; called on the recording thread only."""
        if self._brain is None:
            self._brain = self._open()
        return self._brain

    async def _record(self, call: Callable[[Brain], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._recording, lambda: call(self._opened()))

    async def _wait(self, call: Callable[[Brain], T]) -> T:
        brain = await self._record(lambda brain: brain)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._waiting, lambda: call(brain))

    async def correct(
        self,
        draft: str,
        final: str,
        category: str | None = None,
        context: str | None = None,
        session: str | int | None = None,
    ) -> Correction:
        """Record a correction."""
        return await self._record(
            lambda brain: brain.correct(draft, final, category, context, session)
        )

    async def record(
        self,
        type: str,  # noqa: A002  # as in Brain
        data: Mapping[str, Any] | None = None,
        *,
        source: str = "agent",
        tags: Iterable[str] = (),
        session: str | int | None = None,
    ) -> Recorded:
        """Record an event."""
        return await self._record(
            lambda brain: brain.record(type, data, source=source, tags=tags, session=session)
        )

    async def end_session(
        self, session: str | int | None = None, *, deadline_s: float = FLUSH_DEADLINE_S
    ) -> SessionEnd:
        """Record the end of a session, and summarise it."""
        return await self._wait(lambda brain: brain.end_session(session, deadline_s=deadline_s))

    async def rules_for(self, task: str = "", *, most: int = limits.RULES_SHOWN) -> str:
        """Return what was learned, as lines for a prompt."""
        return await self._record(lambda brain: brain.rules_for(task, most=most))

    async def lessons(self) -> list[Lesson]:
        """Return every lesson, by descending confidence."""
        return await self._record(lambda brain: brain.lessons())

    async def approve(self, lesson_id: str) -> Lesson:
        """Make a lesson a rule."""
        return await self._record(lambda brain: brain.approve(lesson_id))

    async def reject(self, lesson_id: str) -> Lesson:
        """Never show a lesson again."""
        return await self._record(lambda brain: brain.reject(lesson_id))

    async def tail(self, *, after: int | None = None, most: int = 50) -> list[Event]:
        """Return events in order."""
        return await self._record(lambda brain: brain.tail(after=after, most=most))

    async def dead_letters(self, *, after_row: int = 0, most: int = 100) -> list[DeadLetter]:
        """Return what the plane refused permanently."""
        return await self._record(lambda brain: brain.dead_letters(after_row=after_row, most=most))

    async def flush(self, deadline_s: float = FLUSH_DEADLINE_S) -> Flushed:
        """Wait until what is queued now is delivered, within a deadline."""
        return await self._wait(lambda brain: brain.flush(deadline_s))

    async def sync(
        self, *, full: bool = False, backfill: bool = False, deadline_s: float | None = None
    ) -> Synced:
        """Send everything, also while a kill switch is set."""
        return await self._wait(
            lambda brain: brain.sync(full=full, backfill=backfill, deadline_s=deadline_s)
        )

    async def close(self, deadline_s: float = FLUSH_DEADLINE_S) -> Flushed:
        """Flush and close; closing twice is no error."""
        if self._brain is None:
            flushed = Flushed(0, "")
        else:
            brain, loop = self._brain, asyncio.get_running_loop()
            try:
                flushed = await loop.run_in_executor(self._waiting, lambda: brain.close(deadline_s))
            except RuntimeError:
                return Flushed(brain.stats().pending, "closed")
        self._recording.shutdown(wait=False)
        self._waiting.shutdown(wait=False)
        return flushed

    async def __aenter__(self) -> Self:
        """Open the folder, and return itself."""
        await self._record(lambda brain: brain)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
