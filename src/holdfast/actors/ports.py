"""Ports of the engine: the journal that owners write, and the reader.

One contract suite runs on both adapters, memory and SQLite; PostgreSQL is planned. Every method
that writes returns after the write is durable, unless stated otherwise. A store never interprets a
body.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

from msgspec import Struct

from holdfast.actors.definition import Claim, Definition, ViewRow
from holdfast.kernel.ids import Address, EventId

EventOutcome = Literal["applied", "ignored", "refused", "quarantined", "dropped"]
Source = Literal["api", "cli", "effect", "probe", "letter", "contact", "intent", "engine"]
EffectStatus = Literal["waiting", "done", "superseded", "expired", "unwanted"]
E = TypeVar("E")


class Arrival(Struct, frozen=True, gc=False, kw_only=True):
    """An event to be accepted: `dedupe` is unique per actor and makes it idempotent.

    `asked` is a digest of the request of a caller who sent an idempotency key, else empty: a
    different request with the same `dedupe` is refused.
    """

    body: bytes
    dedupe: str
    version: int
    source: Source
    cause: str = ""
    by: str = ""
    asked: str = ""


def arrival_of(
    definition: Definition[Any, E, Any, Any],
    event: E,
    *,
    dedupe: str,
    source: Source,
    by: str = "",
    cause: str = "",
) -> Arrival:
    """Return an event of a kind of actor to accept; each kind has it as its `arrival`."""
    return Arrival(
        body=definition.encode_event(event),
        dedupe=dedupe,
        version=definition.version,
        source=source,
        by=by,
        cause=cause,
    )


class Accepted(NamedTuple):
    """An arrival that is durable; `fresh` is false when its dedupe key was there before."""

    id: EventId
    fresh: bool


class Pending(Struct, frozen=True, gc=False, kw_only=True):
    """An accepted event that no tick has taken yet, in the order of its arrival."""

    id: EventId
    body: bytes
    version: int
    source: Source
    accepted_ms: int
    cause: str = ""
    by: str = ""


class Stamp(Struct, frozen=True, gc=False, kw_only=True):
    """The result of an event. `code` and `message` are the reason why it was not applied."""

    id: EventId
    seq: int
    tick: int
    at_ms: int
    outcome: EventOutcome
    code: str = ""
    message: str = ""


class Logged(Struct, frozen=True, gc=False, kw_only=True):
    """An event of the log: a pending one with its stamp, or an intent of the tick itself."""

    id: EventId
    seq: int
    tick: int
    at_ms: int
    outcome: EventOutcome
    body: bytes
    version: int
    source: Source
    cause: str = ""
    by: str = ""
    code: str = ""
    message: str = ""
    accepted_ms: int = 0


class EffectRow(Struct, frozen=True, gc=False, kw_only=True):
    """An effect in its lane; `ordinal` orders the lane; `cause` is the event of its intent.

    `attempts` counts attempts of earlier processes. A retry within the lane is not written to the
    store, only logged; an effect that a new process takes up counts as one attempt.
    """

    id: str
    actor: Address
    lane: str
    ordinal: int
    provider: str
    body: bytes
    epoch: int
    valid_until_ms: int
    created_ms: int
    cause: str = ""
    supersedes: bool = False
    status: EffectStatus = "waiting"
    attempts: int = 0


class LetterRow(Struct, frozen=True, gc=False, kw_only=True):
    """A letter on its way: becomes a pending event of the receiver within the same commit.

    The pending event's `source` is `letter`, its `by` the address of the commit's actor, and its
    id `derive(to, dedupe)`, as for every other arrival.
    """

    to: Address
    body: bytes
    dedupe: str
    version: int
    hops: int = 0


class ProbeRow(Struct, frozen=True, gc=False, kw_only=True):
    """A standing probe; `answer` is the digest of the last answer that made an event.

    A commit that changes only its times keeps the answer.
    """

    actor: Address
    key: str
    provider: str
    body: bytes
    period_ms: int
    epoch: int
    answer: str = ""


def asks_alike(one: ProbeRow, other: ProbeRow) -> bool:
    """Return whether two rows of a probe make the same query, at whatever period."""
    return (one.provider, one.body, one.epoch) == (other.provider, other.body, other.epoch)


class Commit(Struct, frozen=True, kw_only=True):
    """Everything that one tick writes, in one transaction or not at all.

    It is refused unless the actor's last `seq` is `expected_seq`, its last tick was before
    `number`, and the lease is `lease_epoch`.
    `alarm_ms` is the new deadline, or None for none; it is written only with `alarm_changed`.
    `state` is None where the actor is too large to be written each time and no snapshot is due.
    """

    actor: Address
    account: str
    expected_seq: int
    lease_epoch: int
    number: int
    now_ms: int
    stamps: tuple[Stamp, ...] = ()
    intents: tuple[Logged, ...] = ()
    effects: tuple[EffectRow, ...] = ()
    letters: tuple[LetterRow, ...] = ()
    claims: tuple[Claim, ...] = ()
    releases: tuple[Claim, ...] = ()
    probes: tuple[ProbeRow, ...] = ()
    unprobes: tuple[str, ...] = ()
    views: tuple[ViewRow, ...] = ()
    alarm_ms: int | None = None
    alarm_changed: bool = False
    state: bytes | None = None
    state_version: int = 0
    digest: str = ""
    record: bytes | None = None


class Loaded(Struct, frozen=True, kw_only=True):
    """An actor in the store: the newest stored state, and the log since."""

    state: bytes | None
    state_version: int
    state_seq: int
    state_tick: int
    seq: int
    number: int
    digest: str
    alarm_ms: int | None
    since: tuple[Logged, ...] = ()
    state_digest: str = ""


class Alarm(NamedTuple):
    """When an actor is to be ticked."""

    actor: Address
    at_ms: int


class Operation(Struct, frozen=True, kw_only=True):
    """An event, its stamp and the effects that it caused."""

    event: Logged | Pending
    actor: Address
    account: str
    effects: tuple[EffectRow, ...] = ()
    outcomes: tuple[Logged, ...] = ()


class Answer(Struct, frozen=True, kw_only=True):
    """The result of `Mailboxes.ask`.

    `stamp` is None when no tick took it in time: the call is then answered with 202 and the
    address of its operation. `fresh` is false when the dedupe key had been used before.
    """

    event: EventId
    fresh: bool
    stamp: Stamp | None


class Mailboxes(Protocol):
    """How handlers, dispatch and other packages reach actors."""

    async def ask(self, actor: Address, arrival: Arrival, *, wait_ms: int) -> Answer:
        """Accept an event, wake its owner, and wait up to `wait_ms` for the stamp.

        Raise MailboxFullError when too many events wait for the actor already, and KeyReusedError
        where the same `dedupe` was used for what was asked otherwise.
        """
        ...

    async def tell(self, arrivals: Sequence[tuple[Address, Arrival]]) -> list[Accepted]:
        """Accept events and wake their owners; return when they are durable."""
        ...


class MailboxFullError(Exception):
    """Too many events wait for this actor; try again when some were taken."""


class KeyReusedError(Exception):
    """The key of an event came before with another body; nothing was accepted."""


class UnwritableError(Exception):
    """The store cannot write now: the disk is full, or fails. Nothing was written."""


class StaleError(Exception):
    """The commit's basis is not the store's: another wrote, or a stamped event is not pending.

    The actor is loaded again and its tick made again.
    """


class LeaseLostError(StaleError):
    """The commit carries an older lease than the store's: another process owns every actor now."""


class ClaimTakenError(Exception):
    """Another actor holds a claim of the commit; nothing was written."""

    def __init__(self, claim: Claim, holder: Address) -> None:
        super().__init__(f"{claim.scope} {claim.key!r} is held by {holder}")
        self.claim = claim
        self.holder = holder


class Journal(Protocol):
    """The engine's store. One process writes; writes of many actors share a transaction."""

    async def accept(self, arrivals: Sequence[tuple[Address, Arrival]]) -> list[Accepted]:
        """Insert events without taking any actor's lock; a repeated dedupe key returns the first.

        An event's id is `derive(address, dedupe)`.
        """
        ...

    async def keep_asked(self, event: EventId, asked: str) -> str:
        """Keep the digest of what was asked for with a key, unless there is one; return what is."""
        ...

    async def pending(self, actor: Address, limit: int) -> list[Pending]:
        """Return the actor's oldest events that no tick has taken."""
        ...

    async def load(self, actor: Address) -> Loaded | None:
        """Return an actor, or None for an unknown one."""
        ...

    async def load_older(self, actor: Address, below: int) -> Loaded | None:
        """Return an actor from its newest snapshot below a seq, or from its first event.

        None when the log since then is not all kept.
        """
        ...

    async def commit(self, commit: Commit) -> None:
        """Write a tick; raise StaleError or ClaimTakenError and write nothing when refused."""
        ...

    async def lease(self, holder: str) -> int:
        """Take the lease of everything and return its epoch, greater than any before."""
        ...

    async def waiting_actors(self, limit: int, skip: int = 0) -> list[Address]:
        """Return actors that have pending events, those that wait longest first, after `skip`."""
        ...

    async def alarms(self, until_ms: int, limit: int, after: Alarm | None = None) -> list[Alarm]:
        """Return the alarms at or before `until_ms`, the earliest first, paged by the last one."""
        ...

    async def waiting_effects(self, limit: int, after: str = "") -> list[EffectRow]:
        """Return effects that are not finished, in the order of their lanes, paged by id."""
        ...

    async def finish_effect(
        self, effect_id: str, status: EffectStatus, arrival: tuple[Address, Arrival] | None
    ) -> Accepted | None:
        """Mark an effect finished and accept its outcome, in one transaction; idempotent."""
        ...

    async def probes(self, limit: int, after: tuple[str, str] = ("", "")) -> list[ProbeRow]:
        """Return the standing probes, paged by (address, key)."""
        ...

    async def answer_probe(
        self, actor: Address, key: str, answer: str, arrival: Arrival
    ) -> Accepted | None:
        """Store a probe's new answer and accept its event; None when the probe is gone."""
        ...

    async def keep_policy(self, policy_hash: str, body: bytes) -> None:
        """Keep a policy's contents under its hash, for replays."""
        ...

    async def stamp(self, event: EventId) -> Stamp | None:
        """Return an event's stamp, or None while no tick has taken it."""
        ...

    async def drop_quarantined(self, event: EventId, by: str) -> bool:
        """Mark a quarantined event dropped; return whether it was quarantined."""
        ...

    async def prune(self, before_ms: int) -> int:
        """Delete what no replay from `before_ms` on needs; return how many rows.

        Each actor keeps its newest snapshot before that time and everything since, and what waits
        or is in quarantine. An actor that has old events and no newer snapshot is given one of its
        present state, so that a log which never grows long is forgotten too, at the latest when it
        is twice as old. The dedupe keys of what is forgotten are forgotten with it.
        """
        ...

    async def actors(self, limit: int, after: str = "") -> list[Address]:
        """Return actors in the order of their addresses, after one of those."""
        ...

    async def forget(self, actor: Address, before_ms: int) -> int:
        """Forget all of an actor; return how many events that was.

        Nothing is forgotten of one that has an event since `before_ms`, or anything that waits or
        is in quarantine.
        """
        ...

    async def close(self) -> None:
        """Finish accepted writes and release the files."""
        ...


class Reader(Protocol):
    """Read access for pages, rehearsals and the command line; never writes or blocks a tick.

    An embedded store answers at once, on the caller's thread, within some tens of microseconds; a
    store behind a network suspends the caller. What may take longer than 5 ms runs in another
    process, over its own connection.
    """

    async def view(self, view: str, key: str) -> tuple[bytes, str, int] | None:
        """Return a row's body, its account and the seq that it shows."""
        ...

    async def views(
        self, view: str, *, account: str | None, after: str = "", limit: int = 1_000
    ) -> list[tuple[str, bytes, int]]:
        """Return (key, body, seq) rows of an account, or of all, paged by key."""
        ...

    async def load(self, actor: Address, *, at_seq: int | None = None) -> Loaded | None:
        """Return an actor now, or its newest snapshot at or before `at_seq` and the log since."""
        ...

    async def pending(self, actor: Address, limit: int) -> list[Pending]:
        """Return the actor's oldest events that no tick has taken."""
        ...

    async def log(self, actor: Address, *, after: int = 0, limit: int = 1_000) -> list[Logged]:
        """Return stamped events with a greater seq, in order."""
        ...

    async def log_tail(self, actor: Address, *, before: int = 0, limit: int = 100) -> list[Logged]:
        """Return the newest stamped events below `before` (0 for the end), newest first."""
        ...

    async def ticks(self, actor: Address, *, after: int = 0, limit: int = 1_000) -> list[bytes]:
        """Return tick records with a greater number, in order."""
        ...

    async def policy(self, policy_hash: str) -> bytes | None:
        """Return a policy's contents."""
        ...

    async def quarantined(
        self,
        *,
        account: str | None,
        actor: Address | None = None,
        after: str = "",
        limit: int = 100,
    ) -> list[tuple[Address, Logged]]:
        """Return quarantined events, newest first, of those before the event `after`."""
        ...

    async def operation(self, event: EventId) -> Operation | None:
        """Return an event with its stamp and the outcomes of its effects."""
        ...

    async def operations(
        self,
        *,
        account: str | None,
        actor: Address | None = None,
        after: str = "",
        limit: int = 100,
    ) -> list[Operation]:
        """Return the newest operations of people and programs, of those before `after`."""
        ...

    async def effects(self, actor: Address, *, limit: int = 100) -> list[EffectRow]:
        """Return an actor's newest effects."""
        ...

    async def close(self) -> None:
        """Release the connection."""
        ...
