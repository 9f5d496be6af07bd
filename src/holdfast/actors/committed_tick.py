"""The reads and commits of actors that are under way, each with what is needed when it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from holdfast.actors.cache import LoadedActor
from holdfast.actors.commit import Restored, hex_digest
from holdfast.actors.definition import Definition
from holdfast.actors.kinds import Kind
from holdfast.actors.letters import LetterBox
from holdfast.actors.ports import Arrival, ClaimTakenError, Commit, Loaded, Pending
from holdfast.actors.tick import Tick
from holdfast.kernel import metrics
from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.kernel.metrics import Meter

Read: TypeAlias = tuple[Loaded | None, list[Pending]]
"""An actor's state, None where it is in memory or not stored, and its oldest pending events."""


class CommittedTick(NamedTuple):
    """A tick that is over: `commit` is None when there was nothing to write.

    `took_ms` is the time of the tick without its commit, `rows` what it took of the inbox.
    """

    kind: Kind
    tick: Tick[Any]
    commit: Commit | None
    took_ms: float = 0.0
    rows: Sequence[Pending] = ()


class Flight(NamedTuple):
    """A commit under way."""

    resident: LoadedActor
    committed: CommittedTick
    post: LetterBox
    state_bytes: int | None
    event_bytes: int
    task: asyncio.Task[Any]
    started_ms: float


class Fetch(NamedTuple):
    """A read under way: an actor's state where it is not in memory, and its pending events."""

    resident: LoadedActor
    task: asyncio.Task[Read]


class Rebuild(NamedTuple):
    """A read of older states under way, because the stored one is not what was written."""

    resident: LoadedActor
    task: asyncio.Task[tuple[Restored, Loaded | None]]
    rows: list[Pending]


class Loss(NamedTuple):
    """The acceptance of `claim_lost` under way."""

    resident: LoadedActor
    task: asyncio.Task[Pending]


Under: TypeAlias = "Flight | Fetch | Rebuild | Loss"


def is_stored(committed: CommittedTick, loaded: Loaded) -> bool:
    """Return whether this is the last tick that the store has of the actor."""
    after, digest = committed.tick.after, hex_digest(committed.tick.after.digest)
    return (after.number, digest, after.seq) == (loaded.number, loaded.digest, loaded.seq)


def lost_arrival(
    definition: Definition[Any, Any, Any, Any], number: int, error: ClaimTakenError
) -> Arrival:
    """Return the event for a lost claim, which the actor takes in place of tick `number`."""
    assert definition.claim_lost is not None
    return Arrival(
        body=definition.encode_event(definition.claim_lost(error.claim)),
        dedupe=f"claim_lost:{number}:{error.claim.scope}:{error.claim.key}",
        version=definition.version,
        source="engine",
        by=str(error.holder),
    )


def measure(meter: Meter, clock: Clock, started_ms: float) -> None:
    """Record the duration of a commit that has just ended."""
    meter.observe(metrics.COMMIT_SECONDS, (clock.steady_ms() - started_ms) / SECOND_MS)


def pending_row(event_id: Any, arrival: Arrival, now_ms: int) -> Pending:
    """Return the pending event for an accepted arrival."""
    return Pending(
        id=event_id,
        body=arrival.body,
        version=arrival.version,
        source=arrival.source,
        accepted_ms=now_ms,
        cause=arrival.cause,
        by=arrival.by,
    )
