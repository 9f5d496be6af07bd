"""The process in which rehearsals run, so that a long replay never blocks the event loop.

It opens the store read-only, through a function given by its dotted path, and finds the kinds the
same way; it has nothing that could write or make calls. There is one such process, at a low
priority; it is replaced when it dies or takes too long. Its start, of a second on an idle machine
and of many on a starved one, is not thrown away with the rehearsal that waited for it.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import multiprocessing
import os
from collections.abc import AsyncIterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace as replace_fields
from typing import Any, Final

import msgspec
from msgspec import Struct

from holdfast.actors.commit import fold_loaded
from holdfast.actors.kinds import Kind, Kinds, hash_policy
from holdfast.actors.limits import (
    MAILBOX_PENDING_MAX,
    REHEARSAL_IDLE_S,
    REHEARSAL_START_S,
    REHEARSAL_TIMEOUT_S,
    REHEARSAL_TURN_S,
    REPLAY_PAGE,
    TICK_EVENTS_MAX,
)
from holdfast.actors.ports import Loaded, Logged, Pending, Reader
from holdfast.actors.record import TickRecord, decode_record
from holdfast.actors.rehearse import (
    DryRun,
    Explanation,
    PolicyOf,
    Replay,
    Until,
    dry_run,
    explain,
    pair,
    replay,
)
from holdfast.kernel.ids import Address, derive, parse_address
from holdfast.kernel.log import Log

_NICENESS: Final = 10
_PENDING_MAX: Final = 65_536


class UnknownActorError(LookupError):
    """There is no such actor, or no such tick of it."""


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


# -- over a reader, in any process -----------------------------------------------------------


async def look_ahead(reader: Reader, kinds: Kinds, asked: Ahead) -> DryRun:
    """Return what the next ticks would do; raise UnknownActorError, ValueError, NewerEventError."""
    where, kind = _kind(kinds, asked.actor)
    kind = override(kind, asked.policy)
    loaded = await _load(reader, where)
    taken = _PENDING_MAX if asked.until == "drained" else asked.ticks * TICK_EVENTS_MAX
    # Events beyond that are read to be counted: they would still be pending.
    pending = await reader.pending(where, min(taken + MAILBOX_PENDING_MAX, _PENDING_MAX))
    invented = [_invent(kind, where, n, body, asked.now_ms) for n, body in enumerate(asked.events)]
    return dry_run(
        kind,
        fold_loaded(kind.definition, where, loaded).folded,
        [*pending, *invented],
        now_ms=asked.now_ms,
        ticks=asked.ticks,
        until=asked.until,
        last=await _last_record(reader, where, loaded.number),
    )


async def look_back(reader: Reader, kinds: Kinds, asked: Back) -> Replay:
    """Make recorded ticks again; raise UnknownActorError, ValueError, NewerEventError."""
    where, kind = _kind(kinds, asked.actor)
    kind = override(kind, asked.policy)
    from_seq = await _first_kept(reader, where, asked.from_seq)
    loaded = await reader.load(where, at_seq=from_seq)
    if loaded is None:
        raise UnknownActorError(f"{where}: nothing is known of it")
    at_snapshot = Loaded(
        state=loaded.state,
        state_version=loaded.state_version,
        state_seq=loaded.state_seq,
        state_tick=loaded.state_tick,
        seq=loaded.state_seq,
        number=loaded.state_tick,
        digest=loaded.state_digest,
        alarm_ms=None,
    )
    folded = fold_loaded(kind.definition, where, at_snapshot).folded
    history = pair(
        _records(reader, where, folded.number, asked.to_seq), _rows(reader, where, folded.seq)
    )
    return await replay(
        kind,
        folded,
        history,
        from_seq=from_seq,
        policy_of=None if asked.what_if else _policies(reader, kind),
    )


async def look_into(reader: Reader, kinds: Kinds, asked: Why) -> Explanation:
    """Explain; raise UnknownActorError when the actor or the tick is unknown."""
    where, kind = _kind(kinds, asked.actor)
    loaded = await _load(reader, where)
    folded = fold_loaded(kind.definition, where, loaded).folded
    number = asked.tick
    if asked.event:
        operation = await reader.operation(_event_id(asked.event))
        if operation is None or not isinstance(operation.event, Logged):
            raise UnknownActorError(f"{where}: no tick has taken event {asked.event}")
        number = operation.event.tick
    record = await _last_record(reader, where, loaded.number if number is None else number)
    if record is None and number is not None:
        raise UnknownActorError(f"{where}: tick {number} is not known")
    return explain(kind, folded, asked.entity, now_ms=asked.now_ms, last=record)


def override(kind: Kind, fields: dict[str, Any]) -> Kind:
    """Return the kind under another policy; raise ValueError when a field does not fit."""
    if not fields:
        return kind
    contents = msgspec.json.decode(kind.policy_body)
    unknown = sorted(fields.keys() - contents.keys())
    if unknown:
        raise ValueError(f"policy: {unknown} are no fields of it; it has {sorted(contents)}")
    body = msgspec.json.encode({**contents, **fields})
    try:
        policy = kind.definition.decode_policy(body)
    except msgspec.MsgspecError as error:
        raise ValueError(f"policy: {error}") from error
    return replace_fields(kind, policy=policy, policy_body=body, policy_hash=hash_policy(body))


def _kind(kinds: Kinds, actor: str) -> tuple[Address, Kind]:
    where = parse_address(actor)
    kind = kinds.get(where.kind)
    if kind is None:
        raise UnknownActorError(f"{actor}: kind {where.kind!r} is not known here")
    return where, kind


async def _load(reader: Reader, where: Address) -> Loaded:
    loaded = await reader.load(where)
    if loaded is None:
        raise UnknownActorError(f"{where}: nothing is known of it")
    return loaded


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


def _event_id(text: str) -> Any:
    return text


async def _last_record(reader: Reader, where: Address, number: int) -> TickRecord | None:
    rows = await reader.ticks(where, after=number - 1, limit=1)
    return decode_record(rows[0]) if rows else None


def _invent(kind: Kind, where: Address, index: int, body: bytes, now_ms: int) -> Pending:
    """Return a hypothetical event as pending; raise ValueError when it is not the kind's."""
    version = kind.definition.version
    try:
        event = kind.definition.decode_event(body, version)
    except msgspec.MsgspecError as error:
        raise ValueError(f"events[{index}]: {error}") from error
    return Pending(
        id=_event_id(derive(str(where), "invented", index)),
        body=kind.definition.encode_event(event),
        version=version,
        source="api",
        accepted_ms=now_ms,
    )


def _policies(reader: Reader, kind: Kind) -> PolicyOf:
    """Return a function from a hash to its stored policy; it raises for an unknown one."""

    async def policy_of(policy_hash: str) -> Any:
        body = await reader.policy(policy_hash)
        if body is None:
            raise UnknownActorError(f"policy {policy_hash} was not kept")
        return kind.definition.decode_policy(body)

    return policy_of


async def _records(
    reader: Reader, where: Address, after: int, to_seq: int | None
) -> AsyncIterator[TickRecord]:
    """Yield tick records in order, a page at a time, up to a basis of `to_seq`."""
    while page := await reader.ticks(where, after=after, limit=REPLAY_PAGE):
        for body in page:
            record = decode_record(body)
            if to_seq is not None and record.basis >= to_seq:
                return
            after = record.number
            yield record


async def _rows(reader: Reader, where: Address, after: int) -> AsyncIterator[Logged]:
    """Yield stamped events in order, a page at a time."""
    while page := await reader.log(where, after=after, limit=REPLAY_PAGE):
        for row in page:
            yield row
        after = page[-1].seq


# -- within the worker process --------------------------------------------------------------------

_READER: list[Reader] = []
_KINDS: list[Kinds] = []


def find(path: str) -> Any:
    """Return the object at `module:name`; raise ValueError when there is none."""
    module, colon, name = path.partition(":")
    if not colon:
        raise ValueError(f"path {path!r}: want the form module:name")
    return getattr(importlib.import_module(module), name)


def _prepare(
    reader_path: str, reader_args: tuple[Any, ...], kinds_path: str, kinds_args: Any
) -> None:
    """Open the store for reading and load the kinds, once per process."""
    os.nice(_NICENESS)
    # A replay makes many short-lived values; the default thresholds collect too often.
    gc.set_threshold(50_000, 20, 100)
    _KINDS.append(find(kinds_path)(*kinds_args))
    _READER.append(find(reader_path)(*reader_args))


def _run(asked: Ahead | Back | Why) -> DryRun | Replay | Explanation:
    """Run one rehearsal in the worker process; raise RuntimeError for a reader that suspends.

    There is no event loop: a loop has sockets, and this process must have none. The reader of an
    embedded store answers without suspending, so one step completes the rehearsal.
    """
    rehearsal = _answer(asked)
    try:
        rehearsal.send(None)
    except StopIteration as done:
        answer: DryRun | Replay | Explanation = done.value
        return answer
    rehearsal.close()
    raise RuntimeError("the rehearsal process needs the reader of an embedded store")


async def _answer(asked: Ahead | Back | Why) -> DryRun | Replay | Explanation:
    reader, kinds = _READER[0], _KINDS[0]
    match asked:
        case Ahead():
            return await look_ahead(reader, kinds, asked)
        case Back():
            return await look_back(reader, kinds, asked)
        case Why():
            return await look_into(reader, kinds, asked)


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

    async def _rehearse(self, asked: Ahead | Back | Why) -> Any:
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

    async def _wait_for_turn(self, asked: Ahead | Back | Why) -> None:
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

    async def _submit(self, asked: Ahead | Back | Why) -> Any:
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

    async def _wait_for_start(self, asked: Ahead | Back | Why) -> None:
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
