"""The journal in memory: the same words held, for the simulator, for tests, and for reading them.

What is in a `MemoryStore` is what a disk would hold: it outlives the journal that wrote it, so a
crash is to drop everything but the store, and `clone` is a copy of the disk. Each write is judged
in full before anything of it is done, so there is no moment at which half of it is there.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from msgspec import Struct, structs

from holdfast.actors.definition import Claim
from holdfast.actors.limits import MAILBOX_PENDING_MAX
from holdfast.actors.ports import (
    Accepted,
    Alarm,
    Arrival,
    ClaimTakenError,
    Commit,
    EffectRow,
    EffectStatus,
    LeaseLostError,
    Loaded,
    Logged,
    Operation,
    Pending,
    ProbeRow,
    StaleError,
    Stamp,
)
from holdfast.kernel.clock import Clock
from holdfast.kernel.ids import Address, EventId, derive
from holdfast.stores.journal_rules import (
    ASKED_SOURCES,
    BOUNDED_SOURCES,
    FINISHED,
    Found,
    end_of,
    follow,
    full,
    keeps_snapshot,
    settle_lanes,
)

Fault = Callable[[str], None]


def no_fault(_point: str) -> None:
    """Let everything go well."""


class Snapshot(NamedTuple):
    """A state to replay from."""

    seq: int
    tick: int
    at_ms: int
    version: int
    digest: str
    state: bytes


class Ended(NamedTuple):
    """A tick that was committed."""

    seq: int
    digest: str
    record: bytes | None


class Actor(Struct, gc=False):
    """Where an actor's log ends, and its newest state."""

    account: str
    seq: int = 0
    number: int = 0
    digest: str = ""
    alarm_ms: int | None = None
    state: bytes | None = None
    state_version: int = 0
    state_seq: int = 0
    state_tick: int = 0
    state_digest: str = ""


class Known(NamedTuple):
    """An event, whose it is, and when it arrived among all."""

    arrival: int
    actor: Address
    event: Pending | Logged


def _copied(value: Any) -> Any:
    """Return a copy of what changes in place; rows never do."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return structs.replace(value) if isinstance(value, Actor) else value


class MemoryStore:
    """What a disk would hold."""

    def __init__(self) -> None:
        """Start empty."""
        self.epoch = 0
        self.arrivals = 0
        self.actors: dict[Address, Actor] = {}
        self.known: dict[str, Known] = {}
        self.waiting: dict[Address, dict[str, Pending]] = {}
        self.log: dict[Address, list[Logged]] = {}
        self.asked: dict[str, None] = {}
        self.quarantine: dict[str, None] = {}
        self.caused: dict[str, list[str]] = {}
        self.effects: dict[str, EffectRow] = {}
        self.places: dict[str, int] = {}
        self.placed = 0
        self.lanes: dict[tuple[str, str], dict[str, None]] = {}
        self.called: dict[str, list[str]] = {}
        self.probes: dict[tuple[str, str], ProbeRow] = {}
        self.claims: dict[Claim, Address] = {}
        self.views: dict[str, dict[str, tuple[bytes, str, int]]] = {}
        self.snapshots: dict[Address, list[Snapshot]] = {}
        self.ticks: dict[Address, dict[int, Ended]] = {}
        self.policies: dict[str, bytes] = {}

    def clone(self) -> MemoryStore:
        """Return a copy that further writes do not reach."""
        copy = MemoryStore()
        for name, value in vars(self).items():
            setattr(copy, name, _copied(value))
        return copy

    # ------------------------------------------------------------------------------- events

    def take(self, actor: Address, event_id: EventId, arrival: Arrival, now_ms: int) -> Accepted:
        """Insert one event unless it is there."""
        if event_id in self.known:
            return Accepted(event_id, fresh=False)
        event = Pending(
            id=event_id,
            body=arrival.body,
            version=arrival.version,
            source=arrival.source,
            accepted_ms=now_ms,
            cause=arrival.cause,
            by=arrival.by,
        )
        self._learn(actor, event)
        self.waiting.setdefault(actor, {})[event_id] = event
        if event.source in ASKED_SOURCES:
            self.asked[event_id] = None
        return Accepted(event_id, fresh=True)

    def _learn(self, actor: Address, event: Pending | Logged) -> None:
        self.arrivals += 1
        self.known[event.id] = Known(self.arrivals, actor, event)
        if event.cause:
            self.caused.setdefault(event.cause, []).append(event.id)

    def stamp(self, actor: Address, stamp: Stamp) -> None:
        """Move a pending event into the log."""
        event = self.waiting[actor].pop(stamp.id)
        if not self.waiting[actor]:
            del self.waiting[actor]
        logged = Logged(
            id=event.id,
            seq=stamp.seq,
            tick=stamp.tick,
            at_ms=stamp.at_ms,
            outcome=stamp.outcome,
            body=event.body,
            version=event.version,
            source=event.source,
            cause=event.cause,
            by=event.by,
            code=stamp.code,
            message=stamp.message,
            accepted_ms=event.accepted_ms,
        )
        self.log.setdefault(actor, []).append(logged)
        self.known[event.id] = self.known[event.id]._replace(event=logged)
        if stamp.outcome == "quarantined":
            self.quarantine[event.id] = None

    def intend(self, actor: Address, event: Logged) -> None:
        """Log an event that a tick made itself."""
        self._learn(actor, event)
        self.log.setdefault(actor, []).append(event)

    def drop(self, event_id: EventId, by: str) -> bool:
        """Take an event out of quarantine for good."""
        if event_id not in self.quarantine:
            return False
        del self.quarantine[event_id]
        known = self.known[event_id]
        assert isinstance(known.event, Logged)
        event = structs.replace(
            known.event, outcome="dropped", message=f"dropped by {by}; {known.event.message}"
        )
        self.known[event_id] = known._replace(event=event)
        log = self.log[known.actor]
        log[self.index(log, event.seq) - 1] = event
        return True

    @staticmethod
    def index(log: Sequence[Logged], seq: int) -> int:
        """Return how many events of a log are at or before a seq."""
        return bisect_right(log, seq, key=lambda event: event.seq)

    # ------------------------------------------------------------------------------ effects

    def call(self, effects: Sequence[EffectRow]) -> None:
        """Put a commit's effects into their lanes."""
        rows, superseded = settle_lanes(effects)
        for lane in superseded:
            for effect_id in self.lanes.pop(lane, {}):
                effect = self.effects[effect_id]
                self.effects[effect_id] = structs.replace(effect, status="superseded")
        for row in rows:
            self.placed += 1
            self.places[row.id] = self.placed
            self.effects[row.id] = row
            self.called.setdefault(row.cause, []).append(row.id)
            if row.status == "waiting":
                self.lanes.setdefault((str(row.actor), row.lane), {})[row.id] = None

    def finish(self, effect_id: str, status: EffectStatus) -> None:
        """Give an effect its last status."""
        effect = self.effects[effect_id]
        if effect.status in FINISHED:
            return
        self.effects[effect_id] = structs.replace(effect, status=status)
        lane = (str(effect.actor), effect.lane)
        if status != "waiting" and lane in self.lanes:
            self.lanes[lane].pop(effect_id, None)
            if not self.lanes[lane]:
                del self.lanes[lane]

    # -------------------------------------------------------------------------------- ticks

    def judge(self, commit: Commit) -> None:
        """Raise what is wrong with a commit, before anything of it is written."""
        if commit.lease_epoch != self.epoch:
            raise LeaseLostError(f"{commit.actor}: lease {commit.lease_epoch} is not the newest")
        actor = self.actors.get(commit.actor)
        seq, number = (actor.seq, actor.number) if actor else (0, 0)
        if commit.expected_seq != seq or commit.number <= number:
            raise StaleError(
                f"{commit.actor}: tick {commit.number} on seq {commit.expected_seq} is not on"
                " what is stored"
            )
        waiting = self.waiting.get(commit.actor, {})
        if any(stamp.id not in waiting for stamp in commit.stamps):
            raise StaleError(f"{commit.actor}: a stamp names an event that is not pending")
        for claim in commit.claims:
            holder = self.claims.get(claim)
            if holder is not None and holder != commit.actor:
                raise ClaimTakenError(claim, holder)

    def write(self, commit: Commit) -> None:
        """Write a commit that was judged."""
        address = commit.actor
        for stamp in commit.stamps:
            self.stamp(address, stamp)
        for intent in commit.intents:
            self.intend(address, intent)
        self._move(commit)
        for view, key, account, body in commit.views:
            rows = self.views.setdefault(view, {})
            if body is None:
                rows.pop(key, None)
            else:
                rows[key] = (body, account, end_of(commit))
        if commit.effects:
            self.call(commit.effects)
        self._stand(commit)
        for letter in commit.letters:
            arrival = Arrival(
                body=letter.body,
                dedupe=letter.dedupe,
                version=letter.version,
                source="letter",
                by=str(address),
            )
            event_id = EventId(derive(str(letter.to), letter.dedupe))
            self.take(letter.to, event_id, arrival, commit.now_ms)

    def _stand(self, commit: Commit) -> None:
        """Put up and take down probes and claims."""
        address = commit.actor
        for key in commit.unprobes:
            self.probes.pop((str(address), key), None)
        for probe in commit.probes:
            self.probes[str(probe.actor), probe.key] = probe
        for claim in commit.releases:
            if self.claims.get(claim) == address:
                del self.claims[claim]
        for claim in commit.claims:
            self.claims[claim] = address

    def _move(self, commit: Commit) -> None:
        """Move the end of an actor's log, and keep its state, snapshot and record."""
        actor = self.actors.get(commit.actor)
        if actor is None:
            actor = self.actors[commit.actor] = Actor(commit.account)
        seq = end_of(commit)
        actor.account, actor.seq, actor.number = commit.account, seq, commit.number
        actor.digest = commit.digest
        if commit.alarm_changed:
            actor.alarm_ms = commit.alarm_ms
        if commit.state is not None:
            actor.state, actor.state_version = commit.state, commit.state_version
            actor.state_seq, actor.state_tick = seq, commit.number
            actor.state_digest = commit.digest
            if keeps_snapshot(commit):
                kept = self.snapshots.setdefault(commit.actor, [])
                if kept and kept[-1].seq == seq:
                    kept.pop()
                kept.append(
                    Snapshot(
                        seq,
                        commit.number,
                        commit.now_ms,
                        commit.state_version,
                        commit.digest,
                        commit.state,
                    )
                )
        ended = Ended(seq, commit.digest, commit.record)
        self.ticks.setdefault(commit.actor, {})[commit.number] = ended

    # ---------------------------------------------------------------------------- retention

    def prune(self, before_ms: int) -> int:
        """Forget what no replay from `before_ms` on needs; return how many rows that was."""
        return sum(
            self._prune(address, floor.seq, before_ms)
            for address, kept in self.snapshots.items()
            if (floor := max((s for s in kept if s.at_ms < before_ms), default=None))
        )

    def _prune(self, address: Address, floor: int, before_ms: int) -> int:
        log = self.log.get(address, [])
        gone = [e for e in log if e.seq <= floor and e.outcome != "quarantined"]
        for event in gone:
            self._forget(event)
        self.log[address] = [e for e in log if e.seq > floor or e.outcome == "quarantined"]
        ticks = self.ticks[address]
        ended = [number for number, tick in ticks.items() if tick.seq <= floor]
        for number in ended:
            del ticks[number]
        kept = self.snapshots[address]
        self.snapshots[address] = [s for s in kept if s.seq >= floor]
        finished = [
            e
            for e in self.effects.values()
            if e.actor == address and e.created_ms < before_ms and e.status != "waiting"
        ]
        for effect in finished:
            del self.effects[effect.id], self.places[effect.id]
            self.called[effect.cause].remove(effect.id)
        return len(gone) + len(ended) + len(kept) - len(self.snapshots[address]) + len(finished)

    def _forget(self, event: Logged) -> None:
        del self.known[event.id]
        self.asked.pop(event.id, None)
        if event.cause:
            self.caused[event.cause].remove(event.id)


class MemoryReader:
    """The Reader over a store in memory."""

    def __init__(self, store: MemoryStore) -> None:
        """Read `store`."""
        self._store = store

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def view(self, view: str, key: str) -> tuple[bytes, str, int] | None:
        """Return a row's body, its account and the seq that it shows."""
        return self._store.views.get(view, {}).get(key)

    def views(
        self, view: str, *, account: str | None, after: str = "", limit: int = 1_000
    ) -> list[tuple[str, bytes, int]]:
        """Return (key, body, seq) rows of an account, or of all, paged by key."""
        rows = self._store.views.get(view, {})
        keys = sorted(key for key, row in rows.items() if key > after and account in {None, row[1]})
        return [(key, rows[key][0], rows[key][2]) for key in keys[:limit]]

    def load(self, actor: Address, *, at_seq: int | None = None) -> Loaded | None:
        """Return an actor as it is, or its nearest snapshot at or before `at_seq` and the log."""
        found = self._store.actors.get(actor)
        if found is None:
            return None
        if at_seq is not None and at_seq < found.seq:
            return self._load_past(actor, at_seq)
        since: Sequence[Logged] = ()
        if found.state_seq < found.seq:
            since = [e for e in self._store.log[actor] if e.seq > found.state_seq]
        return Loaded(
            state=found.state,
            state_version=found.state_version,
            state_seq=found.state_seq,
            state_tick=found.state_tick,
            seq=found.seq,
            number=found.number,
            digest=found.digest,
            alarm_ms=found.alarm_ms,
            since=tuple(since),
            state_digest=found.state_digest,
        )

    def _load_past(self, actor: Address, at_seq: int) -> Loaded | None:
        """Return an actor as it was; None when what it was made of is no longer kept."""
        kept = [s for s in self._store.snapshots.get(actor, ()) if s.seq <= at_seq]
        start = kept[-1] if kept else None
        after = start.seq if start else 0
        since = [e for e in self._store.log.get(actor, ()) if after < e.seq <= at_seq]
        if len(since) != at_seq - after:
            return None
        number, digest = (start.tick, start.digest) if start else (0, "")
        if since:
            number, digest = since[-1].tick, ""
            ended = self._store.ticks[actor].get(number)
            if ended is not None and ended.seq == at_seq:
                digest = ended.digest
        return Loaded(
            state=start.state if start else None,
            state_version=start.version if start else 0,
            state_seq=after,
            state_tick=start.tick if start else 0,
            seq=at_seq,
            number=number,
            digest=digest,
            alarm_ms=None,
            since=tuple(since),
            state_digest=start.digest if start else "",
        )

    def pending(self, actor: Address, limit: int) -> list[Pending]:
        """Return the actor's oldest events that no tick has taken."""
        return list(self._store.waiting.get(actor, {}).values())[:limit]

    def log(self, actor: Address, *, after: int = 0, limit: int = 1_000) -> list[Logged]:
        """Return stamped events with a greater seq, in order."""
        log = self._store.log.get(actor, [])
        start = self._store.index(log, after)
        return log[start : start + limit]

    def log_tail(self, actor: Address, *, before: int = 0, limit: int = 100) -> list[Logged]:
        """Return the newest stamped events below `before` (0 for the end), newest first."""
        log = self._store.log.get(actor, [])
        end = self._store.index(log, before - 1) if before else len(log)
        return log[max(end - limit, 0) : end][::-1]

    def ticks(self, actor: Address, *, after: int = 0, limit: int = 1_000) -> list[bytes]:
        """Return tick records with a greater number, in order."""
        ticks = self._store.ticks.get(actor, {})
        found = [
            tick.record
            for number, tick in ticks.items()
            if number > after and tick.record is not None
        ]
        return found[:limit]

    def policy(self, policy_hash: str) -> bytes | None:
        """Return a policy's contents."""
        return self._store.policies.get(policy_hash)

    def quarantined(self, *, account: str | None, limit: int = 100) -> list[tuple[Address, Logged]]:
        """Return quarantined events, newest first."""
        known = sorted((self._store.known[event] for event in self._store.quarantine), reverse=True)
        found = [
            (entry.actor, entry.event)
            for entry in known
            if isinstance(entry.event, Logged) and account in {None, self._account(entry.actor)}
        ]
        return found[:limit]

    def _account(self, actor: Address) -> str:
        found = self._store.actors.get(actor)
        return found.account if found else ""

    def operation(self, event: EventId) -> Operation | None:
        """Follow an event from its arrival to the outcomes of its effects."""
        known = self._store.known.get(event)
        return None if known is None else self._follow([known])[0]

    def operations(
        self, *, account: str | None, actor: Address | None = None, limit: int = 100
    ) -> list[Operation]:
        """Return the newest operations that people or programs asked for."""
        return self._follow(list(self._asked(account, actor, limit)))

    def _asked(self, account: str | None, actor: Address | None, limit: int) -> Iterator[Known]:
        for event in reversed(self._store.asked):
            if not limit:
                return
            known = self._store.known[event]
            if actor not in {None, known.actor}:
                continue
            if account is not None and (
                known.actor not in self._store.actors or self._account(known.actor) != account
            ):
                continue
            limit -= 1
            yield known

    def _follow(self, asked: Sequence[Known]) -> list[Operation]:
        store = self._store
        found: list[Found] = [
            (known.event, known.actor, self._account(known.actor)) for known in asked
        ]

        def events(ids: Sequence[str]) -> list[Logged]:
            known = sorted(
                store.known[event] for cause in ids for event in store.caused.get(cause, ())
            )
            return [entry.event for entry in known if isinstance(entry.event, Logged)]

        def effects(ids: Sequence[str]) -> list[EffectRow]:
            called = [effect for cause in ids for effect in store.called.get(cause, ())]
            return [store.effects[e] for e in sorted(called, key=store.places.__getitem__)]

        return follow(found, events, effects)

    def effects(self, actor: Address, *, limit: int = 100) -> list[EffectRow]:
        """Return an actor's newest effects."""
        rows = [e for e in reversed(self._store.effects.values()) if e.actor == actor]
        return rows[:limit]


class MemoryJournal:
    """The Journal over a store in memory.

    `faults` is called with `<method>.before` and `<method>.after` for every write; what it raises
    before means that nothing was written, and after, that it was and nobody was told.
    """

    def __init__(self, store: MemoryStore, *, clock: Clock, faults: Fault = no_fault) -> None:
        """Write into `store`."""
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

    async def pending(self, actor: Address, limit: int) -> list[Pending]:
        """Return the actor's oldest events that no tick has taken."""
        return self._reader.pending(actor, limit)

    async def load(self, actor: Address) -> Loaded | None:
        """Return what is known of an actor, or None when nothing is."""
        return self._reader.load(actor)

    async def commit(self, commit: Commit) -> None:
        """Write a tick; raise StaleError or ClaimTakenError and write nothing when refused."""
        self._faults("commit.before")
        self.store.judge(commit)
        self.store.write(commit)
        self._faults("commit.after")

    async def lease(self, holder: str) -> int:  # noqa: ARG002  a store in memory tells nobody
        """Take the lease of everything and return its epoch, greater than any before."""
        self._faults("lease.before")
        self.store.epoch += 1
        self._faults("lease.after")
        return self.store.epoch

    async def waiting_actors(self, limit: int) -> list[Address]:
        """Return actors that have pending events, those that wait longest first."""
        known = self.store.known
        oldest = sorted(
            (known[next(iter(events))].arrival, actor)
            for actor, events in self.store.waiting.items()
        )
        return [actor for _, actor in oldest[:limit]]

    async def alarms(self, until_ms: int, limit: int) -> list[Alarm]:
        """Return the alarms at or before `until_ms`, the earliest first."""
        due = sorted(
            (actor.alarm_ms, str(address), address)
            for address, actor in self.store.actors.items()
            if actor.alarm_ms is not None and actor.alarm_ms <= until_ms
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
        """Remember a probe's new answer and accept its event; None when the probe is gone."""
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
        """Return what became of an event, or None while no tick has taken it."""
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
        """Forget what no replay from `before_ms` on needs; return how many rows that was."""
        self._faults("prune.before")
        count = self.store.prune(before_ms)
        self._faults("prune.after")
        return count

    async def close(self) -> None:
        """Do nothing: the store outlives its journals."""
