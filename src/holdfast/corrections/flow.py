"""The ingest of brains' rows: rate-limited, written in groups, answered when durable.

Requests that arrive while one group is written form the next, so more rows share a commit under
load. A group that cannot be written is retried request by request, so that a bad one fails alone.
Texts are never logged.
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
from holdfast.kernel.failure import brief
from holdfast.kernel.log import Log
from holdfast.kernel.metrics import Meter
from holdfast.letters.topics import BRAIN, CORRECTION, LESSON, Publish, Topic
from holdfast.wire.api.call import Refusal

_Waiting = tuple[Arrival, "asyncio.Future[Written]"]


class CorrectionsFlow:
    """Writes arrivals; made once, by plane/wiring."""

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
        """Keep corrections and events for `keep` milliseconds."""
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
        """Count rows against a brain's limit a minute; refuse (429) rows beyond it.

        An empty request counts as one row, since it is written too. A request larger than the limit
        takes a whole empty minute: it would never fit otherwise. Refused corrections are not
        counted, so that they do not lengthen the wait.
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
        """Refuse (429) a request with a correction beyond the limit, without counting.

        So a request that will be refused is not decoded, and a brain that ignores retry-after
        costs little.
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
        """Return the result of an arrival, once durable; refuse (503) one not written."""
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
                fix="check the plane's disk and log; send it again", retry_after_s=5,
            ) from error  # fmt: skip

    async def close(self) -> None:
        """Write what is waiting."""
        while self._writing:
            await asyncio.gather(*self._writing, return_exceptions=True)

    def _begin(self) -> None:
        """Submit a group to the writer, up to its number of groups in flight."""
        if not self._waiting or len(self._writing) >= limits.GROUPS_AT_ONCE:
            return
        task = asyncio.get_running_loop().create_task(self._write(self._next_group()))
        self._writing.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._writing.discard(task)
        self._begin()

    def _next_group(self) -> list[_Waiting]:
        """Return the longest waiting arrivals, as many as fit into one commit."""
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
        except Exception as error:  # noqa: BLE001  each request gets the error, or is tried alone
            if len(group) > 1:
                self._log.warning("intake.group_failed", requests=len(group), reason=brief(error))
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
        except Exception as error:  # noqa: BLE001  its sender gets the error
            self._fail(one, error)

    def _fail(self, one: _Waiting, error: Exception) -> None:
        """Set the error of a request that was not written."""
        arrival, future = one
        self._log.error(
            "intake.not_stored", brain=arrival.brain, rows=arrival.rows, reason=brief(error)
        )
        self._meter.count(metrics.INTAKE_FAILURES)
        if not future.done():
            future.set_exception(error)

    async def _write_all(self, group: Sequence[_Waiting]) -> None:
        """Write requests in one commit, set their results and notify open pages."""
        now_ms = self._clock.now_ms()
        forgotten = Forgotten(now_ms - self._keep.corrections_ms, now_ms - self._keep.events_ms)
        arrivals = [arrival for arrival, _ in group]
        written = await self._store.write(arrivals, forgotten=forgotten)
        for (arrival, future), one in zip(group, written, strict=True):
            self._directory.note(arrival, one)
            if not future.done():
                future.set_result(one)
        self._announce(arrivals, written)

    def _announce(self, arrivals: Sequence[Arrival], written: Sequence[Written]) -> None:
        """Publish each changed brain once, and update the metrics."""
        topics: dict[tuple[Topic, int], None] = {}
        accepted = deduplicated = refused = 0
        for arrival, one in zip(arrivals, written, strict=True):
            accepted += one.accepted
            deduplicated += one.deduplicated
            refused += len(arrival.refused)
            if arrival.refused:
                self._log.warning(
                    "intake.rows_refused",
                    brain=self._directory.brain(arrival.brain).id,
                    route=arrival.route,
                    rows=len(arrival.refused),
                    codes=sorted({one.code for one in arrival.refused}),
                )
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
