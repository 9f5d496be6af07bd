"""Alarms: durable deadlines, fired in time, and again until a tick has moved them.

The store holds every alarm; the near ones are also in memory. Only a tick that moves the deadline
clears an alarm, so a crash, a failed commit or a rule that raised delays an alarm and never loses
it. A deadline that a tick leaves in the past is fired again after a growing wait, so that a faulty
rule cannot make the owner spin.

The clock may step. Forward, due alarms fire at the next check. Back, every actor with
an alarm is woken, so that its rules set their deadlines by the new time.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.limits import (
    ALARM_GLANCE_MS,
    ALARM_HORIZON_MS,
    ALARM_PAGE,
    BUSY_TICKS_MAX,
    CLOCK_STEP_MS,
    LOOP_RETRY_S,
)
from holdfast.actors.ports import Alarm, Journal
from holdfast.kernel import metrics
from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import Clock, StepWatch
from holdfast.kernel.ids import Address
from holdfast.kernel.log import Log
from holdfast.kernel.metrics import Meter

_LATE_BACKOFF = Backoff(first_ms=1_000, cap_ms=300_000)
_REFILL_BACKOFF = Backoff(first_ms=200, cap_ms=10_000)
_BUSY_MS = 5
_HEAP_SLACK = 3
"""Stale heap entries per alarm before the heap is rebuilt."""
_FOREVER_MS = 1 << 62
_FIRED_RETRY_MS = 30_000
"""When an alarm is fired again if no tick has moved it, in milliseconds."""


class Alarms:
    """The alarms of every actor of this process."""

    def __init__(
        self,
        journal: Journal,
        wake: Callable[[Address], None],
        *,
        clock: Clock,
        log: Log,
        meter: Meter,
        horizon_ms: int = ALARM_HORIZON_MS,
        glance_ms: int = ALARM_GLANCE_MS,
    ) -> None:
        """Fire by calling `wake`; keep alarms up to `horizon_ms` ahead in memory."""
        self._journal = journal
        self._wake = wake
        self._clock = clock
        self._log = log
        self._meter = meter
        self._horizon_ms = horizon_ms
        self._glance_ms = glance_ms
        self._heap: list[tuple[int, Address]] = []
        self._due: dict[Address, int] = {}
        self._late: dict[Address, tuple[int, int]] = {}
        self._known_until_ms = 0
        self._failures = 0
        self._stepped_back = False
        self._refill_at_ms = 0.0
        self._moved = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._due)

    async def start(self) -> None:
        """Read the near alarms, wake actors that have a far one, and begin to fire.

        A far alarm is rare, and may be one that was near before the clock was set back while no
        plane ran: its actor sets it by the present time, and writes nothing if it stays.
        """
        await self._refill()
        async for row in self._all(_FOREVER_MS):
            if row.at_ms > self._known_until_ms:
                self._wake(row.actor)
        self.task = asyncio.create_task(self._run(), name="holdfast-alarms")

    async def stop(self) -> None:
        """Fire no more."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None

    def late_ms(self) -> float:
        """Return for how long an alarm, or a read of the store, has been due and was not begun."""
        if self.task is None:
            return 0.0
        fired_ms = self._clock.now_ms() - self._heap[0][0] if self._heap else 0.0
        return max(fired_ms, self._clock.steady_ms() - self._refill_at_ms)

    def hear(self, committed: CommittedTick) -> None:
        """Set an actor's alarm by the deadline of a committed tick."""
        actor, deadline_ms = committed.tick.after.address, committed.tick.deadline_ms
        now_ms = self._clock.now_ms()
        if deadline_ms is None:
            self._due.pop(actor, None)
            self._late.pop(actor, None)
        elif deadline_ms > now_ms:
            self._late.pop(actor, None)
            self._set(actor, deadline_ms)
        else:
            self._keep(actor, now_ms + self._hold_back(committed, deadline_ms))

    def _hold_back(self, committed: CommittedTick, deadline_ms: int) -> int:
        """Return the wait, in ms, for a deadline that a tick left in the past."""
        actor = committed.tick.after.address
        busy, idle = self._late.get(actor, (0, 0))
        if committed.tick.decisions and busy < BUSY_TICKS_MAX:
            self._late[actor] = (busy + 1, idle)
            return _BUSY_MS
        idle += 1
        self._late[actor] = (busy, idle)
        delay_ms = _LATE_BACKOFF.delay_ms(idle, str(actor))
        self._meter.count(metrics.ALARMS_LATE, kind=actor.kind)
        self._log.warning(
            "alarm.unanswered",
            actor=str(actor),
            deadline_ms=deadline_ms,
            times=idle,
            retry_in_ms=delay_ms,
            reason="a tick left its deadline in the past and did nothing",
        )
        return delay_ms

    def _set(self, actor: Address, at_ms: int) -> None:
        """Keep an alarm in memory if it is near; a far one is read from the store later."""
        if at_ms > self._known_until_ms:
            self._due.pop(actor, None)
            return
        self._keep(actor, at_ms)

    def _keep(self, actor: Address, at_ms: int) -> None:
        """Keep an alarm in memory however far it is."""
        if self._due.get(actor) == at_ms:
            return
        self._due[actor] = at_ms
        heapq.heappush(self._heap, (at_ms, actor))
        if self._heap[0][0] == at_ms:
            self._moved.set()
        if len(self._heap) > _HEAP_SLACK * len(self._due) + ALARM_PAGE:
            self._heap = [(due_ms, one) for one, due_ms in self._due.items()]
            heapq.heapify(self._heap)

    async def _refill(self) -> None:
        """Read the alarms up to the horizon."""
        if self._stepped_back:
            await self._wake_all()
        until_ms = self._clock.now_ms() + self._horizon_ms
        self._refill_at_ms = self._clock.steady_ms() + self._horizon_ms / 2
        # Before the first page: what is set while the pages are read is kept as well.
        self._known_until_ms = until_ms
        async for row in self._all(until_ms):
            if row.actor not in self._due and row.actor not in self._late:
                self._set(row.actor, row.at_ms)

    async def _all(self, until_ms: int) -> AsyncIterator[Alarm]:
        """Yield every alarm up to a time, page by page, so that stuck alarms do not hide others."""
        page = await self._journal.alarms(until_ms, ALARM_PAGE)
        while page:
            for row in page:
                yield row
            if len(page) < ALARM_PAGE:
                return
            await asyncio.sleep(0)
            page = await self._journal.alarms(until_ms, ALARM_PAGE, page[-1])

    async def _wake_all(self) -> None:
        """Wake who has an alarm, however far: it was set by a time that was too late."""
        async for row in self._all(_FOREVER_MS):
            self._wake(row.actor)
        self._stepped_back = False

    def _fire(self, now_ms: int) -> None:
        """Wake due actors; each alarm stays set, for later, until a tick moves it."""
        while self._heap and self._heap[0][0] <= now_ms:
            at_ms, actor = heapq.heappop(self._heap)
            if self._due.get(actor) != at_ms:
                continue
            again_ms = now_ms + _FIRED_RETRY_MS
            self._due[actor] = again_ms
            heapq.heappush(self._heap, (again_ms, actor))
            self._wake(actor)

    async def _run(self) -> None:
        """Run `_watch` for ever; an exception is logged and it starts again."""
        while True:
            try:
                await self._watch()
            except Exception as error:  # noqa: BLE001  every actor relies on this one loop
                self._meter.count(metrics.FAULTS, where="alarms")
                self._log.error("alarms.fault", exc_info=error)
                await asyncio.sleep(LOOP_RETRY_S)

    async def _watch(self) -> None:
        """Fire what is due and sleep until the next alarm or check, for ever."""
        steps = StepWatch(self._clock)
        while True:
            stepped_ms = steps.stepped_ms()
            if abs(stepped_ms) > CLOCK_STEP_MS:
                self._stepped(stepped_ms)
            now_ms = self._clock.now_ms()
            self._fire(now_ms)
            if self._clock.steady_ms() >= self._refill_at_ms:
                await self._try_refill()
                continue
            self._moved.clear()
            next_ms = self._heap[0][0] - now_ms if self._heap else self._glance_ms
            wait_s = min(max(next_ms, 1), self._glance_ms) / 1_000
            try:
                async with asyncio.timeout(wait_s):
                    await self._moved.wait()
            except TimeoutError:
                continue

    async def _try_refill(self) -> None:
        """Read the store; on failure, try again after a growing wait."""
        try:
            await self._refill()
            self._failures = 0
        except Exception as error:  # noqa: BLE001  the store may be unavailable; alarms stay in it
            self._failures += 1
            delay_ms = _REFILL_BACKOFF.delay_ms(self._failures)
            self._refill_at_ms = self._clock.steady_ms() + delay_ms
            self._log.error("alarms.refill_failed", retry_in_ms=delay_ms, exc_info=error)

    def _stepped(self, by_ms: float) -> None:
        """Handle a step of the clock."""
        self._log.warning("clock.stepped", by_ms=round(by_ms), alarms=len(self._due))
        self._refill_at_ms = 0.0
        self._stepped_back = self._stepped_back or by_ms < 0
