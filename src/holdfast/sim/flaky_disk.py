"""The journal of one simulated plane: the memory journal, behind a disk that fails and crashes.

Each plane has its own, over the one store that outlives them all. Before and after every write it
may be slow, fail, or crash the plane: before means that nothing was written, after that all of it
was but not acknowledged. Once its plane is dead every operation fails, whatever code of that plane
still runs.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from holdfast.actors.ports import (
    Accepted,
    Alarm,
    Arrival,
    Commit,
    EffectRow,
    EffectStatus,
    Loaded,
    Pending,
    ProbeRow,
    Stamp,
    UnwritableError,
)
from holdfast.kernel.clock import Clock
from holdfast.kernel.ids import Address, EventId
from holdfast.sim.trace import Trace
from holdfast.stores.memory.journal import MemoryJournal
from holdfast.stores.memory.journal_state import MemoryStore

SLOW_S_MAX: Final = 3.0
"""Maximum duration of one write on a slow disk."""


class Troubles(Protocol):
    """Chances in a thousand for faults of a write, which may change at any time."""

    crash_write: float
    disk_fails: float
    disk_slow: float


class Witness(Protocol):
    """Observes the writes."""

    def before_commit(self, commit: Commit) -> None:
        """Check a commit before it is written, with the store still unchanged."""
        ...

    def after_commit(self, commit: Commit) -> None:
        """Check the store after a commit."""
        ...

    def acknowledged(self, accepted: Sequence[Accepted]) -> None:
        """Record what was acknowledged to the plane as durable."""
        ...


class Disk:
    """The `Journal` of one plane."""

    def __init__(
        self,
        store: MemoryStore,
        *,
        clock: Clock,
        chance: random.Random,
        troubles: Troubles,
        trace: Trace,
        witness: Witness,
        crash: Callable[[str], None],
    ) -> None:
        """Write to `store`; `crash` ends the plane of this disk."""
        self._inner = MemoryJournal(store, clock=clock)
        self._chance = chance
        self._troubles = troubles
        self._trace = trace
        self._witness = witness
        self._crash = crash
        self.dead = False

    # ------------------------------------------------------------------------------- writes

    async def accept(self, arrivals: Sequence[tuple[Address, Arrival]]) -> list[Accepted]:
        """Insert events."""
        await self._pass("accept.before")
        accepted = await self._inner.accept(arrivals)
        for (actor, arrival), answer in zip(arrivals, accepted, strict=True):
            if answer.fresh:
                self._trace.step("accepted", actor.id, arrival.dedupe, arrival.body)
        await self._pass("accept.after")
        self._witness.acknowledged(accepted)
        return accepted

    async def commit(self, commit: Commit) -> None:
        """Write a tick."""
        await self._pass("commit.before")
        self._inner.store.judge(commit)
        self._witness.before_commit(commit)
        await self._inner.commit(commit)
        self._trace.step("ticked", commit.actor.id, commit.number, commit.digest)
        self._witness.after_commit(commit)
        await self._pass("commit.after")

    async def lease(self, holder: str) -> int:
        """Acquire the lease."""
        await self._pass("lease.before")
        epoch = await self._inner.lease(holder)
        await self._pass("lease.after")
        return epoch

    async def finish_effect(
        self, effect_id: str, status: EffectStatus, arrival: tuple[Address, Arrival] | None
    ) -> Accepted | None:
        """Mark an effect finished and accept its outcome."""
        await self._pass("finish_effect.before")
        accepted = await self._inner.finish_effect(effect_id, status, arrival)
        body = b"" if arrival is None else arrival[1].body
        self._trace.step("finished", effect_id, status, body)
        await self._pass("finish_effect.after")
        if accepted is not None:
            self._witness.acknowledged([accepted])
        return accepted

    async def answer_probe(
        self, actor: Address, key: str, answer: str, arrival: Arrival
    ) -> Accepted | None:
        """Store a probe's new answer and accept its event."""
        await self._pass("answer_probe.before")
        accepted = await self._inner.answer_probe(actor, key, answer, arrival)
        self._trace.step("probed", actor.id, key, arrival.body)
        await self._pass("answer_probe.after")
        if accepted is not None:
            self._witness.acknowledged([accepted])
        return accepted

    async def keep_policy(self, policy_hash: str, body: bytes) -> None:
        """Store a policy's contents."""
        await self._pass("keep_policy.before")
        await self._inner.keep_policy(policy_hash, body)

    async def keep_asked(self, event: EventId, asked: str) -> str:
        """Keep what was asked for with a key."""
        await self._pass("keep_asked.before")
        return await self._inner.keep_asked(event, asked)

    async def drop_quarantined(self, event: EventId, by: str) -> bool:
        """Mark a quarantined event dropped."""
        await self._pass("drop_quarantined.before")
        return await self._inner.drop_quarantined(event, by)

    async def prune(self, before_ms: int) -> int:
        """Delete what no replay needs."""
        await self._pass("prune.before")
        return await self._inner.prune(before_ms)

    async def forget(self, actor: Address, before_ms: int) -> int:
        """Forget an actor."""
        await self._pass("forget.before")
        return await self._inner.forget(actor, before_ms)

    # -------------------------------------------------------------------------------- reads

    async def actors(self, limit: int, after: str = "") -> list[Address]:
        """Return actors in the order of their addresses."""
        self._live()
        return await self._inner.actors(limit, after)

    async def pending(self, actor: Address, limit: int) -> list[Pending]:
        """Return the actor's oldest events that no tick has taken."""
        self._live()
        return await self._inner.pending(actor, limit)

    async def load(self, actor: Address) -> Loaded | None:
        """Return the stored rows of an actor."""
        await self._pass("load")
        return await self._inner.load(actor)

    async def load_older(self, actor: Address, below: int) -> Loaded | None:
        """Return an actor from an older state."""
        await self._pass("load")
        return await self._inner.load_older(actor, below)

    async def waiting_actors(self, limit: int, skip: int = 0) -> list[Address]:
        """Return actors that have pending events."""
        self._live()
        return await self._inner.waiting_actors(limit, skip)

    async def alarms(self, until_ms: int, limit: int, after: Alarm | None = None) -> list[Alarm]:
        """Return the alarms at or before a time."""
        self._live()
        return await self._inner.alarms(until_ms, limit, after)

    async def waiting_effects(self, limit: int, after: str = "") -> list[EffectRow]:
        """Return effects that are not finished."""
        self._live()
        return await self._inner.waiting_effects(limit, after)

    async def probes(self, limit: int, after: tuple[str, str] = ("", "")) -> list[ProbeRow]:
        """Return the standing probes."""
        self._live()
        return await self._inner.probes(limit, after)

    async def stamp(self, event: EventId) -> Stamp | None:
        """Return the outcome of an event."""
        self._live()
        return await self._inner.stamp(event)

    async def close(self) -> None:
        """Do nothing: the store outlives its planes."""

    # ------------------------------------------------------------------------------- within

    def _live(self) -> None:
        """Raise if the plane is dead."""
        if self.dead:
            raise asyncio.CancelledError

    async def _pass(self, point: str) -> None:
        """Let one operation through, delayed or not at all."""
        self._live()
        troubles = self._troubles
        draw = self._chance.random() * 1_000
        if draw < troubles.disk_slow:
            self._trace.fault("disk slow", point)
            await asyncio.sleep(self._chance.random() * SLOW_S_MAX)
            self._live()
            return
        draw -= troubles.disk_slow
        if draw < troubles.disk_fails:
            self._trace.fault("disk fails", point)
            raise UnwritableError(f"{point}: the simulated disk fails")
        draw -= troubles.disk_fails
        if draw < troubles.crash_write:
            self._trace.fault("crash at write", point)
            self._crash(point)
            raise asyncio.CancelledError
