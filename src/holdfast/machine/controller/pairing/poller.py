"""Keeps one kind of request up to date: reads by the schedule, one read at a time.

A refresh waits for a read that begins after the call; callers during a read share the next one. It
decides neither when to read nor what a result means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits, schedule
from holdfast.machine.controller.pairing.apply import Outcome
from holdfast.machine.controller.pairing.cache import Cache
from holdfast.machine.controller.pairing.state import Failure, Look, Part
from holdfast.wire.controller.pairing import Kind


class Reads(Protocol):
    """What a poller reads from."""

    async def look(self, kind: Kind, /) -> Look:
        """Return the current requests; raise nothing for the agent's content."""
        ...

    def debounce_ms(self, kind: Kind, /) -> int:
        """Return how long to wait after a hint."""
        ...


AfterRead = Callable[[Kind], Awaitable[None]]


class Poller:
    """Reads one kind until it is cancelled."""

    def __init__(
        self,
        kind: Kind,
        cache: Cache,
        reads: Reads,
        *,
        after_read: AfterRead,
        clock: Clock,
        log: Log,
    ) -> None:
        """Put what `reads` returns into `cache`; `after_read` is awaited after each read."""
        self._kind: Kind = kind
        self._cache = cache
        self._reads = reads
        self._after_read = after_read
        self._clock = clock
        self._log = log
        self._schedule = schedule.begin(clock.steady_ms())
        self._moved = asyncio.Event()
        self._waiting: list[asyncio.Future[bool]] = []
        self._number = 0

    def hint(self) -> None:
        """Read soon: something may have changed."""
        debounce_ms = self._reads.debounce_ms(self._kind)
        self._schedule = schedule.hint(self._schedule, self._clock.steady_ms(), debounce_ms)
        self._moved.set()

    def allow(self) -> None:
        """Read at once, whatever failed before: another agent runs now."""
        self._schedule = schedule.allow(self._schedule, self._clock.steady_ms())
        self._moved.set()

    async def refresh(self) -> bool:
        """Return whether a read that began after this call succeeded everywhere."""
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._moved.set()
        return await waiting

    async def run(self) -> None:
        """Read until cancelled; callers still waiting then get False."""
        try:
            while True:
                await self._wait()
                await self._look()
        finally:
            self._answer(self._waiting, worked=False)

    async def _wait(self) -> None:
        while not self._waiting:
            self._moved.clear()
            due_ms = self._schedule.next_ms
            assert due_ms is not None, "only this loop looks"
            left_ms = due_ms - self._clock.steady_ms()
            if left_ms <= 0:
                return
            try:
                async with asyncio.timeout(left_ms / 1_000):
                    await self._moved.wait()
            except TimeoutError:
                continue

    async def _look(self) -> None:
        waiting, self._waiting = self._waiting, []
        # A read that was due anyway counts as scheduled, even if it was requested too.
        forced = bool(waiting) and not self._is_due()
        self._schedule = schedule.start(self._schedule)
        self._number += 1
        before = dict(self._cache.snapshot(self._kind).parts)
        outcome: Outcome = "failed"
        try:
            try:
                look = await self._reads.look(self._kind)
            except Exception as error:  # noqa: BLE001  a fault of ours must not end the looking
                self._log.emit("pairing.fault", kind=self._kind, error=brief(error))
                look = Failure("internal", "The controller could not look")
            outcome = self._cache.commit(self._kind, look, self._number)
        finally:
            now_ms = self._clock.steady_ms()
            self._schedule = schedule.finish(
                self._schedule, now_ms, outcome, forced=forced, period_ms=self._period_ms()
            )
            known = self._cache.listing(self._kind).body["state"] == "known"
            self._answer(waiting, worked=outcome == "read" and known)
        self._report(before)
        await self._after_read(self._kind)

    def _period_ms(self) -> int:
        parts = self._cache.snapshot(self._kind).parts.values()
        queried = any(part.source == "rpc" for part in parts)
        return limits.PERIOD_QUERIED_MS if queried else limits.PERIOD_MS

    def _is_due(self) -> bool:
        due_ms = self._schedule.next_ms
        return due_ms is not None and due_ms <= self._clock.steady_ms()

    def _answer(self, waiting: list[asyncio.Future[bool]], *, worked: bool) -> None:
        for future in waiting:
            if not future.done():
                future.set_result(worked)

    def _report(self, before: dict[str, Part]) -> None:
        """Log each part whose source begins to fail, fails in another way, or works again."""
        snapshot = self._cache.snapshot(self._kind)
        for name in sorted({*before, *snapshot.parts}):
            was, now = before.get(name, Part()), snapshot.parts.get(name, Part())
            failure = now.failure
            if (was.failure and was.failure.code) == (failure and failure.code):
                continue
            if failure is None:
                self._log.emit("pairing.source_recovered", kind=self._kind, channel=name)
                continue
            self._log.emit(
                "pairing.source_failed", kind=self._kind, channel=name, source=now.source,
                code=failure.code, exit_code=failure.exit_code, took_ms=failure.took_ms,
                detail=failure.detail,
                kept=f"keeping stale data for {name or self._kind}" if now.rows else None,
            )  # fmt: skip
