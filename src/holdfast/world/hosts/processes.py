"""The host of local processes: an attempt is a program on this computer, in its own workspace.

Attempts do not depend on the plane: a program of ours beside each bounds its output and records its
end, and a plane that was killed finds them again by pid, start time and boot id. One plane uses a
home at a time.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Final, Self

from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.kernel.log import TotalLog
from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent, Retryable
from holdfast.world.hosts.ledger import Ledger, ended_of, exited, running_of
from holdfast.world.hosts.port import (
    CANNOT_START,
    NO_COMMAND,
    NOT_HERE,
    STUCK,
    UNCONFINED,
    UNSURE,
    EndedAttempt,
    Launch,
    Release,
    Running,
    RunningAttempt,
    Seen,
    Unknown,
)
from holdfast.world.hosts.records import Record
from holdfast.world.hosts.steps import PROGRAM, Limits, Steps, StuckError, inherit_nothing
from holdfast.world.processes.confine import Confine
from holdfast.world.processes.table import is_alive, open_process

WORKERS: Final = 8
"""Threads for blocking steps: milliseconds each, seconds where processes do not end."""


class ProcessHost:
    """Attempts as local processes. Open it before use, close it after; attempts live on."""

    def __init__(
        self,
        home: Path,
        *,
        clock: Clock,
        log: TotalLog,
        confine: Confine | None,
        confined: Callable[[], Awaitable[bool]],
        accept_unconfined: bool = False,
        limits: Limits | None = None,
        environ: Mapping[str, str] | None = None,
        inherit: Callable[[str, str], Sequence[str]] = inherit_nothing,
        modules: Sequence[str] = (),
        ports: tuple[int, int] = (0, 0),
        program: Sequence[str] = PROGRAM,
    ) -> None:
        """Keep everything below `home`, which must be hidden from agents by `confine`.

        `confined` returns whether this host can confine programs now. `ports` are the first and
        last port of machines, which attempts may not connect to. `inherit` returns more names of
        `environ` for agents of a town and role, `modules` are folders of Node modules whose
        programs they may run.
        """
        self._clock = clock
        self._log = log
        self._confined = confined
        self._confine = confine
        self._accept_unconfined = accept_unconfined
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="attempts")
        self._ledger = Ledger(home, clock=clock, log=log, pool=self._pool)
        self._run = self._ledger.run
        self._steps = Steps(
            self._ledger.store,
            clock=clock,
            environ=environ if environ is not None else dict(os.environ),
            confine=confine,
            accept_unconfined=accept_unconfined,
            limits=limits or Limits(),
            inherit=inherit,
            modules=modules,
            ports=ports,
            program=program,
        )
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def open(self) -> None:
        """Find the attempts that live, and go on with stops that a killed plane left."""
        await self._ledger.open()
        for record in self._ledger.all():
            if record.phase == "stopping":
                task = asyncio.create_task(self._resume_stop(record))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Leave the attempts alone; steps under way end first."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.get_running_loop().run_in_executor(None, self._pool.shutdown)

    # ------------------------------------------------------------------------------ the port

    async def start(self, launch: Launch) -> Outcome[None]:
        """Start an attempt once, whatever was asked before."""
        async with self._ledger.turn(launch.town, launch.agent):
            known = self._ledger.find(launch.town, launch.attempt)
            if known is not None and known.leader is not None:
                return Ok(None)
            refusal = await self._refusal(launch)
            if refusal is not None:
                return refusal
            try:
                await self._end_earlier(launch)
            except StuckError as error:
                return Conflict(STUCK, f"{error}: an earlier one does not end when killed")
            return await self._start(launch)

    async def stop(self, town: str, agent: str, epoch: int, drain_s: float) -> Outcome[None]:
        """Ask an agent's attempts up to an epoch to end, and kill them after `drain_s`."""
        async with self._ledger.turn(town, agent):
            try:
                await self._ledger.fence(town, agent, epoch)
                await self._end(self._ledger.live(town, agent, epoch), drain_s)
            except StuckError as error:
                return Retryable(STUCK, f"{error}: its processes do not end when they are killed")
            except (OSError, ValueError) as error:
                return Retryable(UNSURE, f"not stopped: {brief(error)}")
        return Ok(None)

    async def look(self, town: str, attempt: str) -> Outcome[Seen]:
        """Return how an attempt is."""
        record = self._ledger.find(town, attempt)
        if record is None or (record.phase == "intended"):
            return Ok(Unknown())
        try:
            record = await self._look(record)
        except StuckError as error:
            return Retryable(STUCK, f"{error}: its processes do not end when they are killed")
        except OSError as error:
            return Retryable(UNSURE, f"its end cannot be written: {brief(error)}")
        if record.phase == "ended":
            return Ok(exited(record))
        return Ok(Running(started_ms=record.started_ms))

    async def gather(self, town: str, attempt: str) -> Outcome[None]:
        """Do nothing: attempts work in the workspace itself."""
        del town, attempt
        return Ok(None)

    async def running(self) -> Outcome[tuple[RunningAttempt, ...]]:
        """Return the attempts that run."""
        started = [one for one in self._ledger.all() if one.phase == "started"]
        found = await self._run(lambda: [one for one in started if is_alive(one.leader)])
        return Ok(tuple(map(running_of, found)))

    async def ended(self) -> Outcome[tuple[EndedAttempt, ...]]:
        """Return what ended without having been stopped and was not acknowledged, oldest first."""
        started = [one for one in self._ledger.all() if one.phase == "started"]
        for record in await self._run(lambda: [one for one in started if not is_alive(one.leader)]):
            try:
                await self._look(record)
            except (StuckError, OSError) as error:
                self._log.warning("attempts.not_ended", attempt=record.attempt, why=brief(error))
        return Ok(self._ledger.ended())

    async def acknowledge(self, town: str, attempt: str) -> Outcome[None]:
        """Note that the end of an attempt was passed on; one that is unknown is acknowledged."""
        return await self._ledger.acknowledge(town, attempt)

    async def poke(self, town: str, attempt: str, text: str) -> Outcome[None]:
        """Append a line to the file of pokes of a running attempt."""
        record = self._ledger.find(town, attempt)
        if record is None or record.phase != "started":
            return Permanent(NOT_HERE, f"attempt {attempt} does not run here")
        seen = await self.look(town, attempt)
        if not isinstance(seen, Ok):
            return seen
        if not isinstance(seen.value, Running):
            return Permanent(NOT_HERE, f"attempt {attempt} ended")
        try:
            await self._run(lambda: self._steps.poke(record, text))
        except OSError as error:
            return Retryable(UNSURE, f"not poked: {brief(error)}")
        return Ok(None)

    async def output(self, town: str, attempt: str, bytes_max: int) -> Outcome[bytes]:
        """Return the end of what an attempt wrote."""
        record = self._ledger.find(town, attempt)
        if record is None:
            return Permanent(NOT_HERE, f"attempt {attempt} was never here, or was forgotten")
        try:
            return Ok(await self._run(lambda: self._steps.output(record, bytes_max)))
        except OSError as error:
            return Retryable(UNSURE, f"its output cannot be read: {brief(error)}")

    async def prune(self, before_ms: int, release: Release) -> Outcome[tuple[EndedAttempt, ...]]:
        """Remove attempts that ended before a time and were stopped or passed on; return them."""
        return await self._ledger.prune(before_ms, lambda record: release(ended_of(record)))

    # ------------------------------------------------------------------------------- starting

    async def _refusal(self, launch: Launch) -> Conflict | Permanent | None:
        """Return why an attempt may not start here; None if nothing speaks against it."""
        program = launch.command[0] if launch.command else ""
        if not program or shutil.which(program, path=self._steps.search) is None:
            return Permanent(
                NO_COMMAND,
                f"role {launch.role}: no program {program!r} here; set the command of the role",
            )
        if not self._accept_unconfined and (self._confine is None or not await self._confined()):
            return Permanent(
                UNCONFINED,
                "nothing confines programs on this host: install bubblewrap, or accept it",
            )
        if not await self._run(Path(launch.folder).is_dir):
            return Conflict(CANNOT_START, f"the workspace {launch.folder} is not there")
        return None

    async def _start(self, launch: Launch) -> Outcome[None]:
        """Write the intent and start; the turn of the agent is held."""
        intent = await self._ledger.intend(launch)
        if not isinstance(intent, Ok):
            return intent
        try:
            await self._ledger.step(partial(self._steps.start, launch, intent.value))
        except (OSError, ValueError) as error:
            return Conflict(CANNOT_START, f"it cannot be started: {brief(error)}")
        return Ok(None)

    # --------------------------------------------------------------------------------- ending

    async def _end_earlier(self, launch: Launch) -> None:
        """End an agent's earlier attempts; one that lingers may end by itself first."""
        earlier = (launch.town, launch.agent, launch.epoch - 1)
        for record in self._ledger.live(*earlier):
            if record.linger_s:
                await self._await_end(record, record.linger_s)
                await self._ledger.step(partial(self._steps.look, record))
        await self._end(self._ledger.live(*earlier), 0)

    async def _end(self, records: Iterator[Record], drain_s: float) -> None:
        """Ask all to end, then wait for them; the turn of the agent is held."""
        ask = partial(self._steps.ask, drain_s=drain_s)
        asked = [await self._ledger.step(partial(ask, record)) for record in records]
        for noted in asked:
            if noted.phase == "stopping":
                left_ms = noted.stop_by_ms - self._clock.now_ms()
                await self._await_end(noted, left_ms / 1_000)
                await self._ledger.step(partial(self._steps.close, noted))

    async def _await_end(self, record: Record, most_s: float) -> None:
        """Return when an attempt has ended, at the latest after a time."""
        handle = None if record.leader is None else open_process(record.leader)
        if handle is None:
            return
        loop, ended = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(handle, ended.set)
        try:
            async with asyncio.timeout(most_s):
                await ended.wait()
        except TimeoutError:
            return
        finally:
            loop.remove_reader(handle)
            os.close(handle)

    async def _resume_stop(self, record: Record) -> None:
        left_s = max(0.0, (record.stop_by_ms - self._clock.now_ms()) / 1_000)
        outcome = await self.stop(record.town, record.agent, record.epoch, left_s)
        if not isinstance(outcome, Ok):
            self._log.warning("attempts.not_stopped", attempt=record.attempt, why=outcome.message)

    async def _look(self, record: Record) -> Record:
        """Return the record as it is now; the end of one that ended is on disk.

        One that is being started or stopped is returned as it was.
        """
        turn = self._ledger.turn(record.town, record.agent)
        if turn.locked():
            return record
        async with turn:
            return await self._ledger.step(partial(self._steps.look, self._ledger.now(record)))
