"""The stored state of a journal in memory.

Each write is validated in full before any of it is applied, so that no half of it is ever visible.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Any, NamedTuple

from msgspec import Struct, structs

from holdfast.actors.definition import Claim
from holdfast.actors.ports import (
    Accepted,
    Arrival,
    ClaimTakenError,
    Commit,
    EffectRow,
    EffectStatus,
    LeaseLostError,
    Logged,
    Pending,
    ProbeRow,
    StaleError,
    Stamp,
)
from holdfast.kernel.ids import Address, EventId, derive
from holdfast.stores.journal_rules import (
    ASKED_SOURCES,
    FINISHED,
    end_of,
    keep_answer,
    keeps_snapshot,
    settle_lanes,
)


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
    """The end of an actor's log, and its newest state."""

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
    """An event, its actor and its position among all arrivals."""

    arrival: int
    actor: Address
    event: Pending | Logged


def _copied(value: Any) -> Any:
    """Return a copy of a mutable container; rows are immutable."""
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copied(item) for item in value]
    return structs.replace(value) if isinstance(value, Actor) else value


class MemoryStore:
    """Everything that a journal stores."""

    def __init__(self) -> None:
        self.epoch = 0
        self.arrivals = 0
        self.actors: dict[Address, Actor] = {}
        self.known: dict[str, Known] = {}
        self.waiting: dict[Address, dict[str, Pending]] = {}
        self.log: dict[Address, list[Logged]] = {}
        self.asked: dict[str, None] = {}
        self.keys: dict[EventId, tuple[str, int]] = {}
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
        """Return an independent copy."""
        copy = MemoryStore()
        for name, value in vars(self).items():
            setattr(copy, name, _copied(value))
        return copy

    # ------------------------------------------------------------------------------- events

    def take(self, actor: Address, event_id: EventId, arrival: Arrival, now_ms: int) -> Accepted:
        """Insert one event unless its id is known."""
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
        """Mark a quarantined event dropped."""
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
        """Add a commit's effects to their lanes."""
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
        """Set an effect's final status."""
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
        """Raise StaleError or ClaimTakenError for a commit that may not be written."""
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
        """Write a commit that `judge` accepted."""
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
        """Add and remove probes and claims."""
        address = commit.actor
        for key in commit.unprobes:
            self.probes.pop((str(address), key), None)
        for probe in commit.probes:
            where = str(probe.actor), probe.key
            self.probes[where] = keep_answer(self.probes.get(where), probe)
        for claim in commit.releases:
            if self.claims.get(claim) == address:
                del self.claims[claim]
        for claim in commit.claims:
            self.claims[claim] = address

    def _move(self, commit: Commit) -> None:
        """Set the end of an actor's log, and store its state, snapshot and record."""
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
        old = [event for event, (_, asked_ms) in self.keys.items() if asked_ms < before_ms]
        for event in old:
            del self.keys[event]
        for address in self.actors:
            self._snapshot_old(address, before_ms)
        return len(old) + sum(
            self._prune(address, floor.seq, before_ms)
            for address, kept in self.snapshots.items()
            if (floor := max((s for s in kept if s.at_ms < before_ms), default=None))
        )

    def _snapshot_old(self, address: Address, before_ms: int) -> None:
        """Keep the present state of an actor whose log is old, unless a newer one is kept."""
        actor, log = self.actors[address], self.log.get(address, [])
        if actor.state is None or not log or log[0].at_ms >= before_ms:
            return
        newest = [event for event in log if event.seq == actor.state_seq]
        kept = self.snapshots.get(address, [])
        if not newest or any(s.at_ms >= before_ms or s.seq >= actor.state_seq for s in kept):
            return
        self.snapshots.setdefault(address, []).append(
            Snapshot(
                actor.state_seq,
                actor.state_tick,
                newest[0].at_ms,
                actor.state_version,
                actor.state_digest,
                actor.state,
            )
        )

    def forget(self, address: Address, before_ms: int) -> int:
        """Delete an actor not referred to since `before_ms`; return its number of events."""
        log, text = self.log.get(address, []), str(address)
        actor = self.actors.get(address)
        if (
            actor is None
            or actor.alarm_ms is not None
            or any(e.at_ms >= before_ms or e.outcome == "quarantined" for e in log)
            or address in self.waiting
            or any(e.actor == address and e.status == "waiting" for e in self.effects.values())
            or any(key[0] == text for key in self.probes)
        ):
            return 0
        for event in log:
            self._forget(event)
        for effect in [e for e in self.effects.values() if e.actor == address]:
            self._drop_effect(effect)
        for kept in (self.log, self.ticks, self.snapshots, self.actors):
            kept.pop(address, None)
        return len(log)

    def _drop_effect(self, effect: EffectRow) -> None:
        del self.effects[effect.id], self.places[effect.id]
        self.called[effect.cause].remove(effect.id)

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
            self._drop_effect(effect)
        return len(gone) + len(ended) + len(kept) - len(self.snapshots[address]) + len(finished)

    def _forget(self, event: Logged) -> None:
        del self.known[event.id]
        self.asked.pop(event.id, None)
        if event.cause:
            self.caused[event.cause].remove(event.id)
