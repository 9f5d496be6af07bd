"""Values of corrections: brains, keys, and rows to write. Pure.

Times are milliseconds since the epoch. `account` is the name of the owning account.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import Struct

from holdfast.corrections.gaps import Numbers
from holdfast.wire.api.brains import Route
from holdfast.wire.api.ingest import RefusedRow

ROUTES: Final[tuple[Route, ...]] = ("ingest", "single", "sync", "push", "correct")
"""In the order of a correction's counts."""


class Brain(Struct, frozen=True, kw_only=True):
    """One brain: `no` is its number in the file, `id` its public id."""

    no: int
    id: str
    name: str
    account: str
    instance: str = ""
    created_at_ms: int = 0


class BrainKey(Struct, frozen=True, kw_only=True):
    """One key: `brain` is the number of the only brain it is valid for, 0 for the whole account."""

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

    Equal `scope` and `hash` are the same correction: the hash of both texts, within a session
    or, without one, a UTC day. `cut_hash` is the hash of both texts as cut by a route that
    truncates, empty where it would not. `was_cut` is true where this one may be truncated.
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
    """One lesson as sent by its brain; a later one with the same id replaces it."""

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
    """The rows of one request for one brain; `rows` counts those read and refused."""

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
        """Remove the numbers from every row, and set the sender."""
        self.source, self.refused_numbers = source, ()
        for rows in (self.corrections, self.lessons, self.events):
            for row in rows:
                row.seq = 0

    @property
    def rows(self) -> int:
        """Return how many rows are to be written."""
        return len(self.corrections) + len(self.lessons) + len(self.events)


class Standing(NamedTuple):
    """The state of one sender of a brain: its reported queue and last contact."""

    brain: int
    source: str
    sdk: str
    numbers: Numbers
    depth: int
    oldest_ms: int
    heard_ms: int


class Written(NamedTuple):
    """The result of an arrival, once durable; `lessons` is true if any changed."""

    accepted: int
    deduplicated: int
    standing: Standing
    lessons: bool


class Forgotten(NamedTuple):
    """The times before which corrections and events are purged."""

    corrections_ms: int
    events_ms: int


class Counts(NamedTuple):
    """Rows of one brain and one SDK version, by result."""

    brain: int
    sdk: str
    accepted: int
    deduplicated: int
    refused: int
    first_ms: int
    last_ms: int
