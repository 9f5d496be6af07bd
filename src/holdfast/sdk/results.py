"""Results of the Brain: plain values with names, each also a dict by `_asdict()`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Correction(NamedTuple):
    """Result of `correct`.

    `persisted` means that it is on disk, as durably as was chosen; `queued` that it will be sent (a
    repeat that is only counted is not); `reason` is why one of the two is False. `seen` is how
    often the same was corrected in this session (without one: on this UTC day), and `deduplicated`
    is True from the second time on. `edit_distance` is 0 (no word changed) to 1 (none left).
    `draft`, `final` and `context` are as stored: redacted. `lessons` are the ids of lessons that
    changed.
    """

    event_id: str
    content_hash: str
    session: str | None
    day: str
    category: str
    severity: str
    edit_distance: float
    summary: str
    classifications: tuple[str, ...]
    draft: str
    final: str
    context: str | None
    seen: int
    deduplicated: bool
    persisted: bool
    queued: bool
    reason: str
    lessons: tuple[str, ...]


class Recorded(NamedTuple):
    """Result of `record`; as in `Correction`."""

    event_id: str
    persisted: bool
    queued: bool
    reason: str


class SessionEnd(NamedTuple):
    """A session in figures, and what is still queued (see `Flushed` of the outbox)."""

    session: str | None
    corrections: int
    repeats: int
    severities: Mapping[str, int]
    lessons: Mapping[str, int]
    pending: int
    reason: str


class Synced(NamedTuple):
    """Result of a `sync` in the foreground.

    `queued_again` were put into the queue by `full` or `backfill`. `reason` is empty when the queue
    is. `exit_code` is for cron: 0 everything is delivered, 1 rows are queued, 2 there are dead
    letters, 3 there is no address or no key, 4 the folder cannot be used.
    """

    delivered: int
    queued_again: int
    pending: int
    dead: int
    reason: str
    exit_code: int
