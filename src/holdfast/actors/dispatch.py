"""Effects: calls to other systems, made after the commit that decided them, at least once each.

Effects of one lane run in order, those of different lanes concurrently, as far as the provider's
limiter allows. Immediately before each call its epoch and its time are checked against the
committed state. The outcome comes back as an event, accepted in the transaction that finishes the
effect; if the process dies between the call and that transaction, the call is made again, with the
same idempotency key.

Outcomes given to `settle` besides those that the executor returned:

    Retryable("expired")       `valid_until_ms` passed before it could be made, or retried
    Permanent("unwanted")      `wanted` returned false
    Retryable("timeout")       the executor did not return in time; it may have been done
    Permanent("bug")           the executor raised; the log has the traceback
    Permanent("no_provider")   no such provider
    Permanent("undecodable")   its body could not be decoded

A superseded effect makes no event: the intent that superseded it is in the state already.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from msgspec.structs import replace

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.definition import EffectCall
from holdfast.actors.kinds import Kinds
from holdfast.actors.limiter import Limiter
from holdfast.actors.limits import (
    EFFECT_PAGE,
    EFFECT_TIMEOUT_MS,
    LANE_RETRY_MS_MAX,
    REASON_CHARS_MAX,
)
from holdfast.actors.ports import Accepted, Arrival, EffectRow, EffectStatus, Journal
from holdfast.actors.tasks import is_cancelled
from holdfast.actors.tick import Folded
from holdfast.kernel import metrics
from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import MINUTE_MS, SECOND_MS, Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.ids import Address
from holdfast.kernel.log import Log
from holdfast.kernel.metrics import Meter
from holdfast.kernel.outcome import Ok, Outcome, Permanent, Retryable

Executor: TypeAlias = Callable[[EffectCall], Awaitable[Outcome[Any]]]
StateOf: TypeAlias = Callable[[Address], Awaitable[Folded[Any] | None]]
Told: TypeAlias = Callable[[Address, Arrival, Accepted], None]

RATE_LIMITED = "rate_limited"
"""The code of a Retryable whose `retry_after_ms` holds for the whole provider."""

_LANE_BACKOFF = Backoff(first_ms=500, cap_ms=10_000)
_STORE_BACKOFF = Backoff(first_ms=100, cap_ms=10_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """An executor of effects and its bounds; an executor may wait for a machine's report.

    `timeout_ms` bounds one call. The limiter may be shared with the provider's probes.
    `settling` are codes of a Retryable that settle the effect at once, without retries in the
    lane: retrying within seconds does not help, so the rules decide when to try again.
    """

    execute: Executor
    gate: Limiter
    timeout_ms: int = EFFECT_TIMEOUT_MS
    settling: frozenset[str] = frozenset()


class _Lane:
    """Effects to be made in order. Nothing begins while `holds` is above 0."""

    __slots__ = ("attempt", "began_ms", "holds", "key", "rows", "running", "superseded", "timer")

    def __init__(self, key: tuple[Address, str]) -> None:
        self.key = key
        self.rows: deque[EffectRow] = deque()
        self.holds = 0
        self.running: EffectRow | None = None
        self.superseded = False
        self.attempt = 0
        self.began_ms = 0.0
        self.timer: asyncio.TimerHandle | None = None


class Dispatch:
    """All lanes of this process."""

    def __init__(
        self,
        journal: Journal,
        kinds: Kinds,
        providers: Mapping[str, Provider],
        *,
        state_of: StateOf,
        told: Told,
        clock: Clock,
        log: Log,
        meter: Meter,
    ) -> None:
        """Start nothing yet; `told` is called with each event that was made from an outcome."""
        self._journal = journal
        self._kinds = kinds
        self._providers = providers
        self._state_of = state_of
        self._told = told
        self._clock = clock
        self._log = log
        self._meter = meter
        self._lanes: dict[tuple[Address, str], _Lane] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._stopping = False

    def __len__(self) -> int:
        return self._waiting

    async def start(self) -> None:
        """Load unfinished effects, in the order of the lanes.

        A previous process may have begun any of them, so each counts as tried once.
        """
        self._stopping = False
        rows: list[EffectRow] = []
        while page := await self._journal.waiting_effects(
            EFFECT_PAGE, after=rows[-1].id if rows else ""
        ):
            rows += page
            if len(page) < EFFECT_PAGE:
                break
        for row in sorted(rows, key=lambda row: (row.actor, row.lane, row.ordinal)):
            self.add(replace(row, attempts=max(1, row.attempts)))
        if rows:
            self._log.info("effects.resumed", count=len(rows))

    def halt(self) -> None:
        """Begin no further call: another process holds the lease now."""
        self._stopping = True

    async def stop(self) -> None:
        """Abandon the calls under way: the next start makes them again, with the same key."""
        self._stopping = True
        for provider in self._providers.values():
            provider.gate.close()
        for lane in self._lanes.values():
            if lane.timer is not None:
                lane.timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._lanes.clear()
        self._waiting = 0

    def hear(self, committed: CommittedTick) -> None:
        """Add the effects of a committed tick."""
        if committed.commit is not None:
            for row in committed.commit.effects:
                self.add(row)

    def add(self, row: EffectRow) -> None:
        """Append an effect to its lane; one that supersedes drops those waiting there."""
        key = (row.actor, row.lane)
        lane = self._lanes.get(key)
        if lane is None:
            lane = self._lanes[key] = _Lane(key)
        if any(known.id == row.id for known in lane.rows):
            return
        if row.supersedes and lane.rows:
            self._supersede(lane)
        lane.rows.append(row)
        self._count(1)
        self._kick(lane)

    def _supersede(self, lane: _Lane) -> None:
        """Drop the effects that wait in a lane; the next one begins once that is durable."""
        running = lane.running
        dropped = [row for row in lane.rows if row is not running]
        lane.rows = deque([running] if running is not None else [])
        lane.superseded = running is not None
        self._let_go(lane)
        if not dropped:
            return
        lane.holds += 1

        async def drop() -> None:
            for row in dropped:
                await self._finish(row, "superseded", None)
                self._say(row, "superseded", "a newer intent took its place")
            self._release(lane)

        self._spawn(drop())

    # -- lanes -------------------------------------------------------------------------------

    def _kick(self, lane: _Lane) -> None:
        """Queue the first effect of a lane for its provider, if nothing holds the lane."""
        if lane.holds or self._stopping:
            return
        if not lane.rows:
            self._lanes.pop(lane.key, None)
            return
        row = lane.rows[0]
        lane.holds += 1
        provider = self._providers.get(row.provider)
        if provider is None:
            lane.running = row
            nobody = Permanent("no_provider", f"nobody carries out {row.provider!r}")
            self._spawn(self._settle(lane, row, self._call(row), "done", nobody))
        else:
            provider.gate.submit(lambda: self._begin(lane, provider))

    def _begin(self, lane: _Lane, provider: Provider) -> None:
        """Start the effect that is first now, with a slot of the limiter."""
        lane.holds -= 1
        stale = not lane.rows or self._providers.get(lane.rows[0].provider) is not provider
        if self._stopping or lane.holds or stale:
            provider.gate.refund()
            self._kick(lane)
            return
        lane.holds += 1
        lane.running = lane.rows[0]
        self._spawn(self._attempt(lane, lane.running, provider))

    def _release(self, lane: _Lane) -> None:
        lane.holds -= 1
        self._kick(lane)

    def _rest(self, lane: _Lane, delay_ms: float) -> None:
        """Hold a lane for `delay_ms`; a superseding effect ends the wait."""
        self._let_go(lane)
        lane.holds += 1

        def rested() -> None:
            lane.timer = None
            self._release(lane)

        lane.timer = asyncio.get_running_loop().call_later(delay_ms / SECOND_MS, rested)

    def _let_go(self, lane: _Lane) -> None:
        """End a lane's wait."""
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
            lane.holds -= 1
        if lane.running is None:
            lane.attempt = 0

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a coroutine as a task; an exception is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

        def over(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            if not done.cancelled() and (error := done.exception()) is not None:
                self._meter.count(metrics.FAULTS, where="dispatch")
                self._log.error("dispatch.fault", exc_info=error)

        task.add_done_callback(over)

    # -- one attempt -------------------------------------------------------------------------

    async def _attempt(self, lane: _Lane, row: EffectRow, provider: Provider) -> None:
        """Check once more that the effect is wanted, call, and decide what the outcome means.

        Whatever is raised, the turn is given back and the lane goes on; only a stop ends it.
        """
        try:
            outcome = await self._in_turn(lane, row, provider)
            if outcome is None:
                self._put_off(lane)
                return
            call, status, came = outcome
            if (
                isinstance(came, Retryable)
                and status == "done"
                and came.code not in provider.settling
                and self._again(lane, came)
            ):
                lane.running = None
                self._release(lane)
                return
        except Exception as error:  # noqa: BLE001  its outcome is not known; it is made again
            self._meter.count(metrics.FAULTS, where="dispatch")
            self._log.error("effect.stuck", actor=str(row.actor), effect=row.id, exc_info=error)
            self._put_off(lane)
            return
        await self._settle(lane, row, call, status, came)

    async def _in_turn(
        self, lane: _Lane, row: EffectRow, provider: Provider
    ) -> tuple[EffectCall, EffectStatus, Outcome[Any]] | None:
        """Call the provider and release the turn; None if the actor's state cannot be loaded."""
        try:
            if lane.attempt == 0:
                lane.attempt = row.attempts
                lane.began_ms = self._clock.steady_ms()
            lane.attempt += 1
            call, status, outcome = await self._carry_out(row, provider, lane.attempt)
            if isinstance(outcome, Retryable) and outcome.code == RATE_LIMITED:
                provider.gate.pause(outcome.retry_after_ms or 0)
        finally:
            provider.gate.leave()
        return None if outcome is None else (call, status, outcome)

    def _put_off(self, lane: _Lane) -> None:
        """Look at a lane again in a minute, and count its attempts anew."""
        lane.running = None
        self._rest(lane, MINUTE_MS)
        self._release(lane)

    def _again(self, lane: _Lane, outcome: Retryable) -> bool:
        """Schedule another attempt in the lane, if time is left for one."""
        row = lane.rows[0]
        delay_ms = outcome.retry_after_ms or _LANE_BACKOFF.delay_ms(lane.attempt, row.id)
        spent_ms = self._clock.steady_ms() - lane.began_ms
        if lane.superseded or spent_ms + delay_ms > LANE_RETRY_MS_MAX:
            return False
        self._meter.count(metrics.EFFECT_RETRIES, provider=row.provider)
        self._log.info(
            "effect.retried",
            actor=str(row.actor),
            effect=row.id,
            lane=row.lane,
            attempt=lane.attempt,
            code=outcome.code,
            reason=outcome.message[:REASON_CHARS_MAX],
            retry_in_ms=delay_ms,
        )
        self._rest(lane, delay_ms)
        return True

    async def _carry_out(
        self, row: EffectRow, provider: Provider, attempt: int
    ) -> tuple[EffectCall, EffectStatus, Outcome[Any] | None]:
        """Make the call, unless it is too late or unwanted; None when the state is unknown."""
        call = self._call(row, attempt)
        if call.body is None:
            return call, "done", Permanent("undecodable", f"effect {row.id}: body not understood")
        folded = await self._state_of(row.actor)
        if folded is None:
            reason = "its actor is of an unknown kind, or newer than this code"
            self._log.error("effect.stuck", actor=str(row.actor), effect=row.id, reason=reason)
            return call, "waiting", None
        now_ms = self._clock.now_ms()
        if now_ms > row.valid_until_ms:
            late_ms = now_ms - row.valid_until_ms
            return call, "expired", Retryable("expired", f"its time ran out {late_ms} ms ago")
        if not self._kinds[row.actor.kind].definition.wanted(folded.state, call, now_ms):
            return call, "unwanted", Permanent("unwanted", "the state does not want it any more")
        began_ms = self._clock.steady_ms()
        outcome = await self._execute(call, provider)
        took_s = (self._clock.steady_ms() - began_ms) / SECOND_MS
        self._meter.observe(metrics.EFFECT_SECONDS, took_s, provider=row.provider)
        return call, "done", outcome

    async def _execute(self, call: EffectCall, provider: Provider) -> Outcome[Any]:
        """Call the executor; a timeout and an exception are outcomes too."""
        limit = asyncio.timeout(provider.timeout_ms / SECOND_MS)
        try:
            async with limit:
                return await provider.execute(call)
        except TimeoutError as error:
            if limit.expired():
                return Retryable("timeout", f"no answer within {provider.timeout_ms} ms")
            return self._bug(call, error)
        except asyncio.CancelledError as error:
            if is_cancelled():
                raise
            return self._bug(call, error)
        except Exception as error:  # noqa: BLE001  a bug is an outcome; its traceback is logged
            return self._bug(call, error)

    def _bug(self, call: EffectCall, error: BaseException) -> Permanent:
        """Write down that an executor raised."""
        self._meter.count(metrics.FAULTS, where="executor")
        self._log.error(
            "effect.bug",
            actor=str(call.actor),
            effect=call.id,
            provider=call.provider,
            exc_info=error,
        )
        return Permanent("bug", brief(error)[:REASON_CHARS_MAX])

    def _call(self, row: EffectRow, attempt: int = 1) -> EffectCall:
        """Return an effect for its executor; the body is None where it cannot be decoded."""
        body: Any = None
        kind = self._kinds.get(row.actor.kind)
        if kind is not None:
            try:
                body = kind.definition.decode_effect(row.body)
            except Exception as error:  # noqa: BLE001  settled as undecodable
                self._log.error("effect.undecodable", effect=row.id, exc_info=error)
        return EffectCall(
            id=row.id,
            actor=row.actor,
            lane=row.lane,
            provider=row.provider,
            body=body,
            epoch=row.epoch,
            valid_until_ms=row.valid_until_ms,
            key=row.id,
            attempt=attempt,
        )

    # -- outcomes ----------------------------------------------------------------------------

    async def _settle(
        self,
        lane: _Lane,
        row: EffectRow,
        call: EffectCall,
        status: EffectStatus,
        outcome: Outcome[Any],
    ) -> None:
        """Finish an effect together with the event of its outcome, and go on with the lane."""
        arrival = self._arrival(row, call, outcome)
        await self._finish(row, status, arrival)
        code = "ok" if isinstance(outcome, Ok) else outcome.code
        message = "" if isinstance(outcome, Ok) else outcome.message
        self._say(row, status if status != "done" else code, message)
        if lane.rows and lane.rows[0] is row:
            lane.rows.popleft()
        lane.running = None
        lane.attempt = 0
        superseded, lane.superseded = lane.superseded, False
        if isinstance(outcome, Retryable) and outcome.retry_after_ms and not superseded:
            self._rest(lane, min(outcome.retry_after_ms, LANE_RETRY_MS_MAX))
        self._release(lane)

    def _arrival(
        self, row: EffectRow, call: EffectCall, outcome: Outcome[Any]
    ) -> tuple[Address, Arrival] | None:
        """Return the event of an outcome; None, logged, when its kind cannot make one."""
        try:
            kind = self._kinds[row.actor.kind]
            body = kind.definition.encode_event(kind.definition.settle(call, outcome))
        except Exception as error:  # noqa: BLE001  the effect is finished without an event; it is logged
            self._meter.count(metrics.FAULTS, where="settle")
            self._log.critical("effect.unsettled", effect=row.id, exc_info=error)
            return None
        arrival = Arrival(
            body=body,
            dedupe=f"effect:{row.id}",
            version=kind.definition.version,
            source="effect",
            cause=row.id,
        )
        return row.actor, arrival

    async def _finish(
        self, row: EffectRow, status: EffectStatus, arrival: tuple[Address, Arrival] | None
    ) -> None:
        """Mark an effect finished, retrying until the store has written it."""
        failures = 0
        while True:
            try:
                accepted = await self._journal.finish_effect(row.id, status, arrival)
            except Exception as error:  # noqa: BLE001  an outcome is never lost to a full disk
                failures += 1
                delay_ms = _STORE_BACKOFF.delay_ms(failures, row.id)
                self._log.error(
                    "effect.finish_failed", effect=row.id, retry_in_ms=delay_ms, exc_info=error
                )
                await asyncio.sleep(delay_ms / SECOND_MS)
                continue
            self._count(-1)
            if accepted is not None and arrival is not None:
                self._tell(*arrival, accepted)
            return

    def _tell(self, actor: Address, arrival: Arrival, accepted: Accepted) -> None:
        """Have the owner take the event now; it is in the store, and found there otherwise."""
        try:
            self._told(actor, arrival, accepted)
        except Exception as error:  # noqa: BLE001  the mailbox's next look at the store finds it
            self._meter.count(metrics.FAULTS, where="dispatch")
            self._log.error("dispatch.fault", exc_info=error)

    def _say(self, row: EffectRow, result: str, reason: str) -> None:
        """Log the result of an effect."""
        self._meter.count(metrics.EFFECTS, provider=row.provider, result=result)
        self._log.info(
            "effect.over",
            actor=str(row.actor),
            effect=row.id,
            lane=row.lane,
            provider=row.provider,
            result=result,
            reason=reason[:REASON_CHARS_MAX],
        )

    def _count(self, change: int) -> None:
        self._waiting += change
        self._meter.gauge(metrics.EFFECTS_WAITING, self._waiting)
