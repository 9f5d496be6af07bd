"""Regular looks: actors of kinds with a cadence are woken at their own times, which nobody stores.

A look that finds nothing to do writes nothing, so a cadence costs no row. The times are a phase of
the actor's own and multiples of its interval, so that the looks of many are spread; they are
counted on the steady clock, which does not step. After a start an actor has a cadence from its
first tick on.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.limits import ALARM_PAGE, LOOP_RETRY_S
from holdfast.kernel import metrics
from holdfast.kernel.backoff import spread_ms
from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.kernel.ids import Address
from holdfast.kernel.log import Log
from holdfast.kernel.metrics import Meter

_HEAP_SLACK = 3
"""Stale heap entries per actor before the heap is rebuilt."""


class Cadence:
    """When the actors of this process are looked at next."""

    def __init__(
        self, wake: Callable[[Address], None], *, clock: Clock, log: Log, meter: Meter
    ) -> None:
        """Look at an actor by calling `wake`."""
        self._wake = wake
        self._clock = clock
        self._log = log
        self._meter = meter
        self._every: dict[Address, int] = {}
        self._next: dict[Address, int] = {}
        self._heap: list[tuple[int, Address]] = []
        self._moved = asyncio.Event()
        self._started = False
        self.task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._next)

    async def start(self) -> None:
        """Begin to look, as soon as there is an actor with a cadence."""
        self._started = True
        self._begin()

    def _begin(self) -> None:
        if self._started and self._next and self.task is None:
            self.task = asyncio.create_task(self._run(), name="holdfast-cadence")

    async def stop(self) -> None:
        """Look no more."""
        self._started = False
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None

    def hear(self, committed: CommittedTick) -> None:
        """Set how often an actor is looked at, by its state after a tick."""
        kind, after = committed.kind, committed.tick.after
        cadence = kind.definition.cadence
        if cadence is None:
            return
        actor, every_ms = after.address, cadence(after.state, kind.policy)
        if every_ms == self._every.get(actor, 0):
            return
        if every_ms:
            self._every[actor] = every_ms
            self._plan(actor, every_ms)
        else:
            del self._every[actor], self._next[actor]

    def late_ms(self) -> float:
        """Return for how long a look has been due that was not begun, in milliseconds."""
        return self._clock.steady_ms() - self._heap[0][0] if self._heap else 0.0

    def _plan(self, actor: Address, every_ms: int) -> None:
        """Set the next look: the actor's phase, and as many intervals as are over."""
        now_ms = int(self._clock.steady_ms())
        phase_ms = spread_ms(every_ms, "cadence", str(actor))
        at_ms = now_ms - (now_ms - phase_ms) % every_ms + every_ms
        self._next[actor] = at_ms
        heapq.heappush(self._heap, (at_ms, actor))
        self._begin()
        if self._heap[0][1] == actor:
            self._moved.set()
        if len(self._heap) > _HEAP_SLACK * len(self._next) + ALARM_PAGE:
            self._heap = [(due_ms, one) for one, due_ms in self._next.items()]
            heapq.heapify(self._heap)

    async def _run(self) -> None:
        """Look for ever; an exception is logged and it starts again."""
        while True:
            try:
                await self._watch()
            except Exception as error:  # noqa: BLE001  every town relies on this one loop
                self._meter.count(metrics.FAULTS, where="cadence")
                self._log.error("cadence.fault", exc_info=error)
                await asyncio.sleep(LOOP_RETRY_S)

    async def _watch(self) -> None:
        """Wake who is due, and sleep until the next."""
        while True:
            now_ms = self._clock.steady_ms()
            while self._heap and self._heap[0][0] <= now_ms:
                at_ms, actor = heapq.heappop(self._heap)
                if self._next.get(actor) == at_ms:
                    self._plan(actor, self._every[actor])
                    self._wake(actor)
            self._moved.clear()
            # Whole milliseconds, and one at least: a rest of time that no clock tells is no wait.
            wait_s = max(self._heap[0][0] - now_ms, 1) / SECOND_MS if self._heap else None
            try:
                async with asyncio.timeout(wait_s):
                    await self._moved.wait()
            except TimeoutError:
                continue
