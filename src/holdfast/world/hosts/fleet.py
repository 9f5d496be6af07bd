"""The host of instances: an attempt is handed to an instance's agent through its controller.

The controller is the authority on what runs; the records here say where each attempt was sent, so
that its end is passed on once. An instance that does not answer is not taken for one that is gone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.log import TotalLog
from holdfast.kernel.outcome import Conflict, Failure, Ok, Outcome, Permanent, Retryable
from holdfast.wire.controller import work as wire
from holdfast.wire.controller.calls import ControllerError, Controllers
from holdfast.world.forges.port import DAMAGED
from holdfast.world.hosts.carrying import BadBundleError, Carrier
from holdfast.world.hosts.ledger import Ledger, ended_of, exited, running_of
from holdfast.world.hosts.port import (
    CANNOT_START,
    NO_COMMAND,
    NOT_HERE,
    STOPPED,
    UNREACHABLE,
    UNSURE,
    EndedAttempt,
    Launch,
    Release,
    Running,
    RunningAttempt,
    Seen,
    Unknown,
)
from holdfast.world.hosts.records import Record, record_id

ASK_EVERY_MS: Final = 3_000
"""Time between two questions about one attempt."""
LOOK_S: Final = 2.0
"""How long answers are waited for: one that takes longer counts at a later look."""
STOP_EXTRA_MS: Final = 20_000
"""How long a stop may take beyond its drain."""
GATHER_EVERY_MS: Final = 30_000
"""Time between two tries to bring the work of an attempt that ended."""
GATHERED_TIMES: Final = 120
"""Tries: a disk that is full for less than an hour costs nobody's work."""

_FAILED: Final = 500
_CODES: Final = {
    "work_stopped": STOPPED,
    "work_unknown": NOT_HERE,
}
"""Codes of controllers by those of hosts; the rest is the instance's and kept."""


class FleetHost:
    """Attempts on instances; `launch.host` names one by its id."""

    def __init__(
        self, home: Path, *, controllers: Controllers, carrier: Carrier, clock: Clock,
        log: TotalLog, exists: Callable[[str], Awaitable[bool]],
    ) -> None:  # fmt: skip
        """Keep records below `home`; `exists` returns whether there is an instance of an id."""
        self._ledger = Ledger(home, clock=clock, log=log)
        self._controllers = controllers
        self._carrier = carrier
        self._exists = exists
        self._clock = clock
        self._log = log
        self._asked_ms: dict[str, int] = {}
        self._failed: Counter[str] = Counter()
        self._run: set[str] = set()
        self._looks: set[asyncio.Task[Outcome[Record]]] = set()

    async def open(self) -> None:
        """Read the records of an earlier plane."""
        await self._ledger.open()

    async def close(self) -> None:
        """Leave the attempts alone, and ask no more."""
        for look in self._looks:
            look.cancel()
        await asyncio.gather(*self._looks, return_exceptions=True)

    # ------------------------------------------------------------------------------ the port

    async def start(self, launch: Launch) -> Outcome[None]:
        """Start an attempt once, whatever was asked before."""
        async with self._ledger.turn(launch.town, launch.agent):
            known = self._ledger.find(launch.town, launch.attempt)
            if known is not None and known.phase != "intended":
                return Ok(None)
            intent = await self._ledger.intend(launch)
            if not isinstance(intent, Ok):
                return intent
            return await self._start(launch, intent.value)

    async def stop(self, town: str, agent: str, epoch: int, drain_s: float) -> Outcome[None]:
        """Ask an agent's attempts up to an epoch to end, and kill them after `drain_s`."""
        async with self._ledger.turn(town, agent):
            try:
                await self._ledger.fence(town, agent, epoch)
                for record in self._ledger.live(town, agent, epoch):
                    stopped = await self._stop(record, drain_s)
                    if not isinstance(stopped, Ok):
                        return stopped
            except (OSError, ValueError) as error:
                return Retryable(UNSURE, f"not stopped: {brief(error)}")
        return Ok(None)

    async def look(self, town: str, attempt: str) -> Outcome[Seen]:
        """Return how an attempt is."""
        record = self._ledger.find(town, attempt)
        if record is None or record.phase == "intended":
            return Ok(Unknown())
        looked = await self._look(record)
        if not isinstance(looked, Ok):
            return looked
        record = looked.value
        if record.phase == "ended":
            return Ok(exited(record))
        return Ok(Running(started_ms=record.started_ms))

    async def gather(self, town: str, attempt: str) -> Outcome[None]:
        """Bring what an attempt committed on its branch into its workspace."""
        record = self._ledger.find(town, attempt)
        if record is None:
            return Ok(None)
        try:
            async with self._ledger.turn(record.town, record.agent):
                await self._gather(record)
        except ControllerError as error:
            return _failure(error)
        except BadBundleError as error:
            return Permanent(DAMAGED, f"its work was not brought here: {brief(error)}")
        except (OSError, TimeoutError) as error:
            return Retryable(UNSURE, f"its work was not brought here: {brief(error)}")
        return Ok(None)

    async def running(self) -> Outcome[tuple[RunningAttempt, ...]]:
        """Return the attempts that their instances said to run when they were asked last."""
        found = (one for one in self._ledger.all() if one.id in self._run)
        return Ok(tuple(running_of(one) for one in found if one.phase == "started"))

    async def ended(self) -> Outcome[tuple[EndedAttempt, ...]]:
        """Return what ended without having been stopped and was not acknowledged, oldest first.

        Each attempt is asked about once in a while. One whose instance does not answer is left, and
        one that answers late is told at a later look.
        """
        now = self._clock.now_ms()
        waiting = (one for one in self._ledger.all() if one.phase in {"started", "stopping"})
        due = [one for one in waiting if now - self._asked_ms.get(one.id, 0) >= ASK_EVERY_MS]
        self._looks |= {asyncio.create_task(self._look(one)) for one in due}
        if self._looks:
            done, self._looks = await asyncio.wait(self._looks, timeout=LOOK_S)
            for look in done:
                look.result()
        return Ok(self._ledger.ended())

    async def acknowledge(self, town: str, attempt: str) -> Outcome[None]:
        """Note that the end of an attempt was passed on; one that is unknown is acknowledged."""
        return await self._ledger.acknowledge(town, attempt)

    async def prune(self, before_ms: int, release: Release) -> Outcome[tuple[EndedAttempt, ...]]:
        """Forget attempts that were over before a time, here and on their instances; return them.

        What is on an instance that does not answer is kept until the next time.
        """
        away: set[str] = set()

        async def drop(record: Record) -> bool:
            if record.host not in away and not await self._drop(record):
                away.add(record.host)
            return record.host not in away and await release(ended_of(record))

        pruned = await self._ledger.prune(before_ms, drop)
        for one in pruned.value if isinstance(pruned, Ok) else ():
            self._asked_ms.pop(record_id(one.town, one.attempt), None)
        return pruned

    async def _drop(self, record: Record) -> bool:
        """Have an instance delete the clone of an attempt; return whether it has none any more."""
        one = wire.WorkId(town=record.town, attempt=record.attempt)
        try:
            await self._controllers.call(record.host, wire.WORK_DROP, body=one)
        except ControllerError as error:
            if error.trouble == "too_old" or await self._is_deleted(record, error):
                return True
            self._log.info("attempts.not_dropped", attempt=record.attempt, why=error.message)
            return False
        return True

    async def poke(self, town: str, attempt: str, text: str) -> Outcome[None]:
        """Tell a running attempt that something waits for it."""
        record = self._ledger.find(town, attempt)
        if record is None or record.phase != "started":
            return Permanent(NOT_HERE, f"attempt {attempt} does not run on an instance")
        order = wire.WorkPoke(town=town, attempt=attempt, text=text)
        try:
            await self._controllers.call(record.host, wire.WORK_POKE, body=order)
        except ControllerError as error:
            return _failure(error)
        return Ok(None)

    async def output(self, town: str, attempt: str, bytes_max: int) -> Outcome[bytes]:
        """Return the end of what an attempt wrote."""
        record = self._ledger.find(town, attempt)
        if record is None or record.phase == "intended":
            return Permanent(NOT_HERE, f"attempt {attempt} was never sent to an instance")
        one = wire.WorkId(town=town, attempt=attempt)
        try:
            answer = await self._controllers.call(record.host, wire.WORK_OUTPUT, body=one)
        except ControllerError as error:
            return _failure(error)
        return Ok(answer.data[-bytes_max:])

    # ------------------------------------------------------------------------------- starting

    async def _start(self, launch: Launch, intent: Record) -> Outcome[None]:
        """Carry the clone over and hand the attempt to the agent."""
        if not launch.command:
            return Permanent(NO_COMMAND, f"role {launch.role}: it has no command")
        bundle = self._bundle(intent)
        one = wire.WorkId(town=launch.town, attempt=launch.attempt)
        try:
            state = await self._controllers.call(launch.host, wire.WORK_STATE, body=one)
            if state.status != "unknown":
                return await self._started(intent, state)  # the answer to its start was lost
            for record in self._ledger.live(launch.town, launch.agent, launch.epoch - 1):
                stopped = await self._stop(record, 0)
                if not isinstance(stopped, Ok):
                    return Conflict(stopped.code, stopped.message)
            await self._carrier.pack(launch.folder, launch.branch, bundle, lent=launch.read)
            await self._send(intent, bundle)
        except ControllerError as error:
            return _certain(error)
        except (OSError, TimeoutError) as error:
            return Conflict(CANNOT_START, f"its clone was not carried over: {brief(error)}")
        finally:
            bundle.unlink(missing_ok=True)
        try:
            state = await self._controllers.call(
                launch.host, wire.WORK_START, body=_order(launch), timeout_ms=90_000
            )
        except ControllerError as error:
            return _failure(error) if _is_unsure(error) else _certain(error)
        return await self._started(intent, state)

    async def _started(self, intent: Record, state: wire.WorkState) -> Outcome[None]:
        now = self._clock.now_ms()
        started = replace(intent, phase="started", started_ms=state.started_ms or now)
        try:
            await self._ledger.save(started)
        except OSError as error:
            return Retryable(UNSURE, f"it runs, and that is not written: {brief(error)}")
        return Ok(None)

    async def _send(self, record: Record, bundle: Path) -> None:
        size = (await asyncio.to_thread(bundle.stat)).st_size
        for offset in range(0, size, wire.PART_BYTES_MAX):
            data = await asyncio.to_thread(_part, bundle, offset)
            part = wire.WorkPart(town=record.town, attempt=record.attempt, offset=offset, data=data)
            await self._controllers.call(record.host, wire.WORK_PART, body=part)

    # --------------------------------------------------------------------------------- ending

    async def _stop(self, record: Record, drain_s: float) -> Outcome[None]:
        """Stop one attempt; one that may have been started is stopped too."""
        noted = replace(record, phase="stopping", asked=True)
        await self._ledger.save(noted)
        drain_ms = min(round(drain_s * 1_000), wire.DRAIN_MS_MAX)
        order = wire.WorkStop(
            town=record.town, agent=record.agent, epoch=record.epoch, drain_ms=drain_ms
        )
        one = wire.WorkId(town=record.town, attempt=record.attempt)
        try:
            await self._controllers.call(
                record.host, wire.WORK_STOP, body=order, timeout_ms=drain_ms + STOP_EXTRA_MS
            )
            state = await self._controllers.call(record.host, wire.WORK_STATE, body=one)
        except ControllerError as error:
            if not await self._is_deleted(record, error):
                return _failure(error)
            state = wire.WorkState(status="unknown")
        if state.status == "running":
            return Retryable(UNREACHABLE, "its agent did not end it yet")
        await self._close(noted, state)
        return Ok(None)

    async def _look(self, record: Record) -> Outcome[Record]:
        """Return the record as it is now; the work of one that ended was brought here."""
        turn = self._ledger.turn(record.town, record.agent)
        record = self._ledger.now(record)
        if record.phase == "ended" or turn.locked():
            return Ok(record)
        async with turn:
            self._asked_ms[record.id] = self._clock.now_ms()
            self._run.discard(record.id)
            one = wire.WorkId(town=record.town, attempt=record.attempt)
            try:
                state = await self._controllers.call(record.host, wire.WORK_STATE, body=one)
                if state.status == "running":
                    self._run.add(record.id)
                    if record.phase == "stopping":  # its machine was away when that was asked
                        await self._stop(record, 0)
                    return Ok(self._ledger.now(record))
                if state.status == "ended" and not await self._gather_last(record):
                    return Retryable(UNSURE, "its work was not brought here yet")
                return Ok(await self._close(record, state))
            except ControllerError as error:
                if not await self._is_deleted(record, error):
                    return _failure(error)
                return Ok(await self._close(record, wire.WorkState(status="unknown")))
            except (OSError, TimeoutError) as error:
                return Retryable(UNSURE, f"its end was not taken in: {brief(error)}")

    async def _is_deleted(self, record: Record, error: ControllerError) -> bool:
        """Return whether an instance has no machine because it is there no more."""
        return error.trouble == "not_running" and not await self._exists(record.host)

    async def _close(self, record: Record, state: wire.WorkState) -> Record:
        return await self._ledger.save(
            replace(
                record, phase="ended", ended_ms=self._clock.now_ms(), end=state.end,
                reported=record.reported or record.asked,
            )
        )  # fmt: skip

    async def _gather_last(self, record: Record) -> bool:
        """Bring the work of an attempt that ended; return False where that is to be tried again.

        It is given up where its controller or git says that there is nothing to be had, and after
        many tries, so that the end of an attempt is told in the end.
        """
        try:
            await self._gather(record)
        except BadBundleError as error:
            why, is_over = brief(error), True
        except ControllerError as error:
            why, is_over = error.message, _is_refusal(error)
        except (OSError, TimeoutError) as error:
            why, is_over = brief(error), False
        else:
            self._failed.pop(record.id, None)
            return True
        self._failed[record.id] += 1
        if not is_over and self._failed[record.id] < GATHERED_TIMES:
            self._asked_ms[record.id] = self._clock.now_ms() + GATHER_EVERY_MS - ASK_EVERY_MS
            self._log.info("attempts.not_brought_yet", attempt=record.attempt, why=why)
            return False
        del self._failed[record.id]
        self._log.warning("attempts.not_brought", attempt=record.attempt, why=why)
        return True

    async def _gather(self, record: Record) -> None:
        one = wire.WorkId(town=record.town, attempt=record.attempt)
        made = await self._controllers.call(record.host, wire.WORK_BUNDLE, body=one)
        if not made.size:
            return
        bundle = self._bundle(record)
        try:
            await asyncio.to_thread(bundle.write_bytes, b"")
            while (size := (await asyncio.to_thread(bundle.stat)).st_size) < made.size:
                fetch = wire.WorkFetch(town=record.town, attempt=record.attempt, offset=size)
                piece = await self._controllers.call(record.host, wire.WORK_PIECE, body=fetch)
                if not piece.data or size + len(piece.data) > wire.BUNDLE_BYTES_MAX:
                    raise ControllerError("broken", "The bundle is not as long as it was said.")
                await asyncio.to_thread(_append, bundle, piece.data)
            await self._carrier.unpack(record.folder, record.branch, bundle, lent=record.read)
        finally:
            await asyncio.to_thread(bundle.unlink, missing_ok=True)

    def _bundle(self, record: Record) -> Path:
        return self._ledger.store.places(record).tmp / "work.bundle"


_TROUBLES: Final[Mapping[str, str]] = {
    "too_old": "controller_too_old",
    "not_running": "instance_not_running",
    "unauthorised": "controller_unauthorised",
}
"""Codes of a start that an instance could not take, by what was wrong."""


def _order(launch: Launch) -> wire.WorkOrder:
    env = dict(launch.env)
    return wire.WorkOrder(
        town=launch.town, agent=launch.agent, attempt=launch.attempt, epoch=launch.epoch,
        role=launch.role, branch=launch.branch, base=launch.base,
        prompt=launch.prompt[: wire.PROMPT_CHARS_MAX],
        tools=env.pop("HOLDFAST_TOOL_URL", ""), token=env.pop("HOLDFAST_TOOL_TOKEN", ""), env=env,
    )  # fmt: skip


def _part(bundle: Path, offset: int) -> bytes:
    with bundle.open("rb") as file:
        file.seek(offset)
        return file.read(wire.PART_BYTES_MAX)


def _append(bundle: Path, data: bytes) -> None:
    with bundle.open("ab") as file:
        file.write(data)


def _failure(error: ControllerError) -> Failure:
    """Return what a failed call means: nothing is known of an instance that does not answer."""
    code = _CODES.get(error.code, error.code)
    if not _is_refusal(error):
        return Retryable(code or UNREACHABLE, error.message)
    return Permanent(code, error.message) if code == NOT_HERE else Conflict(code, error.message)


def _is_refusal(error: ControllerError) -> bool:
    """Return whether a controller said no, as it would say again."""
    return error.trouble == "refused" and error.status < _FAILED


def _is_unsure(error: ControllerError) -> bool:
    """Return whether an order may have been carried out all the same."""
    lost = error.trouble in {"timeout", "unreachable", "broken"} or error.status >= _FAILED
    return error.arrived and lost


def _certain(error: ControllerError) -> Permanent | Conflict:
    """Return what a failed call means after which nothing was started, for certain."""
    failure = _failure(error)
    if isinstance(failure, Retryable):
        return Conflict(_TROUBLES.get(error.trouble, failure.code), failure.message)
    return failure
