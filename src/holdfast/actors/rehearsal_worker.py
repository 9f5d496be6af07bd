"""The process in which rehearsals run, so that a long replay never blocks the event loop.

It opens the store read-only, through a function given by its dotted path, and finds the kinds the
same way; it has nothing that could write or make calls. There is one such process, at a low
priority; it is replaced when it dies or takes too long. Its start, of a second on an idle machine
and of many on a starved one, is not thrown away with the rehearsal that waited for it.
"""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from typing import Any, Final, TypeAlias

from msgspec import Struct

from holdfast.actors.commit import fold_loaded
from holdfast.actors.kinds import Kind, Kinds
from holdfast.actors.limits import (
    MAILBOX_PENDING_MAX,
    REHEARSAL_IDLE_S,
    REHEARSAL_START_S,
    REHEARSAL_TIMEOUT_S,
    REHEARSAL_TURN_S,
    TICK_EVENTS_MAX,
)
from holdfast.actors.ports import Logged, Reader
from holdfast.actors.record import decode_record
from holdfast.actors.rehearse import (
    DryRun,
    Explanation,
    Glance,
    Replay,
    Until,
    dry_run,
    explain,
    pair,
    replay,
)
from holdfast.actors.stored import (
    UnknownActorError,
    at_snapshot,
    event_id,
    find,
    invent,
    kind_of,
    last_record,
    load,
    override,
    policies_of,
    records_of,
    rows_of,
)
from holdfast.actors.windows import Through, Window, look_through
from holdfast.kernel.ids import Address
from holdfast.kernel.log import Log

_NICENESS: Final = 10
_PENDING_MAX: Final = 65_536


class RehearsalTimeoutError(Exception):
    """The rehearsal took too long and was ended; ask for fewer ticks or a shorter span."""


class Ahead(Struct, frozen=True, kw_only=True):
    """A dry run: `policy` overrides fields by name, `events` are hypothetical, as JSON."""

    actor: str
    now_ms: int
    ticks: int = 1
    until: Until = ""
    policy: dict[str, Any] = {}
    events: tuple[bytes, ...] = ()


class Back(Struct, frozen=True, kw_only=True):
    """A replay: ticks with a basis from `from_seq` on (0: all), up to `to_seq`.

    With `what_if`, every tick is decided by the present policy with the overrides in `policy`.
    """

    actor: str
    from_seq: int = 0
    to_seq: int | None = None
    what_if: bool = False
    policy: dict[str, Any] = {}


class Why(Struct, frozen=True, kw_only=True):
    """An explanation: of an entity now, or of the tick numbered `tick` or of `event`."""

    actor: str
    now_ms: int
    entity: str = ""
    tick: int | None = None
    event: str = ""


class Look(Struct, frozen=True, kw_only=True):
    """A question about an actor's state, now or after a tick; `view` answers it from a `Glance`.

    It is the dotted path of a pure function, and never a caller's to choose.
    """

    actor: str
    now_ms: int
    view: str
    tick: int | None = None


# -- over a reader, in any process -----------------------------------------------------------


async def look_ahead(reader: Reader, kinds: Kinds, asked: Ahead) -> DryRun:
    """Return what the next ticks would do; raise UnknownActorError, ValueError, NewerEventError."""
    where, kind = kind_of(kinds, asked.actor)
    kind = override(kind, asked.policy)
    loaded = await load(reader, where)
    taken = _PENDING_MAX if asked.until == "drained" else asked.ticks * TICK_EVENTS_MAX
    # Events beyond that are read to be counted: they would still be pending.
    pending = await reader.pending(where, min(taken + MAILBOX_PENDING_MAX, _PENDING_MAX))
    invented = [invent(kind, where, n, body, asked.now_ms) for n, body in enumerate(asked.events)]
    return dry_run(
        kind,
        fold_loaded(kind.definition, where, loaded).folded,
        [*pending, *invented],
        now_ms=asked.now_ms,
        ticks=asked.ticks,
        until=asked.until,
        last=await last_record(reader, where, loaded.number),
    )


async def look_back(reader: Reader, kinds: Kinds, asked: Back) -> Replay:
    """Make recorded ticks again; raise UnknownActorError, ValueError, NewerEventError."""
    where, kind = kind_of(kinds, asked.actor)
    kind = override(kind, asked.policy)
    from_seq = await _first_kept(reader, where, asked.from_seq)
    loaded = await reader.load(where, at_seq=from_seq)
    if loaded is None:
        raise UnknownActorError(f"{where}: nothing is known of it")
    folded = fold_loaded(kind.definition, where, at_snapshot(loaded)).folded
    history = pair(
        records_of(reader, where, folded.number, asked.to_seq), rows_of(reader, where, folded.seq)
    )
    return await replay(
        kind,
        folded,
        history,
        from_seq=from_seq,
        policy_of=None if asked.what_if else policies_of(reader, kind),
    )


async def look_into(reader: Reader, kinds: Kinds, asked: Why) -> Explanation:
    """Explain; raise UnknownActorError when the actor or the tick is unknown."""
    where, kind = kind_of(kinds, asked.actor)
    loaded = await load(reader, where)
    folded = fold_loaded(kind.definition, where, loaded).folded
    number = asked.tick
    if asked.event:
        operation = await reader.operation(event_id(asked.event))
        if operation is None or not isinstance(operation.event, Logged):
            raise UnknownActorError(f"{where}: no tick has taken event {asked.event}")
        number = operation.event.tick
    record = await last_record(reader, where, loaded.number if number is None else number)
    if record is None and number is not None:
        raise UnknownActorError(f"{where}: tick {number} is not known")
    return explain(kind, folded, asked.entity, now_ms=asked.now_ms, last=record)


async def look_at(reader: Reader, kinds: Kinds, asked: Look) -> Any:
    """Return what the asked function makes of a state; raise UnknownActorError."""
    where, kind = kind_of(kinds, asked.actor)
    if asked.tick is not None:
        return find(asked.view)(await _earlier(reader, where, kind, asked.tick))
    loaded = await load(reader, where)
    glance = Glance(
        kind=kind,
        folded=fold_loaded(kind.definition, where, loaded).folded,
        last=await last_record(reader, where, loaded.number),
        pending=len(await reader.pending(where, MAILBOX_PENDING_MAX)),
        now_ms=asked.now_ms,
    )
    return find(asked.view)(glance)


async def _earlier(reader: Reader, where: Address, kind: Kind, number: int) -> Glance:
    """Return an actor as it was after a tick, under the policy and at the time of that tick.

    Where no tick of that number was recorded it is the next one. Raise UnknownActorError when what
    it is made of is no longer kept.
    """
    record = await last_record(reader, where, number)
    loaded = None if record is None else await reader.load(where, at_seq=record.seq)
    if record is None or loaded is None:
        raise UnknownActorError(f"{where}: what it was at tick {number} is not kept")
    policy = await policies_of(reader, kind)(record.policy)
    return Glance(
        kind=replace(kind, policy=policy),
        folded=fold_loaded(kind.definition, where, loaded).folded,
        last=record,
        pending=0,
        now_ms=record.now_ms,
    )


async def _first_kept(reader: Reader, where: Address, from_seq: int) -> int:
    """Return where a replay may begin: 0 means as early as the log reaches.

    Raise ValueError when the log was pruned beyond `from_seq`: without earlier events the state
    is unknown, and every tick would seem to differ.
    """
    oldest = await reader.ticks(where, limit=1)
    kept_seq = decode_record(oldest[0]).basis if oldest else 0
    if 0 < from_seq < kept_seq:
        raise ValueError(f"from_seq {from_seq}: the log is kept from {kept_seq} on; 0 is all of it")
    return max(from_seq, kept_seq)


# -- within the worker process --------------------------------------------------------------------

_READER: list[Reader] = []
_KINDS: list[Kinds] = []


def _prepare(
    reader_path: str, reader_args: tuple[Any, ...], kinds_path: str, kinds_args: Any
) -> None:
    """Open the store for reading and load the kinds, once per process."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.nice(_NICENESS)
    # A replay makes many short-lived values; the default thresholds collect too often.
    gc.set_threshold(50_000, 20, 100)
    _KINDS.append(find(kinds_path)(*kinds_args))
    _READER.append(find(reader_path)(*reader_args))


def _end_with_parent() -> None:
    """End this process when the plane has ended: one that was killed ended nothing itself.

    What it waits for, the queue of calls, never ends by that: this process can write to it too.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


Asked: TypeAlias = Ahead | Back | Why | Look | Window


def _run(asked: Asked) -> Any:
    """Run one rehearsal in the worker process; raise RuntimeError for a reader that suspends.

    There is no event loop: a loop has sockets, and this process must have none. The reader of an
    embedded store answers without suspending, so one step completes the rehearsal.
    """
    rehearsal = _answer(asked)
    try:
        rehearsal.send(None)
    except StopIteration as done:
        return done.value
    rehearsal.close()
    raise RuntimeError("the rehearsal process needs the reader of an embedded store")


async def _answer(asked: Asked) -> Any:
    reader, kinds = _READER[0], _KINDS[0]
    match asked:
        case Ahead():
            return await look_ahead(reader, kinds, asked)
        case Back():
            return await look_back(reader, kinds, asked)
        case Why():
            return await look_into(reader, kinds, asked)
        case Look():
            return await look_at(reader, kinds, asked)
        case Window():
            return await look_through(reader, kinds, asked)


class RehearsalWorker:
    """One process for rehearsals, started at the first one."""

    def __init__(
        self,
        *,
        reader: str,
        reader_args: tuple[Any, ...],
        kinds: str,
        kinds_args: tuple[Any, ...] = (),
        log: Log,
        timeout_s: float = REHEARSAL_TIMEOUT_S,
        turn_s: float = REHEARSAL_TURN_S,
    ) -> None:
        """`reader` and `kinds` are dotted paths `module:function`; their arguments are pickled."""
        self._initargs = (reader, reader_args, kinds, kinds_args)
        self._log = log
        self._timeout_s = timeout_s
        self._turn_s = turn_s
        self._pool: ProcessPoolExecutor | None = None
        self._started: asyncio.Future[int]
        self._given_up_s = 0.0
        self._pending_calls = 0
        self._lock = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def dry_run(self, asked: Ahead) -> DryRun:
        """Return what the next ticks would do."""
        answer: DryRun = await self._rehearse(asked)
        return answer

    async def replay(self, asked: Back) -> Replay:
        """Repeat recorded ticks, by the policy of their time or by another."""
        answer: Replay = await self._rehearse(asked)
        return answer

    async def explain(self, asked: Why) -> Explanation:
        """Explain one entity or one tick."""
        answer: Explanation = await self._rehearse(asked)
        return answer

    async def window(self, asked: Window) -> Through:
        """Make a window of the past again."""
        answer: Through = await self._rehearse(asked)
        return answer

    async def look(self, asked: Look) -> Any:
        """Return what a function makes of the present state."""
        return await self._rehearse(asked)

    async def _rehearse(self, asked: Asked) -> Any:
        """Run one rehearsal at a time; a process that died is replaced, once.

        Only one runs at a time, so that killing the process of one that hangs ends no other. The
        time limit of each begins with its turn; the wait for the turn has a limit of its own.
        """
        self._pending_calls += 1
        try:
            await self._wait_for_turn(asked)
            try:
                return await self._submit(asked)
            except BrokenProcessPool as error:
                self._log.error("rehearsal.process_died", actor=asked.actor, reason=str(error))
                await self._end()
                return await self._submit(asked)
            finally:
                self._lock.release()
        finally:
            self._pending_calls -= 1
            self._rest()

    async def _wait_for_turn(self, asked: Asked) -> None:
        try:
            async with asyncio.timeout(self._turn_s):
                await self._lock.acquire()
        except TimeoutError:
            message = f"{asked.actor}: others rehearse for more than {self._turn_s} s; ask later"
            raise RehearsalTimeoutError(message) from None

    def _rest(self) -> None:
        """End the process when it was idle for a while, to free its memory."""
        if self._timer is not None:
            self._timer.cancel()

        def idle() -> None:
            if not self._pending_calls:
                self._task = asyncio.get_running_loop().create_task(self._end())

        self._timer = asyncio.get_running_loop().call_later(REHEARSAL_IDLE_S, idle)

    async def _submit(self, asked: Asked) -> Any:
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + self._timeout_s
        await self._wait_for_start(asked)
        future = loop.run_in_executor(self._pool, _run, asked)
        try:
            return await asyncio.wait_for(future, ends_s - loop.time())
        except TimeoutError:
            self._log.warning("rehearsal.timeout", actor=asked.actor, timeout_s=self._timeout_s)
            await self._end()
            message = f"{asked.actor}: no answer within {self._timeout_s} s; ask for less"
            raise RehearsalTimeoutError(message) from None

    async def _wait_for_start(self, asked: Asked) -> None:
        """Start the process if there is none; raise RehearsalTimeoutError where it takes too long.

        Half of a rehearsal's time may go to it. The process starts on, for those who ask later: on
        a machine where a start takes longer than a rehearsal may, it would otherwise never end one.
        """
        loop = asyncio.get_running_loop()
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                max_workers=1,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=_prepare,
                initargs=self._initargs,
            )
            self._started = loop.run_in_executor(self._pool, os.getpid)
            self._started.add_done_callback(_retrieve)
            self._given_up_s = loop.time() + REHEARSAL_START_S
        try:
            async with asyncio.timeout(self._timeout_s / 2):
                await asyncio.shield(self._started)
        except TimeoutError:
            if loop.time() >= self._given_up_s:
                timeout_s = REHEARSAL_START_S
                self._log.warning("rehearsal.timeout", actor=asked.actor, timeout_s=timeout_s)
                await self._end()
            message = f"{asked.actor}: the process for rehearsals is still starting; ask later"
            raise RehearsalTimeoutError(message) from None

    async def _end(self) -> None:
        """Kill the process; the next rehearsal starts another."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await asyncio.to_thread(_kill, pool)

    async def stop(self) -> None:
        """End the process."""
        if self._timer is not None:
            self._timer.cancel()
        await self._end()


def _retrieve(started: asyncio.Future[int]) -> None:
    """Retrieve the error of a process that ended while it started; who waits for it gets it too."""
    if not started.cancelled():
        started.exception()


def _kill(pool: ProcessPoolExecutor) -> None:
    """End a pool's processes and wait until they are gone."""
    # The executor has no public way to end a process that is at work.
    for process in list((pool._processes or {}).values()):  # noqa: SLF001
        process.kill()
    pool.shutdown(wait=True, cancel_futures=True)
