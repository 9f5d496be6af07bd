"""The owner: takes ready actors from a queue, ticks them and commits the results.

One loop ticks, synchronously and one actor at a time; commits of many actors are in flight
concurrently, so that the store can write them together. A state is current only after its commit:
nothing of a tick is published before, and a refused commit drops it. The owner holds the event
loop for one slice at most, and retries for ever when the disk fails.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Literal, TypeAlias

from msgspec.structs import replace

from holdfast.actors.cache import ActorCache, LoadedActor
from holdfast.actors.commit import Restored, compose, fold_loaded, snapshot_due
from holdfast.actors.committed_tick import (
    CommittedTick,
    Fetch,
    Flight,
    Loss,
    Read,
    Rebuild,
    Under,
    is_stored,
    lost_arrival,
    measure,
    pending_row,
)
from holdfast.actors.kinds import Kind, Kinds
from holdfast.actors.lease import Lease
from holdfast.actors.letters import sort_letters
from holdfast.actors.limits import (
    CLAIM_TRIES_MAX,
    COMMITS_MAX,
    FAULT_RETRY_MS,
    LOOP_RETRY_S,
    RESIDENT_MAX,
    SLICE_MS,
    STATE_INLINE_BYTES_MAX,
    TICK_EVENTS_MAX,
)
from holdfast.actors.ports import (
    Arrival,
    ClaimTakenError,
    Commit,
    Journal,
    LeaseLostError,
    Loaded,
    Pending,
    StaleError,
    UnwritableError,
)
from holdfast.actors.progress import Progress
from holdfast.actors.rebuild import read_older
from holdfast.actors.tick import Folded, NewerEventError, Tick, tick
from holdfast.actors.tick_log import announce, announce_all, announce_restored
from holdfast.kernel import metrics
from holdfast.kernel.backoff import Backoff
from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.ids import Address
from holdfast.kernel.log import Log
from holdfast.kernel.metrics import Meter

_COMMIT_BACKOFF = Backoff(first_ms=50, cap_ms=10_000)
_STOP_WAIT_S = 10.0


Listener: TypeAlias = Callable[[CommittedTick], None]


class Owner:
    """The single writer of every actor of this process."""

    def __init__(
        self,
        journal: Journal,
        kinds: Kinds,
        *,
        lease: Lease,
        clock: Clock,
        log: Log,
        meter: Meter,
        code: str = "",
        resident_max: int = RESIDENT_MAX,
    ) -> None:
        """Own nothing yet; `code` is the version of the code, for tick records."""
        self._journal = journal
        self._kinds = kinds
        self._lease = lease
        self._clock = clock
        self._log = log
        self._meter = meter
        self._code = code
        self._cache = ActorCache(resident_max)
        self._ready: deque[LoadedActor] = deque()
        self._over: deque[Under] = deque()
        self._under: set[asyncio.Task[Any]] = set()
        self._flying = 0
        self._work = asyncio.Event()
        self._listeners: list[Listener] = []
        self._parts: list[Listener] = []
        self.task: asyncio.Task[None] | None = None
        self.fault: str | None = None
        self.progress = Progress(clock)
        self._unknown: set[str] = set()
        self.unloadable: dict[Address, str] = {}
        self.rebuilt: dict[Address, str] = {}
        self._stopping = False

    def listen(self, listener: Listener) -> None:
        """Have `listener` called with every finished tick; it must return at once."""
        self._listeners.append(listener)

    def join(self, part: Listener) -> None:
        """Call a part of the engine after every tick that is over, before all listeners.

        A part that missed a tick disagrees with the journal, so an exception of a part becomes the
        owner's `fault` and stops the ticking: the process has to exit, and the next one continues
        from the journal.
        """
        self._parts.append(part)

    # -- waking ------------------------------------------------------------------------------

    def wake(self, actor: Address) -> None:
        """Have an actor ticked soon; repeated calls have no effect."""
        if actor.kind not in self._kinds:
            if actor.kind not in self._unknown:
                self._unknown.add(actor.kind)
                self._log.error("actor.unknown_kind", actor=str(actor))
            return
        self._wake(self._cache.fetch(actor))

    def _wake(self, resident: LoadedActor) -> None:
        if resident.given_up or resident.ready:
            return
        self.progress.woken(resident.address)
        if resident.flying or resident.resting:
            resident.again = True
            return
        resident.ready = True
        self._ready.append(resident)
        self._work.set()

    def keep(self, actor: Address, row: Pending) -> None:
        """Add an event that this process accepted, and wake its actor."""
        if actor.kind in self._kinds:
            self._cache.fetch(actor).keep(row)
        self.wake(actor)

    def look_again(self, actor: Address) -> None:
        """Have an actor's pending events read again: another process accepted some."""
        resident = self._cache.find(actor)
        if resident is not None:
            if resident.flying or resident.ready or resident.resting or resident.given_up:
                return
            resident.complete = False
        self.wake(actor)

    def backlog(self, actor: Address) -> tuple[int, int]:
        """Return how many pending events are in memory, and when the oldest was accepted, or 0."""
        resident = self._cache.find(actor)
        return (0, 0) if resident is None else resident.backlog

    @property
    def loaded_count(self) -> int:
        """Return how many actors are in memory."""
        return len(self._cache)

    async def state(self, actor: Address) -> Folded[Any] | None:
        """Return an actor's committed state; None when its kind is unknown or too new."""
        resident = self._cache.find(actor)
        if resident is not None and resident.folded is not None:
            return resident.folded
        kind = self._kinds.get(actor.kind)
        if kind is None:
            return None
        try:
            loaded = await self._journal.load(actor)
            return fold_loaded(kind.definition, actor, loaded).folded
        except NewerEventError:
            return None
        except Exception:
            self.wake(actor)  # which makes it again from its log
            raise

    # -- the loop ----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to tick; the lease must be held."""
        self._stopping = False
        self._lease.on_lost(self.halt)
        self.task = asyncio.create_task(self._run(), name="holdfast-owner")

    def halt(self) -> None:
        """Stop ticking; commits in flight may finish."""
        self._stopping = True
        self._work.set()

    async def stop(self) -> None:
        """Stop ticking and wait for the commits in flight, without raising their errors."""
        self.halt()
        if self.task is not None:
            await self.task
            self.task = None
        if self._under:
            await asyncio.wait(self._under, timeout=_STOP_WAIT_S)
        while self._over:
            under = self._over.popleft()
            self._guard(under.resident, partial(self._land, under))

    async def _run(self) -> None:
        """Handle finished commits and reads, and tick ready actors, until stopped."""
        while not self._stopping:
            try:
                await self._go()
            except Exception as error:  # noqa: BLE001  the loop is every actor's; it must not end
                self._meter.count(metrics.FAULTS, where="owner")
                self._log.error("owner.fault", exc_info=error)
                await asyncio.sleep(LOOP_RETRY_S)

    async def _go(self) -> None:
        """Work a slice at a time, until `_stopping` is set."""
        slice_end = self._clock.steady_ms() + SLICE_MS
        while not self._stopping:
            if self._over:
                under = self._over.popleft()
                self._guard(under.resident, partial(self._land, under))
            elif self._ready and self._flying < COMMITS_MAX:
                resident = self._ready.popleft()
                self._guard(resident, partial(self._turn, resident))
            else:
                self._meter.gauge(metrics.READY, len(self._ready))
                self._meter.gauge(metrics.RESIDENTS, len(self._cache))
                self._work.clear()
                await self._work.wait()
                slice_end = self._clock.steady_ms() + SLICE_MS
                continue
            if self._clock.steady_ms() >= slice_end:
                await asyncio.sleep(0)
                slice_end = self._clock.steady_ms() + SLICE_MS

    def _guard(self, resident: LoadedActor, step: Callable[[], None]) -> None:
        """Run one step; an exception delays and reloads its actor and never ends the loop."""
        try:
            step()
        except Exception as error:  # noqa: BLE001  the loop is every actor's; it must not end
            resident.forget()
            self._rest(resident, "owner", error, at_least_ms=SECOND_MS)

    def _begin(
        self, work: Coroutine[Any, Any, Any], then: Callable[[asyncio.Task[Any]], Under]
    ) -> None:
        """Start a read or commit of an actor; the loop handles its end."""
        task = asyncio.get_running_loop().create_task(work)
        self._under.add(task)
        self._flying += 1
        under = then(task)
        under.resident.flying = True

        def over(_task: asyncio.Task[Any]) -> None:
            self._under.discard(task)
            self._flying -= 1
            self._over.append(under)
            self._work.set()

        task.add_done_callback(over)

    def _land(self, under: Under) -> None:
        """Handle the end of a read or a commit."""
        task = under.task
        under.resident.flying = False
        if task.cancelled():
            under.resident.complete = False
            self._rest(under.resident, "cancelled", None)
            return
        error = task.exception()
        match under:
            case Flight():
                self._land_commit(under, error)
            case Fetch(resident=resident) | Rebuild(resident=resident) if error is not None:
                self._cannot_load(resident, error)
            case Fetch(resident=resident):
                self._restore(resident, *under.task.result())
            case Rebuild(resident=resident):
                self._restored(resident, *under.task.result())
                self._begin_with(resident, under.rows)
            case Loss(resident=resident):
                if error is None:
                    resident.front.append(under.task.result())
                    self._wake(resident)
                else:
                    self._rest(resident, "claim_lost", error)

    def _turn(self, resident: LoadedActor) -> None:
        """Begin the reads that an actor needs, or tick it."""
        resident.ready = False
        if resident.given_up or resident.flying:
            return
        if resident.folded is None or (not resident.complete and not resident.front):
            resident.complete = True
            self._begin(self._read(resident), lambda task: Fetch(resident, task))
        else:
            self._tick(resident, resident.folded)

    async def _read(self, resident: LoadedActor) -> Read:
        """Read an actor's state where it is not in memory, and its oldest pending events."""
        loaded = None
        if resident.folded is None:
            loaded = await self._journal.load(resident.address)
        return loaded, await self._journal.pending(resident.address, TICK_EVENTS_MAX)

    def _restore(self, resident: LoadedActor, loaded: Loaded | None, rows: list[Pending]) -> None:
        """Take the result of a read and tick, unless the plane is stopping."""
        if resident.folded is None:
            kind = self._kinds[resident.address.kind]
            try:
                restored = fold_loaded(kind.definition, resident.address, loaded)
            except NewerEventError as error:
                self._give_up(resident, error)
                return
            except Exception as error:  # noqa: BLE001  it is made again from its log
                self._rebuild(resident, (loaded, rows), error)
                return
            if restored.doubted:
                self._rebuild(resident, (loaded, rows), restored)
                return
            self._restored(resident, restored, loaded)
        self._begin_with(resident, rows)

    def _begin_with(self, resident: LoadedActor, rows: list[Pending]) -> None:
        """Take the pending events and tick, unless the plane is stopping."""
        resident.read(rows, TICK_EVENTS_MAX)
        if resident.folded is not None and not self._stopping:
            self._tick(resident, resident.folded)

    def _rebuild(self, resident: LoadedActor, read: Read, damage: Exception | Restored) -> None:
        """Rebuild an actor from its log: the stored state is not what was written."""
        definition, where = self._kinds[resident.address.kind].definition, resident.address
        work = read_older(self._journal, definition, where, read[0], damage, log=self._log)
        self._begin(work, lambda task: Rebuild(resident, task, read[1]))

    def _cannot_load(self, resident: LoadedActor, error: BaseException) -> None:
        """Say that an actor is not governed now, and try again."""
        if isinstance(error, NewerEventError):
            self._give_up(resident, error)
            return
        resident.complete = False
        self.unloadable[resident.address] = brief(error)
        self._rest(resident, "load", error)

    def _restored(self, resident: LoadedActor, restored: Restored, loaded: Loaded | None) -> None:
        resident.folded = restored.folded
        self.unloadable.pop(resident.address, None)
        if loaded is not None:
            resident.size = len(loaded.state or b"")
            resident.since = sum(len(row.body) for row in loaded.since)
        if restored.rebuilt:
            resident.notes = restored.notes
            self.rebuilt[resident.address] = restored.notes[0].text
        announce_restored(self._log, self._meter, restored)
        self._find_doubted(resident, loaded)

    def _find_doubted(self, resident: LoadedActor, loaded: Loaded | None) -> None:
        """Publish the tick whose commit had no answer, if the store has it."""
        flights = [*reversed(resident.doubted)]
        resident.doubted.clear()
        for flight in flights:
            if loaded is not None and is_stored(flight.committed, loaded):
                self._log.info("commit.found", actor=str(resident.address), tick=loaded.number)
                resident.took(flight.committed.tick.stamps)
                self._publish(flight)
                return

    # -- one tick ----------------------------------------------------------------------------

    def _tick(self, resident: LoadedActor, folded: Folded[Any]) -> None:
        """Tick an actor and begin its commit, or publish at once when nothing is to be written."""
        kind = self._kinds[resident.address.kind]
        resident.again = False
        rows = resident.next_events()
        began = self._clock.steady_ms()
        try:
            result = tick(
                kind.definition, kind.policy, folded, rows, self._clock.now_ms(), folded.number + 1
            )
            took_ms = self._clock.steady_ms() - began
            if resident.notes:
                result = replace(result, notes=(*result.notes, *resident.notes))
            elif result.silent:
                self._tell(CommittedTick(kind, result, None, took_ms))
                self._go_on(resident)
                return
            flight = self._compose(resident, kind, result, rows, took_ms)
        except NewerEventError as error:
            self._give_up(resident, error)
            return
        except Exception as error:  # noqa: BLE001  one actor's rules must not stop the others
            self._rest(resident, "tick", error, at_least_ms=FAULT_RETRY_MS)
            return
        self._meter.observe(metrics.TICK_SECONDS, took_ms / 1_000, kind=kind.definition.kind)
        self._begin(self._journal.commit(flight[0]), flight[1])

    def _compose(
        self,
        resident: LoadedActor,
        kind: Kind,
        result: Tick[Any],
        rows: list[Pending],
        took_ms: float,
    ) -> tuple[Commit, Callable[[asyncio.Task[Any]], Flight]]:
        """Return a tick's commit, and what is remembered of it until it lands."""
        event_bytes = sum(len(row.body) for row in rows)
        event_bytes += sum(len(intent.body) for intent in result.intents)
        state: bytes | None = None
        changed = result.after.seq != result.before.seq
        due = changed and snapshot_due(resident.size, resident.since + event_bytes)
        if due or resident.notes:
            state = kind.definition.encode_state(result.after.state)
            if len(state) > STATE_INLINE_BYTES_MAX:
                announce_all(self._log, self._meter, kind.definition, result, len(state))
        post = sort_letters(self._kinds, result, rows)
        commit = compose(
            kind,
            result,
            lease_epoch=self._lease.epoch,
            code=self._code,
            letters=post.rows,
            state=state,
            phases_us=(round(took_ms * 1_000),),
        )
        started = self._clock.steady_ms()
        size = None if state is None else len(state)
        committed = CommittedTick(kind, result, commit, took_ms, rows)
        return commit, lambda task: Flight(
            resident, committed, post, size, event_bytes, task, started
        )

    def _land_commit(self, flight: Flight, error: BaseException | None) -> None:
        """Publish a committed tick, or find out what a refused one means."""
        resident = flight.resident
        match error:
            case None:
                self._committed(flight)
            case LeaseLostError():
                self._lease.lose(brief(error))
            case StaleError():
                self._meter.count(metrics.RETRIES, reason="stale")
                self._log.warning("commit.stale", actor=str(resident.address), reason=brief(error))
                resident.forget()
                self._retry(resident)
            case ClaimTakenError():
                self._lose_claim(flight, error)
            case UnwritableError():
                self._rest(resident, "commit", error)
            case _:
                resident.doubt(flight)
                self._rest(resident, "commit", error)

    def _committed(self, flight: Flight) -> None:
        resident, committed = flight.resident, flight.committed
        resident.folded = committed.tick.after
        resident.took(committed.tick.stamps)
        if flight.state_bytes is None:
            resident.since += flight.event_bytes
        else:
            resident.size, resident.since = flight.state_bytes, 0
        resident.doubted.clear()
        self._publish(flight)
        self._safely(partial(measure, self._meter, self._clock, flight.started_ms))
        self._go_on(resident)

    def _publish(self, flight: Flight) -> None:
        """Tell of a tick that is committed, and wake whom it wrote to."""
        self._tell(flight.committed)
        self._safely(partial(announce, self._log, self._meter, flight.committed.tick, flight.post))
        for row in flight.post.rows:
            other = self._cache.find(row.to)
            if other is not None:
                other.complete = False
            self.wake(row.to)

    def _tell(self, committed: CommittedTick) -> None:
        self.progress.ended(committed.tick.after.address)
        for part in self._parts:
            try:
                part(committed)
            except Exception as error:  # noqa: BLE001  the other parts are still called
                self._fail(part, error)
        for listener in self._listeners:
            self._safely(partial(listener, committed))

    def _go_on(self, resident: LoadedActor) -> None:
        """Make an actor ready again if it has more pending events."""
        if resident.inbox or resident.again or not resident.complete:
            self._wake(resident)

    def _safely(self, tell: partial[None]) -> None:
        """Call a listener with a tick; an exception is logged, since the tick is committed."""
        try:
            tell()
        except Exception as error:  # noqa: BLE001  a listener must not stop an actor
            where = getattr(tell.func, "__qualname__", repr(tell.func))
            self._meter.count(metrics.FAULTS, where="listener")
            self._log.error("listener.fault", listener=where, exc_info=error)

    # -- what goes wrong ---------------------------------------------------------------------

    def _fail(self, part: Listener, error: Exception) -> None:
        """Stop ticking: a part of the engine disagrees with the journal."""
        where = getattr(part, "__qualname__", repr(part))
        self._meter.count(metrics.FAULTS, where="part")
        self._log.critical("engine.part_failed", part=where, exc_info=error)
        self.fault = self.fault or f"{where} raised {brief(error)}"
        self.halt()

    def _retry(self, resident: LoadedActor) -> None:
        """Try again: at once for the first two times, then after a growing wait."""
        resident.failures += 1
        if resident.failures <= 2:  # noqa: PLR2004  two races in a row happen; three hint at more
            self._wake(resident)
        else:
            self._rest_for(resident, _COMMIT_BACKOFF.delay_ms(resident.failures))

    def _rest(
        self,
        resident: LoadedActor,
        where: Literal["commit", "load", "tick", "claim_lost", "cancelled", "owner"],
        error: BaseException | None,
        *,
        at_least_ms: int = 0,
    ) -> None:
        """Keep the pending events and try again after a growing wait, for ever."""
        resident.failures += 1
        actor = str(resident.address)
        delay_ms = max(at_least_ms, _COMMIT_BACKOFF.delay_ms(resident.failures, actor))
        self._meter.count(metrics.FAULTS, where=where)
        self._log.error(
            f"actor.{where}_failed",
            actor=actor,
            failures=resident.failures,
            retry_in_ms=delay_ms,
            reason="" if error is None else brief(error),
            exc_info=error,
        )
        self._rest_for(resident, delay_ms)

    def _rest_for(self, resident: LoadedActor, delay_ms: int) -> None:
        resident.resting = True

        def rested() -> None:
            resident.resting = False
            self._wake(resident)

        asyncio.get_running_loop().call_later(delay_ms / 1_000, rested)

    def _give_up(self, resident: LoadedActor, error: NewerEventError) -> None:
        """Stop owning an actor that newer code has written."""
        resident.given_up = True
        self.progress.given_up(resident.address)
        self.unloadable[resident.address] = str(error)
        resident.forget()
        self._meter.count(metrics.FAULTS, where="newer")
        self._log.critical("actor.given_up", actor=str(resident.address), reason=str(error))

    def _lose_claim(self, flight: Flight, error: ClaimTakenError) -> None:
        """Put `claim_lost` in front of the same events, and tick again."""
        if self._stopping:
            return
        resident, kind = flight.resident, flight.committed.kind
        resident.claims_lost += 1
        self._meter.count(metrics.RETRIES, reason="claim")
        self._log.warning(
            "claim.lost",
            actor=str(resident.address),
            scope=error.claim.scope,
            key=error.claim.key,
            holder=str(error.holder),
        )
        definition = kind.definition
        if definition.claim_lost is None or resident.claims_lost > CLAIM_TRIES_MAX:
            resident.claims_lost = 0
            self._rest(resident, "claim_lost", error, at_least_ms=FAULT_RETRY_MS)
            return
        arrival = lost_arrival(definition, flight.committed.tick.after.number, error)
        self._begin(self._accept_loss(resident.address, arrival), lambda task: Loss(resident, task))

    async def _accept_loss(self, actor: Address, arrival: Arrival) -> Pending:
        """Accept `claim_lost`, so that it is in the log like every other event."""
        (accepted,) = await self._journal.accept([(actor, arrival)])
        return pending_row(accepted.id, arrival, self._clock.now_ms())
