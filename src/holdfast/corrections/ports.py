"""What corrections ask of others: their store, and what they must know of others. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
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
"""Gives so many random bytes."""
InstanceOwner: TypeAlias = Callable[[str], str | None]
"""Whose an instance is; None for one that does not exist."""
AccountExists: TypeAlias = Callable[[str], Awaitable[bool]]
"""Whether there is such an account."""


class CorrectionRow(NamedTuple):
    """One correction as lists show it; `via` are the counts of each route in their order."""

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


class CorrectionWhole(NamedTuple):
    """One correction with all that is known of it."""

    row: CorrectionRow
    draft: str
    final: str
    context: str
    classifications: tuple[str, ...]
    event_ids: tuple[str, ...]
    source: str
    seq: int
    sdk: str


class LessonRow(NamedTuple):
    """One lesson; `verdict_no` is the decision's number among those of its brain, 0 for none."""

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
    """Which corrections: None, 0 and empty texts narrow nothing. `below` is a number."""

    account: str | None
    below: int
    limit: int
    brain: int = 0
    category: str = ""
    severity: str = ""
    session: str = ""
    words: str = ""


class LessonQuery(NamedTuple):
    """Which lessons: those changed before (`below_ms`, `below`); `*` is any decision."""

    account: str | None
    below_ms: int
    below: int
    limit: int
    brain: int = 0
    state: str = ""
    decision: str = "*"


class Kept(NamedTuple):
    """Everything that is held in memory, as it is in the file.

    `verdicts` are (brain, number of its newest decision, number up to which it has them).
    """

    brains: Sequence[Brain]
    aliases: Sequence[tuple[str, str, int]]
    keys: Sequence[BrainKey]
    standings: Sequence[Standing]
    counts: Sequence[Counts]
    refused: Sequence[tuple[int, int, int]]
    verdicts: Sequence[tuple[int, int, int]] = ()


class CorrectionsStore(Protocol):
    """Where brains, keys and what they send are kept. What changes is durable on return."""

    async def load(self, *, refused_since_hour: int) -> Kept:
        """Return what is held in memory."""
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
        """Note when keys were used last."""
        ...

    async def corrections(self, query: CorrectionQuery) -> Sequence[CorrectionRow]:
        """Return corrections, those received last first."""
        ...

    async def correction(self, no: int, account: str | None) -> CorrectionWhole | None:
        """Return one correction that the account sees."""
        ...

    async def lessons(self, query: LessonQuery) -> Sequence[LessonRow]:
        """Return lessons, those changed last first."""
        ...

    async def decide(
        self, no: int, decision: str, *, by: str, account: str | None, now_ms: int
    ) -> LessonRow | None:
        """Keep what a person decided about a lesson that the account sees; return it."""
        ...

    async def verdicts(self, brain: int, *, since: int, limit: int) -> Sequence[LessonRow]:
        """Return a brain's lessons decided about since a number, in the order of the decisions."""
        ...

    async def take_verdicts(self, brain: int, taken_no: int, now_ms: int) -> None:
        """Note up to which number a brain has what was decided; never a lower one."""
        ...

    async def hours(self, brain: int, since_hour: int) -> Sequence[tuple[int, str, int]]:
        """Return (hour, severity, rows) of a brain's new corrections."""
        ...

    async def extent(self, brain: int) -> tuple[int, int]:
        """Return how many sessions and corrections a brain has."""
        ...

    async def purge(self, forgotten: Forgotten) -> int:
        """Forget some of what was received before; return how many rows, 0 at the end."""
        ...

    async def close(self) -> None:
        """Finish what was asked and release what is held."""
        ...
