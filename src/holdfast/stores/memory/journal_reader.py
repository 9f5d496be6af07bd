"""Reading a journal in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import dropwhile, islice

from msgspec import structs

from holdfast.actors.ports import (
    EffectRow,
    Loaded,
    Logged,
    Operation,
    Pending,
)
from holdfast.kernel.ids import Address, EventId
from holdfast.stores.journal_rules import (
    Found,
    follow,
)
from holdfast.stores.memory.journal_state import Known, MemoryStore


class MemoryReader:
    """The Reader over a store in memory."""

    def __init__(self, store: MemoryStore) -> None:
        self._store = store

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    async def view(self, view: str, key: str) -> tuple[bytes, str, int] | None:
        """Return a row's body, its account and the seq that it shows."""
        return self._store.views.get(view, {}).get(key)

    async def views(
        self, view: str, *, account: str | None, after: str = "", limit: int = 1_000
    ) -> list[tuple[str, bytes, int]]:
        """Return (key, body, seq) rows of an account, or of all, paged by key."""
        rows = self._store.views.get(view, {})
        keys = sorted(key for key, row in rows.items() if key > after and account in {None, row[1]})
        return [(key, rows[key][0], rows[key][2]) for key in keys[:limit]]

    async def load(self, actor: Address, *, at_seq: int | None = None) -> Loaded | None:
        """Return an actor now, or its newest snapshot at or before `at_seq` and the log since."""
        return self.load_now(actor, at_seq=at_seq)

    def load_now(self, actor: Address, *, at_seq: int | None = None) -> Loaded | None:
        """Return the same, synchronously, for the simulator's checker."""
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

    def load_older(self, actor: Address, below: int) -> Loaded | None:
        """Return an actor from its newest snapshot below a seq, or from its first event."""
        found = self._store.actors.get(actor)
        past = None if found is None else self._load_past(actor, found.seq, below)
        if found is None or past is None:
            return None
        return structs.replace(
            past,
            number=found.number,
            digest=found.digest,
            alarm_ms=found.alarm_ms,
            state_version=past.state_version if past.state is not None else found.state_version,
        )

    def _load_past(self, actor: Address, at_seq: int, below: int | None = None) -> Loaded | None:
        """Return an actor as it was; None when what it was made of is no longer kept."""
        end = at_seq + 1 if below is None else below
        kept = [s for s in self._store.snapshots.get(actor, ()) if s.seq < end]
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

    async def pending(self, actor: Address, limit: int) -> list[Pending]:
        """Return the actor's oldest events that no tick has taken."""
        return list(self._store.waiting.get(actor, {}).values())[:limit]

    async def log(self, actor: Address, *, after: int = 0, limit: int = 1_000) -> list[Logged]:
        """Return stamped events with a greater seq, in order."""
        log = self._store.log.get(actor, [])
        start = self._store.index(log, after)
        return log[start : start + limit]

    async def log_tail(self, actor: Address, *, before: int = 0, limit: int = 100) -> list[Logged]:
        """Return the newest stamped events below `before` (0 for the end), newest first."""
        log = self._store.log.get(actor, [])
        end = self._store.index(log, before - 1) if before else len(log)
        return log[max(end - limit, 0) : end][::-1]

    async def ticks(self, actor: Address, *, after: int = 0, limit: int = 1_000) -> list[bytes]:
        """Return tick records with a greater number, in order."""
        ticks = self._store.ticks.get(actor, {})
        found = [
            tick.record
            for number, tick in ticks.items()
            if number > after and tick.record is not None
        ]
        return found[:limit]

    async def policy(self, policy_hash: str) -> bytes | None:
        """Return a policy's contents."""
        return self._store.policies.get(policy_hash)

    async def quarantined(
        self,
        *,
        account: str | None,
        actor: Address | None = None,
        after: str = "",
        limit: int = 100,
    ) -> list[tuple[Address, Logged]]:
        """Return quarantined events, newest first, of those before the event `after`."""
        known = sorted((self._store.known[event] for event in self._store.quarantine), reverse=True)
        if after:
            last = self._store.known.get(EventId(after))
            known = [entry for entry in known if last is not None and entry < last]
        found = [
            (entry.actor, entry.event)
            for entry in known
            if isinstance(entry.event, Logged)
            and account in {None, self._account(entry.actor)}
            and actor in {None, entry.actor}
        ]
        return found[:limit]

    def _account(self, actor: Address) -> str:
        found = self._store.actors.get(actor)
        return found.account if found else ""

    async def operation(self, event: EventId) -> Operation | None:
        """Return an event with its stamp and the outcomes of its effects."""
        known = self._store.known.get(event)
        return None if known is None else self._follow([known])[0]

    async def operations(
        self,
        *,
        account: str | None,
        actor: Address | None = None,
        after: str = "",
        limit: int = 100,
    ) -> list[Operation]:
        """Return the newest operations of people and programs, of those before `after`."""
        asked = self._asked(account, actor)
        if after:  # of an event that is gone nothing is known to be before it
            asked = islice(dropwhile(lambda known: known.event.id != after, asked), 1, None)
        return self._follow(list(islice(asked, limit)))

    def _asked(self, account: str | None, actor: Address | None) -> Iterator[Known]:
        for event in reversed(self._store.asked):
            known = self._store.known[event]
            if actor not in {None, known.actor}:
                continue
            if account is not None and (
                known.actor not in self._store.actors or self._account(known.actor) != account
            ):
                continue
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

    async def effects(self, actor: Address, *, limit: int = 100) -> list[EffectRow]:
        """Return an actor's newest effects."""
        rows = [e for e in reversed(self._store.effects.values()) if e.actor == actor]
        return rows[:limit]
