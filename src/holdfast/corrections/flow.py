"""The stream of what brains send: bounded, gathered, written in groups, answered when durable.

What waits while one group is written goes together into the next, so the busier it is the more
rows share a commit. A group that cannot be written is tried row by row of its requests, so that
one that breaks the store fails alone. Nothing of a text is ever logged.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import NoReturn

from holdfast.corrections import limits
from holdfast.corrections.directory import Directory
from holdfast.corrections.ports import CorrectionsStore
from holdfast.corrections.records import Arrival, Forgotten, Written
from holdfast.corrections.window import Windows
from holdfast.kernel import metrics
from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.kernel.log import Log
from holdfast.kernel.metrics import Meter
from holdfast.letters.topics import BRAIN, CORRECTION, LESSON, Publish, Topic
from holdfast.wire.api.call import Refusal

_Waiting = tuple[Arrival, "asyncio.Future[Written]"]


class CorrectionsFlow:
    """Rows in, durable rows out; made once, by plane/wiring."""

    def __init__(
        self,
        store: CorrectionsStore,
        directory: Directory,
        *,
        clock: Clock,
        log: Log,
        meter: Meter,
        publish: Publish,
        keep: Forgotten,
        corrections_per_minute: int = limits.CORRECTIONS_PER_MINUTE,
    ) -> None:
        """Join the parts; nothing runs before something is taken.

        `keep` is how long corrections and events are kept, in milliseconds.
        """
        self._store = store
        self._directory = directory
        self._clock = clock
        self._log = log
        self._meter = meter
        self._publish = publish
        self._keep = keep
        self._per_minute = corrections_per_minute
        self._corrections = Windows(corrections_per_minute)
        self._others = Windows(limits.ROWS_PER_MINUTE)
        self._waiting: deque[_Waiting] = deque()
        self._waiting_rows = 0
        self._writing: set[asyncio.Task[None]] = set()

    def bound(self, brain: int, *, corrections: int, others: int) -> None:
        """Count rows against a brain's minute; refuse (429) what it has no room for.

        A request with nothing in it counts as one row, since it is written down too. One with more
        than a whole minute holds takes all of an empty one: it would never fit otherwise.
        Corrections that are refused count for nothing, so that what waits is not made longer.
        """
        now_ms = round(self._clock.steady_ms())
        if not corrections:
            others = max(1, others)
        wait_ms = 0
        if others:
            wait_ms = self._others.take(brain, min(others, limits.ROWS_PER_MINUTE), now_ms)
        if corrections and not wait_ms:
            wait_ms = self._corrections.take(brain, min(corrections, self._per_minute), now_ms)
        if wait_ms:
            self._refuse(wait_ms)

    def refuse_full(self, brain: int) -> None:
        """Refuse (429) a request with a correction for which there is no room, and count nothing.

        It spares the reading of a request that is refused whatever else is in it, so that a brain
        that does not wait costs others little.
        """
        wait_ms = self._corrections.wait_ms(brain, 1, round(self._clock.steady_ms()))
        if wait_ms:
            self._refuse(wait_ms)

    def _refuse(self, wait_ms: int) -> NoReturn:
        self._meter.count(metrics.INTAKE_THROTTLED)
        wait_s = -(-wait_ms // SECOND_MS)
        raise Refusal(
            429, "too_many_corrections",
            f"a brain may send {self._per_minute} corrections a minute; wait {wait_s} s",
            fix="wait as long as retry-after says; nothing of this request was taken",
            retry_after_s=wait_s,
        )  # fmt: skip

    async def take(self, arrival: Arrival) -> Written:
        """Return what became of an arrival, once it is durable; refuse (503) what cannot be now."""
        if self._waiting_rows + arrival.rows > limits.WAITING_ROWS_MAX:
            raise Refusal(
                503, "intake_busy", "more rows wait for the disk than this plane holds",
                fix="send them again in a few seconds", retry_after_s=5,
            )  # fmt: skip
        future: asyncio.Future[Written] = asyncio.get_running_loop().create_future()
        self._waiting.append((arrival, future))
        self._waiting_rows += arrival.rows
        self._begin()
        try:
            return await future
        except Refusal:
            raise
        except Exception as error:
            raise Refusal(
                503, "not_stored", "the disk did not take it; nothing of this request was kept",
                fix="look at the disk and the log of the plane; send it again", retry_after_s=5,
            ) from error  # fmt: skip

    async def close(self) -> None:
        """Write what waits."""
        while self._writing:
            await asyncio.gather(*self._writing, return_exceptions=True)

    def _begin(self) -> None:
        """Hand a group to the writer, unless as many as it may have are on their way."""
        if not self._waiting or len(self._writing) >= limits.GROUPS_AT_ONCE:
            return
        task = asyncio.get_running_loop().create_task(self._write(self._gather()))
        self._writing.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._writing.discard(task)
        self._begin()

    def _gather(self) -> list[_Waiting]:
        """Return those that waited longest, as many as fit into one commit."""
        group: list[_Waiting] = []
        rows = 0
        while self._waiting:
            more = self._waiting[0][0].rows
            if group and rows + more > limits.GROUP_ROWS_MAX:
                break
            group.append(self._waiting.popleft())
            rows += more
        return group

    async def _write(self, group: list[_Waiting]) -> None:
        """Write a group and answer each request of it, whatever goes wrong."""
        started_ms: float | None = None
        try:
            started_ms = self._clock.steady_ms()
            await self._write_all(group)
        except Exception as error:  # noqa: BLE001  each request hears of it, or is tried alone
            if len(group) > 1:
                self._log.warning("intake.group_failed", requests=len(group), reason=str(error))
                for one in group:
                    await self._write_one(one)
            else:
                self._fail(group[0], error)
        finally:
            self._waiting_rows -= sum(arrival.rows for arrival, _ in group)
            if started_ms is not None:
                spent_s = (self._clock.steady_ms() - started_ms) / SECOND_MS
                self._meter.observe(metrics.INTAKE_COMMIT_SECONDS, spent_s)
            self._meter.gauge(metrics.INTAKE_WAITING_ROWS, self._waiting_rows)

    async def _write_one(self, one: _Waiting) -> None:
        """Write one request of a group that failed."""
        try:
            await self._write_all([one])
        except Exception as error:  # noqa: BLE001  its sender hears of it
            self._fail(one, error)

    def _fail(self, one: _Waiting, error: Exception) -> None:
        """Tell a sender that its request was not written."""
        arrival, future = one
        self._log.error(
            "intake.not_stored", brain=arrival.brain, rows=arrival.rows, reason=str(error)
        )
        self._meter.count(metrics.INTAKE_FAILURES)
        if not future.done():
            future.set_exception(error)

    async def _write_all(self, group: Sequence[_Waiting]) -> None:
        """Write requests in one commit, and tell whoever waits or watches."""
        now_ms = self._clock.now_ms()
        forgotten = Forgotten(now_ms - self._keep.corrections_ms, now_ms - self._keep.events_ms)
        arrivals = [arrival for arrival, _ in group]
        written = await self._store.write(arrivals, forgotten=forgotten)
        for (arrival, future), one in zip(group, written, strict=True):
            self._directory.note(arrival, one)
            if not future.done():
                future.set_result(one)
        self._tell(arrivals, written)

    def _tell(self, arrivals: Sequence[Arrival], written: Sequence[Written]) -> None:
        """Say what is new of each brain, once, and count."""
        topics: dict[tuple[Topic, int], None] = {}
        accepted = deduplicated = refused = 0
        for arrival, one in zip(arrivals, written, strict=True):
            accepted += one.accepted
            deduplicated += one.deduplicated
            refused += len(arrival.refused)
            if arrival.corrections:
                topics[CORRECTION, arrival.brain] = None
            if one.lessons:
                topics[LESSON, arrival.brain] = None
            topics[BRAIN, arrival.brain] = None
        for topic, no in topics:
            brain = self._directory.brain(no)
            self._publish(topic, brain.id, brain.account)
        outcomes = (("accepted", accepted), ("deduplicated", deduplicated), ("refused", refused))
        for outcome, rows in outcomes:
            if rows:
                self._meter.count(metrics.INTAKE_ROWS, rows, outcome=outcome)
