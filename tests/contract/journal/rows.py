"""Arrivals and commits in a line each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from holdfast.actors.ports import (
    Arrival,
    Commit,
    EffectRow,
    EventOutcome,
    Journal,
    LetterRow,
    Logged,
    ProbeRow,
    Source,
    Stamp,
)
from holdfast.kernel.ids import Address, EventId, address

A = address("instance", "a")
B = address("instance", "b")
NOW = 1_700_000_000_000


def arrival(key: str, *, source: Source = "api", cause: str = "") -> Arrival:
    return Arrival(
        body=f"body {key}".encode(), dedupe=key, version=1, source=source, cause=cause, by="ada"
    )


async def accept(
    journal: Journal, *keys: str, to: Address = A, source: Source = "api"
) -> list[Any]:
    """Accept one event for each key and return their ids."""
    taken = await journal.accept([(to, arrival(key, source=source)) for key in keys])
    return [event.id for event in taken]


def stamps(
    ids: Sequence[str], *, first: int, tick: int, outcome: EventOutcome = "applied"
) -> tuple[Stamp, ...]:
    return tuple(
        Stamp(
            id=EventId(event),
            seq=first + n,
            tick=tick,
            at_ms=NOW + tick,
            outcome=outcome,
            code="" if outcome == "applied" else "why",
        )
        for n, event in enumerate(ids)
    )


def intent(key: str, *, seq: int, tick: int, cause: str = "") -> Logged:
    return Logged(
        id=EventId(key),
        seq=seq,
        tick=tick,
        at_ms=NOW + tick,
        outcome="applied",
        body=f"intent {key}".encode(),
        version=1,
        source="intent",
        cause=cause,
    )


def effect(
    key: str,
    *,
    actor: Address = A,
    lane: str = "machine",
    ordinal: int = 0,
    cause: str = "",
    supersedes: bool = False,
) -> EffectRow:
    return EffectRow(
        id=key,
        actor=actor,
        lane=lane,
        ordinal=ordinal,
        provider="cloud",
        body=b"call",
        epoch=1,
        valid_until_ms=NOW + 60_000,
        created_ms=NOW,
        cause=cause,
        supersedes=supersedes,
    )


def probe(key: str, *, actor: Address = A, period_ms: int = 1_000) -> ProbeRow:
    return ProbeRow(
        actor=actor, key=key, provider="forge", body=b"ask", period_ms=period_ms, epoch=1
    )


def letter(to: Address, key: str) -> LetterRow:
    return LetterRow(to=to, body=f"letter {key}".encode(), dedupe=key, version=1)


def commit(seq: int, number: int, epoch: int, *, actor: Address = A, **changes: Any) -> Commit:
    """A commit on top of `seq`, the actor's tick `number`."""
    fields: dict[str, Any] = {
        "actor": actor,
        "account": "local",
        "expected_seq": seq,
        "lease_epoch": epoch,
        "number": number,
        "now_ms": NOW + number,
        "state": f"state {actor} {number}".encode(),
        "state_version": 1,
        "digest": f"digest {number}",
        "record": f"record {number}".encode(),
    }
    return Commit(**fields | changes)
