"""The journal in memory, for the simulator and for tests.

A `MemoryStore` outlives the journal that wrote it: to simulate a crash, keep only the store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import structs

from holdfast.actors.limits import MAILBOX_PENDING_MAX
from holdfast.actors.ports import (
    Accepted,
    Alarm,
    Arrival,
    Commit,
    EffectRow,
    EffectStatus,
    Loaded,
    Logged,
    Pending,
    ProbeRow,
    Stamp,
)
from holdfast.kernel.clock import Clock
from holdfast.kernel.ids import Address, EventId, derive
from holdfast.stores.journal_rules import (
    BOUNDED_SOURCES,
    full,
)
from holdfast.stores.memory.journal_reader import MemoryReader
from holdfast.stores.memory.journal_state import MemoryStore

__all__ = ["MemoryJournal", "MemoryReader", "MemoryStore", "no_fault"]

Fault = Callable[[str], None]


def no_fault(_point: str) -> None:
    """Inject no fault."""


class MemoryJournal:
    """The Journal over a store in memory.

    `faults` is called with `<method>.before` and `<method>.after` for every write. If it raises
    before, nothing was written; after, the write was made and the caller gets no answer.
    """

    def __init__(self, store: MemoryStore, *, clock: Clock, faults: Fault = no_fault) -> None:
        self.store = store
        self._reader = MemoryReader(store)
        self._clock = clock
        self._faults = faults

    def _take(self, actor: Address, arrival: Arrival) -> Accepted:
        event_id = EventId(derive(str(actor), arrival.dedupe))
        return self.store.take(actor, event_id, arrival, self._clock.now_ms())

    async def accept(self, arrivals: Sequence[tuple[Address, Arrival]]) -> list[Accepted]:
        """Insert events; all of them or, with MailboxFullError, none."""
        self._faults("accept.before")
        self._check_room(arrivals)
        accepted = [self._take(actor, arrival) for actor, arrival in arrivals]
        self._faults("accept.after")
        return accepted

    def _check_room(self, arrivals: Sequence[tuple[Address, Arrival]]) -> None:
        room = MAILBOX_PENDING_MAX - len(arrivals)
        waiting = self.store.waiting
        if all(len(waiting.get(actor, ())) <= room for actor, _ in arrivals):
            return
        coming: dict[Address, set[str]] = {}
        bounded = set()
        for actor, arrival in arrivals:
            event_id = derive(str(actor), arrival.dedupe)
            if event_id not in self.store.known:
                coming.setdefault(actor, set()).add(event_id)
                if arrival.source in BOUNDED_SOURCES:
                    bounded.add(actor)
        for actor in sorted(bounded, key=str):
            count = len(waiting.get(actor, ()))
            if count + len(coming[actor]) > MAILBOX_PENDING_MAX:
                raise full(actor, count)

    async def keep_asked(self, event: EventId, asked: str) -> str:
        """Keep the digest of what was asked for with a key, unless there is one; return what is."""
        self._faults("keep_asked.before")
        kept, _ = self.store.keys.setdefault(event, (asked, self._clock.now_ms()))
        self._faults("keep_asked.after")
        return kept

    async def pending(self, actor: Address, limit: int) -> list[Pending]:
        """Return the actor's oldest events that no tick has taken."""
        return await self._reader.pending(actor, limit)

    async def load(self, actor: Address) -> Loaded | None:
        """Return an actor, or None for an unknown one."""
        return self._reader.load_now(actor)

    async def load_older(self, actor: Address, below: int) -> Loaded | None:
        """Return an actor from its newest snapshot below a seq, or from its first event."""
        return self._reader.load_older(actor, below)

    async def commit(self, commit: Commit) -> None:
        """Write a tick; raise StaleError or ClaimTakenError and write nothing when refused."""
        self._faults("commit.before")
        self.store.judge(commit)
        self.store.write(commit)
        self._faults("commit.after")

    async def lease(self, holder: str) -> int:  # noqa: ARG002  no other process can read it
        """Take the lease of everything and return its epoch, greater than any before."""
        self._faults("lease.before")
        self.store.epoch += 1
        self._faults("lease.after")
        return self.store.epoch

    async def waiting_actors(self, limit: int, skip: int = 0) -> list[Address]:
        """Return actors that have pending events, those that wait longest first, after `skip`."""
        known = self.store.known
        oldest = sorted(
            (known[next(iter(events))].arrival, actor)
            for actor, events in self.store.waiting.items()
        )
        return [actor for _, actor in oldest[skip : skip + limit]]

    async def alarms(self, until_ms: int, limit: int, after: Alarm | None = None) -> list[Alarm]:
        """Return the alarms at or before `until_ms`, the earliest first, paged by the last one."""
        passed = (-1, "") if after is None else (after.at_ms, str(after.actor))
        due = sorted(
            (actor.alarm_ms, str(address), address)
            for address, actor in self.store.actors.items()
            if actor.alarm_ms is not None
            and actor.alarm_ms <= until_ms
            and (actor.alarm_ms, str(address)) > passed
        )
        return [Alarm(address, at_ms) for at_ms, _, address in due[:limit]]

    async def waiting_effects(self, limit: int, after: str = "") -> list[EffectRow]:
        """Return effects that are not finished, in the order of their lanes, paged by id."""
        places = self.store.places
        if after and after not in places:
            raise ValueError(f"after {after!r}: no such effect; begin with the first page")
        start = places[after] if after else 0
        waiting = [effect for lane in self.store.lanes.values() for effect in lane]
        found = sorted((e for e in waiting if places[e] > start), key=places.__getitem__)
        return [self.store.effects[effect] for effect in found[:limit]]

    async def finish_effect(
        self, effect_id: str, status: EffectStatus, arrival: tuple[Address, Arrival] | None
    ) -> Accepted | None:
        """Mark an effect finished and accept its outcome, in one transaction; idempotent."""
        self._faults("finish_effect.before")
        accepted = None
        if effect_id in self.store.effects:
            self.store.finish(effect_id, status)
            accepted = None if arrival is None else self._take(*arrival)
        self._faults("finish_effect.after")
        return accepted

    async def probes(self, limit: int, after: tuple[str, str] = ("", "")) -> list[ProbeRow]:
        """Return the standing probes, paged by (address, key)."""
        keys = sorted(key for key in self.store.probes if key > after)
        return [self.store.probes[key] for key in keys[:limit]]

    async def answer_probe(
        self, actor: Address, key: str, answer: str, arrival: Arrival
    ) -> Accepted | None:
        """Store a probe's new answer and accept its event; None when the probe is gone."""
        self._faults("answer_probe.before")
        accepted = None
        row = self.store.probes.get((str(actor), key))
        if row is not None:
            self.store.probes[str(actor), key] = structs.replace(row, answer=answer)
            accepted = self._take(actor, arrival)
        self._faults("answer_probe.after")
        return accepted

    async def keep_policy(self, policy_hash: str, body: bytes) -> None:
        """Keep a policy's contents under its hash, for replays."""
        self._faults("keep_policy.before")
        self.store.policies.setdefault(policy_hash, body)
        self._faults("keep_policy.after")

    async def stamp(self, event: EventId) -> Stamp | None:
        """Return an event's stamp, or None while no tick has taken it."""
        known = self.store.known.get(event)
        if known is None or not isinstance(known.event, Logged):
            return None
        logged = known.event
        return Stamp(
            id=logged.id,
            seq=logged.seq,
            tick=logged.tick,
            at_ms=logged.at_ms,
            outcome=logged.outcome,
            code=logged.code,
            message=logged.message,
        )

    async def drop_quarantined(self, event: EventId, by: str) -> bool:
        """Mark a quarantined event dropped; return whether it was quarantined."""
        self._faults("drop_quarantined.before")
        dropped = self.store.drop(event, by)
        self._faults("drop_quarantined.after")
        return dropped

    async def prune(self, before_ms: int) -> int:
        """Delete what no replay from `before_ms` on needs; return how many rows."""
        self._faults("prune.before")
        count = self.store.prune(before_ms)
        self._faults("prune.after")
        return count

    async def actors(self, limit: int, after: str = "") -> list[Address]:
        """Return actors in the order of their addresses, after one of those."""
        return sorted((a for a in self.store.actors if str(a) > after), key=str)[:limit]

    async def forget(self, actor: Address, before_ms: int) -> int:
        """Delete an actor not referred to since `before_ms`; return its number of events."""
        self._faults("forget.before")
        count = self.store.forget(actor, before_ms)
        self._faults("forget.after")
        return count

    async def close(self) -> None:
        """Do nothing: the store outlives its journals."""
