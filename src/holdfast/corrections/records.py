"""What is kept of brains and handed over: brains, keys, and rows on their way to the disk. Pure.

Times are milliseconds since the epoch. `account` is the name of the owning account.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import Struct

from holdfast.corrections.gaps import Numbers
from holdfast.wire.api.brains import Route
from holdfast.wire.api.ingest import RefusedRow

ROUTES: Final[tuple[Route, ...]] = ("ingest", "single", "sync", "push", "correct")
"""In the order in which a correction's counts stand."""


class Brain(Struct, frozen=True, kw_only=True):
    """One brain: `no` is its number in the file, `id` what others call it."""

    no: int
    id: str
    name: str
    account: str
    instance: str = ""
    created_at_ms: int = 0


class BrainKey(Struct, frozen=True, kw_only=True):
    """One key: `brain` is the number of the only brain it speaks for, 0 for its whole account."""

    id: str
    hash: str
    name: str
    account: str
    brain: int = 0
    created_at_ms: int = 0
    created_by: str = ""
    last_used_at_ms: int | None = None
    revoked_at_ms: int | None = None

    def __repr__(self) -> str:
        """Return a form without the hash."""
        return f"BrainKey(id={self.id!r}, account={self.account!r})"


class Correction(Struct, gc=False, kw_only=True):
    """One correction as it came.

    `scope` and `hash` say what the same correction is: the hash of both texts, within a session
    or, without one, a UTC day. `cut_hash` is the hash of what a route that cuts texts would have
    made of them, empty where it would not have. `was_cut` says that this one may be cut itself.
    """

    event_id: str
    seq: int
    at_ms: int
    scope: str
    hash: bytes
    cut_hash: bytes
    was_cut: bool
    session: str | None
    category: str
    severity: str
    draft: str
    final: str
    context: str
    summary: str
    edit_distance: float | None
    classifications: str
    count: int


class Lesson(Struct, gc=False, kw_only=True):
    """One lesson as its brain tells it; a later one with the same id takes its place."""

    event_id: str
    seq: int
    at_ms: int
    lesson_id: str
    category: str
    text: str
    state: str
    confidence: float
    fires: int
    corrections: int
    scope: str


class Event(Struct, gc=False, kw_only=True):
    """Anything else that happened at a brain; `data` and `tags` are JSON."""

    event_id: str
    seq: int
    at_ms: int
    type: str
    source: str
    session: str | None
    data: str
    tags: str


class Arrival(Struct, kw_only=True):
    """What one request brought for one brain; `rows` counts those that were read or refused."""

    brain: int
    account: str
    route: Route
    sdk: str
    source: str
    received_ms: int
    corrections: list[Correction]
    lessons: list[Lesson]
    events: list[Event]
    refused: list[RefusedRow]
    depth: int = 0
    oldest_ms: int = 0
    refused_numbers: tuple[int, ...] = ()

    def unnumber(self, source: str) -> None:
        """Take the numbers off every row, and name who is said to have sent them."""
        self.source, self.refused_numbers = source, ()
        for rows in (self.corrections, self.lessons, self.events):
            for row in rows:
                row.seq = 0

    @property
    def rows(self) -> int:
        """Return how many rows are to be written."""
        return len(self.corrections) + len(self.lessons) + len(self.events)


class Standing(NamedTuple):
    """How one sender of a brain stands, as it was told and heard last."""

    brain: int
    source: str
    sdk: str
    numbers: Numbers
    depth: int
    oldest_ms: int
    heard_ms: int


class Written(NamedTuple):
    """What became of an arrival, once it is durable; `lessons` says whether any changed."""

    accepted: int
    deduplicated: int
    standing: Standing
    lessons: bool


class Forgotten(NamedTuple):
    """From when back corrections and events are not kept any more."""

    corrections_ms: int
    events_ms: int


class Counts(NamedTuple):
    """Rows of one brain and one SDK version, by what became of them."""

    brain: int
    sdk: str
    accepted: int
    deduplicated: int
    refused: int
    first_ms: int
    last_ms: int
