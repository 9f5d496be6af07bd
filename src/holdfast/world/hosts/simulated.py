"""A host in memory: the twin for tests and the simulator. Attempts end when they are told to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from holdfast.kernel.clock import Clock
from holdfast.kernel.outcome import Conflict, Ok, Outcome, Permanent
from holdfast.world.hosts.port import (
    NO_COMMAND,
    NOT_HERE,
    STOPPED,
    EndedAttempt,
    Exited,
    Launch,
    Release,
    Running,
    RunningAttempt,
    Seen,
    Unknown,
)

STOPPED_BY_HOST: Final = Exited(how="signalled", code=15, because="asked")


@dataclass(slots=True)
class _Attempt:
    """One attempt."""

    launch: Launch
    started_ms: int
    exited: Exited | None = None
    reported: bool = False
    pokes: list[str] = field(default_factory=list)
    written: bytearray = field(default_factory=bytearray)


class SimulatedHost:
    """Attempts that run nothing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._attempts: dict[tuple[str, str], _Attempt] = {}
        self._stopped: dict[tuple[str, str], int] = {}
        self._started: dict[tuple[str, str], int] = {}

    async def start(self, launch: Launch) -> Outcome[None]:
        """Start an attempt once, whatever was asked before."""
        key, agent = (launch.town, launch.attempt), (launch.town, launch.agent)
        if key in self._attempts:
            return Ok(None)
        if not launch.command:
            return Permanent(NO_COMMAND, f"role {launch.role}: it has no command")
        if launch.epoch <= max(self._stopped.get(agent, 0), self._started.get(agent, 0)):
            return Conflict(STOPPED, f"{launch.attempt} was stopped, or a later one started")
        self._end(launch.town, launch.agent, launch.epoch - 1)
        self._started[agent] = launch.epoch
        self._attempts[key] = _Attempt(launch, self._clock.now_ms())
        return Ok(None)

    async def stop(self, town: str, agent: str, epoch: int, drain_s: float) -> Outcome[None]:
        """End an agent's attempts up to an epoch at once."""
        del drain_s
        self._stopped[(town, agent)] = max(epoch, self._stopped.get((town, agent), 0))
        self._end(town, agent, epoch)
        return Ok(None)

    async def look(self, town: str, attempt: str) -> Outcome[Seen]:
        """Return how an attempt is."""
        found = self._attempts.get((town, attempt))
        if found is None:
            return Ok(Unknown())
        return Ok(found.exited or Running(started_ms=found.started_ms))

    async def gather(self, town: str, attempt: str) -> Outcome[None]:
        """Do nothing: nothing is committed."""
        del town, attempt
        return Ok(None)

    async def running(self) -> Outcome[tuple[RunningAttempt, ...]]:
        """Return the attempts that run."""
        launches = (one.launch for one in self._attempts.values() if one.exited is None)
        return Ok(
            tuple(
                RunningAttempt(town=one.town, agent=one.agent, attempt=one.attempt)
                for one in launches
            )
        )

    async def ended(self) -> Outcome[tuple[EndedAttempt, ...]]:
        """Return what ended without having been stopped and was not acknowledged."""
        return Ok(
            tuple(
                _ended(one, one.exited)
                for one in self._attempts.values()
                if one.exited is not None and not one.reported
            )
        )

    async def acknowledge(self, town: str, attempt: str) -> Outcome[None]:
        """Note that the end of an attempt was passed on."""
        if (found := self._attempts.get((town, attempt))) is not None:
            found.reported = True
        return Ok(None)

    async def prune(self, before_ms: int, release: Release) -> Outcome[tuple[EndedAttempt, ...]]:
        """Forget attempts that ended and were stopped or passed on, if they started before then."""
        gone = {
            key: _ended(one, one.exited)
            for key, one in self._attempts.items()
            if one.exited is not None and one.reported and one.started_ms < before_ms
        }
        released = {key: one for key, one in gone.items() if await release(one)}
        for key in released:
            del self._attempts[key]
        return Ok(tuple(released.values()))

    async def poke(self, town: str, attempt: str, text: str) -> Outcome[None]:
        """Keep a text for a running attempt."""
        found = self._attempts.get((town, attempt))
        if found is None or found.exited is not None:
            return Permanent(NOT_HERE, f"attempt {attempt} does not run here")
        found.pokes.append(text)
        return Ok(None)

    async def output(self, town: str, attempt: str, bytes_max: int) -> Outcome[bytes]:
        """Return the end of what an attempt wrote."""
        found = self._attempts.get((town, attempt))
        if found is None:
            return Permanent(NOT_HERE, f"attempt {attempt} was never here")
        return Ok(bytes(found.written[-bytes_max:]))

    # ---------------------------------------------------------------- what the twin is told

    def launched(self, town: str, attempt: str) -> Launch | None:
        """Return what was asked for an attempt that was started."""
        found = self._attempts.get((town, attempt))
        return None if found is None else found.launch

    def pokes(self, town: str, attempt: str) -> tuple[str, ...]:
        """Return the texts that an attempt was poked with."""
        return tuple(self._attempts[(town, attempt)].pokes)

    def finish(self, town: str, attempt: str, exited: Exited, *, written: bytes = b"") -> None:
        """End an attempt by itself."""
        found = self._attempts[(town, attempt)]
        found.written += written
        found.exited = found.exited or exited

    def _end(self, town: str, agent: str, epoch: int) -> None:
        for (of, _), one in self._attempts.items():
            launch = one.launch
            if (of, launch.agent) == (town, agent) and launch.epoch <= epoch and not one.exited:
                one.exited, one.reported = STOPPED_BY_HOST, True


def _ended(one: _Attempt, seen: Exited) -> EndedAttempt:
    launch = one.launch
    return EndedAttempt(
        town=launch.town, agent=launch.agent, attempt=launch.attempt, rig=launch.rig,
        bead=launch.bead, command=launch.command, seen=seen,
    )  # fmt: skip
