"""Ports of corrections. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, TypeAlias

from holdfast.corrections.records import (
    Arrival,
    Brain,
    BrainKey,
    Counts,
    Forgotten,
    Standing,
    Written,
)

Entropy: TypeAlias = Callable[[int], bytes]
"""Returns as many random bytes."""
InstanceOwner: TypeAlias = Callable[[str], str | None]
"""Returns the account of an instance; None for one that does not exist."""


class CorrectionRow(NamedTuple):
    """One correction as in lists; `via` are the counts by route, in the order of ROUTES."""

    no: int
    brain: int
    account: str
    hash: bytes
    at_ms: int
    received_ms: int
    session: str | None
    category: str
    severity: str
    draft: str
    final: str
    cut: bool
    summary: str
    edit_distance: float | None
    via: tuple[int, ...]
    recurrences: int


class Searched(NamedTuple):
    """What a search found; it goes on with corrections below the number, 0 for the end."""

    rows: Sequence[CorrectionRow]
    below: int


class CorrectionWhole(NamedTuple):
    """One correction with its details; `truncated` where its route may have cut the texts."""

    row: CorrectionRow
    draft: str
    final: str
    context: str
    classifications: tuple[str, ...]
    event_ids: tuple[str, ...]
    source: str
    seq: int
    sdk: str
    truncated: bool = False


class LessonRow(NamedTuple):
    """One lesson; `verdict_no` is the verdict's number within its brain, 0 for none."""

    no: int
    brain: int
    account: str
    lesson_id: str
    category: str
    text: str
    state: str
    confidence: float
    fires: int
    corrections: int
    scope: str
    updated_ms: int
    decision: str
    decided_by: str
    decided_ms: int | None
    verdict_no: int = 0


class CorrectionQuery(NamedTuple):
    """A filter of corrections: None, 0 and empty texts do not filter. `below` is a number."""

    account: str | None
    below: int
    limit: int
    brain: int = 0
    category: str = ""
    severity: str = ""
    session: str = ""
    words: str = ""


class LessonQuery(NamedTuple):
    """A filter of lessons: those changed before (`below_ms`, `below`); `*` is any verdict."""

    account: str | None
    below_ms: int
    below: int
    limit: int
    brain: int = 0
    state: str = ""
    decision: str = "*"


class Kept(NamedTuple):
    """Everything that the directory keeps in memory.

    `verdicts` are (brain, number of its newest verdict, number up to which it took them).
    """

    brains: Sequence[Brain]
    aliases: Sequence[tuple[str, str, int]]
    keys: Sequence[BrainKey]
    standings: Sequence[Standing]
    counts: Sequence[Counts]
    refused: Sequence[tuple[int, int, int]]
    verdicts: Sequence[tuple[int, int, int]] = ()


class CorrectionsStore(Protocol):
    """The store of brains, keys and their rows. Changes are durable on return."""

    async def load(self, *, refused_since_hour: int) -> Kept:
        """Return what the directory keeps in memory."""
        ...

    async def write(self, arrivals: Sequence[Arrival], *, forgotten: Forgotten) -> list[Written]:
        """Write arrivals in one commit: all or none. See `stores.sqlite.corrections_projection`."""
        ...

    async def add_brain(self, brain: Brain) -> Brain:
        """Add a brain and return it with its number, or the one that has its name."""
        ...

    async def add_alias(self, account: str, alias: str, brain: int) -> None:
        """Add a name; the first brain of a name keeps it."""
        ...

    async def add_key(self, key: BrainKey) -> None:
        """Add a key."""
        ...

    async def revoke_key(self, key_id: str, now_ms: int) -> None:
        """Revoke a key."""
        ...

    async def note_uses(self, uses: Mapping[str, int]) -> None:
        """Store when keys were last used."""
        ...

    async def corrections(self, query: CorrectionQuery) -> Sequence[CorrectionRow]:
        """Return corrections, last received first; the query's words are ignored."""
        ...

    async def search(self, query: CorrectionQuery) -> Searched:
        """Return corrections with all of the query's words, last received first.

        Fewer than `limit` where looking for more would take long.
        """
        ...

    async def correction(self, no: int, account: str | None) -> CorrectionWhole | None:
        """Return one correction visible to the account."""
        ...

    async def lessons(self, query: LessonQuery) -> Sequence[LessonRow]:
        """Return lessons, last changed first."""
        ...

    async def decide(
        self, no: int, decision: str, *, by: str, account: str | None, now_ms: int
    ) -> LessonRow | None:
        """Store a person's verdict on a lesson visible to the account; return the lesson."""
        ...

    async def verdicts(self, brain: int, *, since: int, limit: int) -> Sequence[LessonRow]:
        """Return a brain's lessons with verdicts after number `since`, in the order of verdicts."""
        ...

    async def take_verdicts(self, brain: int, taken_no: int, now_ms: int) -> None:
        """Note up to which number a brain has taken verdicts; a lower number is ignored."""
        ...

    async def hours(self, brain: int, since_hour: int) -> Sequence[tuple[int, str, int]]:
        """Return (hour, severity, rows) of a brain's new corrections."""
        ...

    async def extent(self, brain: int) -> tuple[int, int]:
        """Return how many sessions and corrections a brain has."""
        ...

    async def purge(self, forgotten: Forgotten) -> int:
        """Delete some rows received before; return how many, 0 when done."""
        ...

    async def close(self) -> None:
        """Finish submitted work and release the resources."""
        ...
