"""Rules shared by both journals, so that the adapters behave alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from msgspec import structs

from holdfast.actors.limits import MAILBOX_PENDING_MAX, STATE_INLINE_BYTES_MAX
from holdfast.actors.ports import (
    Commit,
    EffectRow,
    Logged,
    MailboxFullError,
    Operation,
    Pending,
    ProbeRow,
    asks_alike,
)
from holdfast.kernel.ids import ActorId, ActorKind, Address

SNAPSHOT_EVENTS: Final = 64
"""A snapshot is kept each time the actor's seq passes a multiple of this."""

BOUNDED_SOURCES: Final = frozenset({"api", "cli"})
"""Sources that a full mailbox refuses; events of the engine itself are never refused."""

ASKED_SOURCES: Final = BOUNDED_SOURCES
"""Sources whose events are operations: requests of people and programs."""

OPERATION_GENERATIONS: Final = 5
"""Depth to which outcomes that lead to further effects are followed."""

OPERATION_ROWS_MAX: Final = 256
"""Effects, and outcomes, shown of one operation."""

FINISHED: Final = frozenset({"done", "expired", "unwanted"})
"""Final statuses. A superseded effect is not final: it may have been under way and still end."""


def address_of(text: str) -> Address:
    """Return the address in a stored row, without checking it again."""
    kind, _, actor_id = text.partition("/")
    return Address(ActorKind(kind), ActorId(actor_id))


def end_of(commit: Commit) -> int:
    """Return the seq of the actor's last event after a commit."""
    return commit.expected_seq + len(commit.stamps) + len(commit.intents)


def is_inline(state: bytes) -> bool:
    """Return whether a state is small enough to be written with each commit."""
    return len(state) <= STATE_INLINE_BYTES_MAX


def keeps_snapshot(commit: Commit) -> bool:
    """Return whether a commit's state is kept as a snapshot.

    That depends on the commit alone, so that no adapter needs a query for it.
    """
    if commit.state is None:
        return False
    passed = end_of(commit) // SNAPSHOT_EVENTS > commit.expected_seq // SNAPSHOT_EVENTS
    return passed or not is_inline(commit.state)


def settle_lanes(effects: Sequence[EffectRow]) -> tuple[list[EffectRow], list[tuple[str, str]]]:
    """Return a commit's effects in order, and the (actor, lane) pairs that they supersede.

    An effect supersedes those that wait in its lane, of earlier commits and of its own.
    """
    rows = sorted(effects, key=lambda effect: effect.ordinal)
    lanes: dict[tuple[str, str], int] = {}
    for index, row in enumerate(rows):
        if row.supersedes:
            lanes[str(row.actor), row.lane] = index
    if lanes:
        rows = [
            structs.replace(row, status="superseded")
            if row.status == "waiting" and index < lanes.get((str(row.actor), row.lane), 0)
            else row
            for index, row in enumerate(rows)
        ]
    return rows, list(lanes)


def keep_answer(old: ProbeRow | None, new: ProbeRow) -> ProbeRow:
    """Return a probe as stored: the last answer stays where the query is the same."""
    if old is None or not asks_alike(old, new):
        return new
    return structs.replace(new, answer=old.answer)


def full(actor: Address | str, waiting: int) -> MailboxFullError:
    """Return the error of a full mailbox."""
    return MailboxFullError(
        f"{actor}: {waiting} events wait, of at most {MAILBOX_PENDING_MAX};"
        " ask again when some were taken"
    )


Found = tuple[Logged | Pending, Address, str]


def follow(
    asked: Sequence[Found],
    caused_events: Callable[[Sequence[str]], Iterable[Logged]],
    caused_effects: Callable[[Sequence[str]], Iterable[EffectRow]],
) -> list[Operation]:
    """Follow events through intents and effects to their outcomes, and further effects.

    All are followed together: the number of look-ups is fixed, whatever the number of events.
    """
    origin = {event.id: str(event.id) for event, _, _ in asked}
    roots: dict[str, str] = {str(key): value for key, value in origin.items()}
    effects: dict[str, list[EffectRow]] = {root: [] for root in roots}
    outcomes: dict[str, list[Logged]] = {root: [] for root in roots}
    front = list(roots)
    for _ in range(OPERATION_GENERATIONS):
        if not front:
            break
        for intent in caused_events(front):
            if intent.source == "intent" and intent.id not in roots:
                roots[intent.id] = roots[intent.cause]
                front.append(intent.id)
        called = []
        for effect in caused_effects(front):
            if effect.id not in roots:
                roots[effect.id] = roots[effect.cause]
                effects[roots[effect.cause]].append(effect)
                called.append(effect.id)
        front = []
        for outcome in caused_events(called) if called else ():
            if outcome.id not in roots:
                roots[outcome.id] = roots[outcome.cause]
                outcomes[roots[outcome.cause]].append(outcome)
                front.append(outcome.id)
    return [
        Operation(
            event=event,
            actor=actor,
            account=account,
            effects=tuple(effects[event.id][:OPERATION_ROWS_MAX]),
            outcomes=tuple(outcomes[event.id][:OPERATION_ROWS_MAX]),
        )
        for event, actor, account in asked
    ]
