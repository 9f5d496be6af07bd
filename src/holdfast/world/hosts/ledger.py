"""What a host of the plane knows of its attempts, on disk and in memory, and who may start.

Every step on an attempt is made while its agent's turn is held. Records and fences are written in
worker threads and taken into memory there, so that a caller that is cancelled leaves both alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Executor
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

from msgspec.structs import replace

from holdfast.kernel.clock import DAY_MS, Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.log import TotalLog
from holdfast.kernel.outcome import Conflict, Ok, Outcome, Retryable
from holdfast.kernel.turns import Turns
from holdfast.world.hosts.port import (
    CANNOT_START,
    STOPPED,
    UNSURE,
    EndedAttempt,
    Exited,
    Launch,
    RunningAttempt,
)
from holdfast.world.hosts.records import AttemptStore, Record, record_id

FENCED_MS: Final = DAY_MS
"""How long a plane runs before it deletes old fences: a start that an earlier plane was asked for
is done or given up by then."""

T = TypeVar("T")


class Ledger:
    """The attempts of one host."""

    def __init__(
        self, home: Path, *, clock: Clock, log: TotalLog, pool: Executor | None = None
    ) -> None:
        """Keep records below `home`; blocking steps run in `pool`."""
        self.store = AttemptStore(home)
        self._clock = clock
        self._log = log
        self._pool = pool
        self._records: dict[str, Record] = {}
        self._turns = Turns(asyncio.Lock)
        self._opened_ms = clock.now_ms()

    async def open(self) -> None:
        """Read the records of an earlier plane."""
        self._opened_ms = self._clock.now_ms()
        for found in await self.run(lambda: tuple(self.store.load())):
            if isinstance(found, Path):
                self._log.error("attempts.unreadable", file=str(found))
            else:
                self._records[found.id] = found

    # -------------------------------------------------------------------------------- looking up

    def find(self, town: str, attempt: str) -> Record | None:
        """Return the record of an attempt."""
        return self._records.get(record_id(town, attempt))

    def now(self, record: Record) -> Record:
        """Return a record as it is now."""
        return self._records.get(record.id, record)

    def all(self) -> list[Record]:
        """Return every record, the oldest first."""
        return sorted(self._records.values(), key=lambda one: (one.made_ms, one.id))

    def live(self, town: str, agent: str, epoch: int) -> Iterator[Record]:
        """Yield an agent's attempts up to an epoch that have not ended."""
        for record in list(self._records.values()):
            is_asked = (record.town, record.agent) == (town, agent) and record.epoch <= epoch
            if is_asked and record.phase != "ended":
                yield record

    def ended(self) -> tuple[EndedAttempt, ...]:
        """Return what ended without having been stopped and was not acknowledged."""
        found = (one for one in self.all() if one.phase == "ended" and not one.reported)
        return tuple(map(ended_of, found))

    def turn(self, town: str, agent: str) -> asyncio.Lock:
        """Return what is held while something is done with an agent's attempts."""
        return self._turns.of(town, agent)

    # ----------------------------------------------------------------------------------- writing

    async def run(self, do: Callable[[], T]) -> T:
        """Run a blocking step in a worker; it completes even if its caller is cancelled."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._pool, do))

    async def step(self, do: Callable[[], Record]) -> Record:
        """Run a blocking step that writes a record, and take in what it returns."""

        def noted() -> Record:
            record = do()
            self._records[record.id] = record
            return record

        return await self.run(noted)

    async def save(self, record: Record) -> Record:
        """Write a record. Raise OSError."""
        return await self.step(partial(self.store.save, record))

    async def intend(self, launch: Launch) -> Outcome[Record]:
        """Write the intent to start an attempt, unless its fence forbids that."""
        try:
            intent = await self.run(partial(self._intend, launch))
        except (OSError, ValueError) as error:
            return Conflict(CANNOT_START, f"its record cannot be written: {brief(error)}")
        if intent is None:
            return Conflict(STOPPED, f"{launch.attempt} was stopped, or a later one started")
        return Ok(intent)

    def _intend(self, launch: Launch) -> Record | None:
        known = self.find(launch.town, launch.attempt)
        if known is not None and known.phase != "intended":
            return None
        fence = self.store.fence(launch.town, launch.agent)
        if not fence.admits(launch.epoch, known=known is not None):
            return None
        now = self._clock.now_ms()
        intent = known or Record(
            town=launch.town, agent=launch.agent, attempt=launch.attempt, epoch=launch.epoch,
            role=launch.role, rig=launch.rig, phase="intended", made_ms=now, host=launch.host,
            folder=launch.folder, branch=launch.branch, read=launch.read,
            bead=launch.bead, command=launch.command, linger_s=launch.linger_s,
        )  # fmt: skip
        self.store.make(intent)
        self._records[intent.id] = intent
        fenced = replace(fence, started=launch.epoch, at_ms=now)
        self.store.save_fence(launch.town, launch.agent, fenced)
        return intent

    async def fence(self, town: str, agent: str, epoch: int) -> None:
        """Have no attempt of an agent up to an epoch start any more. Raise OSError, ValueError."""
        await self.run(partial(self._fence, town, agent, epoch))

    def _fence(self, town: str, agent: str, epoch: int) -> None:
        fence = self.store.fence(town, agent)
        if epoch > fence.stopped:
            fenced = replace(fence, stopped=epoch, at_ms=self._clock.now_ms())
            self.store.save_fence(town, agent, fenced)

    async def acknowledge(self, town: str, attempt: str) -> Outcome[None]:
        """Note that the end of an attempt was passed on; one that is unknown is acknowledged."""
        record = self.find(town, attempt)
        if record is None or record.reported:
            return Ok(None)
        async with self.turn(record.town, record.agent):
            try:
                await self.save(replace(self.now(record), reported=True))
            except OSError as error:
                return Retryable(UNSURE, f"not noted: {brief(error)}")
        return Ok(None)

    # ---------------------------------------------------------------------------------- forgetting

    async def prune(
        self, before_ms: int, release: Callable[[Record], Awaitable[bool]]
    ) -> Outcome[tuple[EndedAttempt, ...]]:
        """Forget attempts that were over before a time; return them.

        Those are the ones that ended and were stopped or passed on, and the ones that were never
        started. A record goes after what it owns: one that `release` is not done with, or that was
        cut short there, is kept until the next time.
        """
        gone = []
        try:
            for record in self.all():
                turn = self.turn(record.town, record.agent)
                if turn.locked() or not _is_over(record, before_ms):
                    continue
                async with turn:
                    if await release(record):
                        await self.run(partial(self.store.remove, record))
                        del self._records[record.id]
                        gone.append(ended_of(record))
            if self._clock.now_ms() - self._opened_ms >= FENCED_MS:
                agents = {(one.town, one.agent) for one in list(self._records.values())}
                await self.run(partial(self.store.drop_fences, before_ms, but=agents))
        except OSError as error:
            if not gone:
                return Retryable(UNSURE, f"not removed: {brief(error)}")
            self._log.warning("attempts.not_removed", why=brief(error))
        return Ok(tuple(gone))


def _is_over(record: Record, before_ms: int) -> bool:
    if record.phase == "intended":
        return record.made_ms < before_ms
    return record.phase == "ended" and record.reported and record.ended_ms < before_ms


def exited(record: Record) -> Exited:
    """Return how an attempt ended."""
    end = record.end
    if end is None:
        return Exited(how="gone")
    if end.code < 0:
        return Exited(how="signalled", code=-end.code, because=end.because)
    return Exited(how="exited", code=end.code, because=end.because)


def running_of(record: Record) -> RunningAttempt:
    """Return what is told of an attempt that runs."""
    return RunningAttempt(town=record.town, agent=record.agent, attempt=record.attempt)


def ended_of(record: Record) -> EndedAttempt:
    """Return an attempt that ended, as the port has it."""
    return EndedAttempt(
        town=record.town, agent=record.agent, attempt=record.attempt, rig=record.rig,
        bead=record.bead, command=record.command, seen=exited(record),
    )  # fmt: skip
