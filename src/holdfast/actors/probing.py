"""Probes: periodic queries of other systems, at computed times.

The next time of a probe is not stored: it is a phase, derived from its name, plus whole periods, so
that queries are spread over the fleet and nothing is written while nothing changes. At start-up
each is made once, spread over a window. An answer makes an event only when it differs from the
last; a failure makes none, is counted, and is tried again within the period.

A stored probe was made under the policy of its time. Before its first call after start-up it is
compared with the probe that its actor defines now and follows that, which writes nothing. So a
policy can change and end a probe; it cannot begin one, because that takes a commit, and there is
none where nothing happened.

When the clock is set back, due times move with it, so that no call is late by the step.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

from msgspec import structs

from holdfast.actors.commit import fold_loaded
from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.definition import ProbeAnswer
from holdfast.actors.kinds import Kinds
from holdfast.actors.limiter import Limiter
from holdfast.actors.limits import (
    CLOCK_STEP_MS,
    EFFECT_TIMEOUT_MS,
    LOOP_RETRY_S,
    PROBE_PAGE,
    PROBE_SPREAD_MS,
    REASON_CHARS_MAX,
)
from holdfast.actors.ports import Accepted, Arrival, Journal, ProbeRow, asks_alike
from holdfast.actors.tasks import is_cancelled
from holdfast.kernel import metrics
from holdfast.kernel.backoff import Backoff, spread_ms
from holdfast.kernel.clock import SECOND_MS, Clock, StepWatch
from holdfast.kernel.failure import brief
from holdfast.kernel.ids import Address
from holdfast.kernel.log import Log
from holdfast.kernel.metrics import Meter
from holdfast.kernel.outcome import Outcome, Retryable

_BACKOFF = Backoff(first_ms=5_000, cap_ms=3_600_000)
_GLANCE_MS = 30_000
_PERIOD_MS_MIN = 1_000
_HEAP_SLACK = 3
"""Stale heap entries per probe before the heap is rebuilt."""


class ProbeCall(NamedTuple):
    """A probe as its executor gets it."""

    actor: Address
    key: str
    provider: str
    body: Any
    epoch: int
    period_ms: int


Looker: TypeAlias = Callable[[ProbeCall], Awaitable[Outcome[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookout:
    """An executor of probes; the limiter may be shared with the provider's effects."""

    look: Looker
    gate: Limiter
    timeout_ms: int = EFFECT_TIMEOUT_MS


class _Standing:
    """One probe: `at_ms` is its next time; `busy` while it waits for the limiter or an answer.

    `renewed` is true once it is as its actor defines it under the present policy.
    """

    __slots__ = ("answer", "at_ms", "busy", "failures", "gone", "renewed", "row")

    def __init__(self, row: ProbeRow, at_ms: int, *, renewed: bool) -> None:
        self.row = row
        self.answer = row.answer
        self.at_ms = at_ms
        self.renewed = renewed
        self.failures = 0
        self.busy = False
        self.gone = False


def next_look_ms(actor: Address, key: str, period_ms: int, now_ms: int) -> int:
    """Return the next time of a probe after `now_ms`: its phase plus k periods."""
    period_ms = max(period_ms, _PERIOD_MS_MIN)
    phase_ms = spread_ms(period_ms, "probe", str(actor), key)
    return now_ms + 1 + (phase_ms - now_ms - 1) % period_ms


class Prober:
    """All probes of this process."""

    def __init__(
        self,
        journal: Journal,
        kinds: Kinds,
        lookouts: Mapping[str, Lookout],
        *,
        told: Callable[[Address, Arrival, Accepted], None],
        clock: Clock,
        log: Log,
        meter: Meter,
        spread_window_ms: int = PROBE_SPREAD_MS,
    ) -> None:
        """Start nothing yet; first calls are spread over `spread_window_ms`."""
        self._journal = journal
        self._kinds = kinds
        self._lookouts = lookouts
        self._told = told
        self._clock = clock
        self._log = log
        self._meter = meter
        self._window_ms = spread_window_ms
        self._all: dict[tuple[Address, str], _Standing] = {}
        self._heap: list[tuple[int, Address, str]] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._moved = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._all)

    async def start(self) -> None:
        """Read the standing probes and begin to make them."""
        after = ("", "")
        now_ms = self._clock.now_ms()
        while page := await self._journal.probes(PROBE_PAGE, after):
            for row in page:
                window_ms = min(self._window_ms, max(row.period_ms, _PERIOD_MS_MIN))
                first_ms = now_ms + spread_ms(window_ms, "first", str(row.actor), row.key)
                self._put(_Standing(row, first_ms, renewed=False))
            if len(page) < PROBE_PAGE:
                break
            after = (str(page[-1].actor), page[-1].key)
        self.task = asyncio.create_task(self._run(), name="holdfast-prober")

    def halt(self) -> None:
        """Ask nothing further: another process owns the actors now."""
        if self.task is not None:
            self.task.cancel()

    async def stop(self) -> None:
        """Ask no more."""
        tasks = [*self._tasks, *([self.task] if self.task is not None else [])]
        for lookout in self._lookouts.values():
            lookout.gate.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.task = None
        self._all.clear()
        self._heap.clear()

    def hear(self, committed: CommittedTick) -> None:
        """Apply a committed tick: probes begun, changed and ended."""
        if committed.commit is None:
            return
        actor = committed.commit.actor
        for key in committed.commit.unprobes:
            standing = self._all.pop((actor, key), None)
            if standing is not None:
                standing.gone = True
        for row in committed.commit.probes:
            at_ms = next_look_ms(actor, row.key, row.period_ms, self._clock.now_ms())
            self._put(_Standing(row, at_ms, renewed=True))

    def _put(self, standing: _Standing) -> None:
        row = standing.row
        old = self._all.get((row.actor, row.key))
        if old is not None:
            old.gone = True
            if asks_alike(old.row, row):
                standing.answer = old.answer
        self._all[row.actor, row.key] = standing
        self._schedule(standing, standing.at_ms)

    def _schedule(self, standing: _Standing, at_ms: int) -> None:
        standing.at_ms = at_ms
        heapq.heappush(self._heap, (at_ms, standing.row.actor, standing.row.key))
        if self._heap[0][0] == at_ms:
            self._moved.set()
        if len(self._heap) > _HEAP_SLACK * len(self._all) + PROBE_PAGE:
            self._heap = [(one.at_ms, *where) for where, one in self._all.items()]
            heapq.heapify(self._heap)

    def _set_back(self, by_ms: int) -> None:
        """Move every due time by `by_ms`: the clock was set back."""
        for standing in self._all.values():
            standing.at_ms -= by_ms
        self._heap = [(one.at_ms, *where) for where, one in self._all.items()]
        heapq.heapify(self._heap)

    async def _run(self) -> None:
        """Run `_watch` for ever; an exception is logged and it starts again."""
        while True:
            try:
                await self._watch()
            except Exception as error:  # noqa: BLE001  every actor relies on this one loop
                self._meter.count(metrics.FAULTS, where="prober")
                self._log.error("prober.fault", exc_info=error)
                await asyncio.sleep(LOOP_RETRY_S)

    async def _watch(self) -> None:
        """Make the probes that are due and sleep until the next, for ever."""
        steps = StepWatch(self._clock)
        while True:
            stepped_ms = round(steps.stepped_ms())
            if stepped_ms < -CLOCK_STEP_MS:
                self._set_back(-stepped_ms)
            now_ms = self._clock.now_ms()
            while self._heap and self._heap[0][0] <= now_ms:
                at_ms, actor, key = heapq.heappop(self._heap)
                standing = self._all.get((actor, key))
                if standing is not None and standing.at_ms == at_ms and not standing.busy:
                    self._queue(standing, now_ms)
            self._moved.clear()
            next_ms = self._heap[0][0] - now_ms if self._heap else _GLANCE_MS
            try:
                async with asyncio.timeout(min(max(next_ms, 1), _GLANCE_MS) / SECOND_MS):
                    await self._moved.wait()
            except TimeoutError:
                continue

    def _queue(self, standing: _Standing, now_ms: int) -> None:
        """Have a probe asked when its provider's turn has come."""
        row = standing.row
        lookout = self._lookouts.get(row.provider)
        if lookout is None:
            nobody = f"nobody asks {row.provider!r}"
            self._failed(standing, "no_provider", nobody, None, now_ms)
            return
        standing.busy = True

        def start() -> None:
            task = asyncio.get_running_loop().create_task(self._look(standing, lookout))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        lookout.gate.submit(start)

    async def _look(self, standing: _Standing, lookout: Lookout) -> None:
        """Probe once and handle the answer; after any failure it is probed again later."""
        code = "bug"
        try:
            asked = await self._in_turn(standing, lookout)
            if asked is None:
                return
            (outcome,) = asked
            code = "store"
            if isinstance(outcome, Retryable):
                if outcome.retry_after_ms:
                    lookout.gate.pause(outcome.retry_after_ms)
                self._failed(standing, outcome.code, outcome.message, None, self._clock.now_ms())
            else:
                await self._answered(standing, outcome)
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            self._put_off(standing, code, error)
        except Exception as error:  # noqa: BLE001  tried again; the traceback is logged
            self._put_off(standing, code, error)
        finally:
            standing.busy = False

    async def _in_turn(self, standing: _Standing, lookout: Lookout) -> tuple[Outcome[Any]] | None:
        """Ask and give the turn back; None when it is not asked with this turn."""
        asked = False
        try:
            if not (standing.renewed or await self._renew(standing)):
                return None
            asked = True
            return (await self._call(standing.row, lookout),)
        finally:
            if asked:
                lookout.gate.leave()
            else:
                lookout.gate.refund()

    def _put_off(self, standing: _Standing, code: str, error: BaseException) -> None:
        """Try again after a while, even where the time cannot be asked."""
        try:
            text = brief(error)
            self._failed(standing, code, text, error, self._clock.now_ms())
        except Exception as second:  # noqa: BLE001  it must be asked again, whatever is wrong
            self._log.error("prober.fault", exc_info=second)
            loop = asyncio.get_running_loop()
            loop.call_later(LOOP_RETRY_S, self._schedule, standing, 0)

    async def _renew(self, standing: _Standing) -> bool:
        """Update a probe to its actor's present definition; return whether to make it now."""
        row, kind = standing.row, self._kinds[standing.row.actor.kind]
        loaded = await self._journal.load(row.actor)
        if standing.gone:
            return False
        state = fold_loaded(kind.definition, row.actor, loaded).folded.state
        asked = {probe.key: probe for probe in kind.definition.probes(state, kind.policy)}
        probe = asked.get(row.key)
        if probe is None:
            standing.gone = True
            del self._all[row.actor, row.key]
            return False
        standing.renewed = True
        standing.row = now = structs.replace(
            row,
            provider=probe.provider,
            body=kind.definition.encode_effect(probe.body),
            period_ms=probe.period_ms,
            epoch=probe.epoch,
        )
        if not asks_alike(row, now):
            standing.answer = ""
        if now.provider == row.provider:
            return True
        self._schedule(standing, self._clock.now_ms())
        return False

    async def _call(self, row: ProbeRow, lookout: Lookout) -> Outcome[Any]:
        definition = self._kinds[row.actor.kind].definition
        call = ProbeCall(
            actor=row.actor,
            key=row.key,
            provider=row.provider,
            body=definition.decode_effect(row.body),
            epoch=row.epoch,
            period_ms=row.period_ms,
        )
        limit = asyncio.timeout(lookout.timeout_ms / SECOND_MS)
        try:
            async with limit:
                return await lookout.look(call)
        except TimeoutError:
            if limit.expired():
                return Retryable("timeout", f"no answer within {lookout.timeout_ms} ms")
            raise

    async def _answered(self, standing: _Standing, outcome: Outcome[Any]) -> None:
        """Make an event of an answer that differs from the last, and schedule the next call."""
        row = standing.row
        definition = self._kinds[row.actor.kind].definition
        if standing.gone:
            return
        if definition.probed is None:
            raise TypeError(f"kind {row.actor.kind!r} has probes but no `probed`")
        answer = ProbeAnswer(row.key, row.epoch, outcome)
        body = definition.encode_event(definition.probed(answer))
        digest = hashlib.blake2b(body, digest_size=16).hexdigest()
        now_ms = self._clock.now_ms()
        self._meter.count(
            metrics.PROBES,
            provider=row.provider,
            result="same" if digest == standing.answer else "changed",
        )
        if digest != standing.answer:
            arrival = Arrival(
                body=body,
                dedupe=f"probe:{row.key}:{now_ms}:{digest}",
                version=definition.version,
                source="probe",
                cause=f"probe:{row.key}",
            )
            accepted = await self._journal.answer_probe(row.actor, row.key, digest, arrival)
            if accepted is None:
                standing.gone = True
                self._all.pop((row.actor, row.key), None)
                return
            standing.answer = digest
            self._told(row.actor, arrival, accepted)
            self._log.info("probe.changed", actor=str(row.actor), probe=row.key, answer=digest)
        standing.failures = 0
        if not standing.gone:
            self._schedule(standing, next_look_ms(row.actor, row.key, row.period_ms, now_ms))

    def _failed(
        self,
        standing: _Standing,
        code: str,
        message: str,
        error: BaseException | None,
        now_ms: int,
    ) -> None:
        """Count a failure and schedule a retry, at the next regular time at the latest."""
        row = standing.row
        if standing.gone:
            return
        standing.failures += 1
        regular_ms = next_look_ms(row.actor, row.key, row.period_ms, now_ms)
        delay_ms = _BACKOFF.delay_ms(standing.failures, str(row.actor), row.key)
        self._meter.count(metrics.PROBES, provider=row.provider, result="failed")
        write = self._log.info if error is None else self._log.error
        write(
            "probe.failed",
            actor=str(row.actor),
            probe=row.key,
            code=code,
            failures=standing.failures,
            reason=message[:REASON_CHARS_MAX],
            exc_info=error,
        )
        self._schedule(standing, min(regular_ms, now_ms + delay_ms))
