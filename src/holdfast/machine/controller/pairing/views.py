"""The visible part of the cache, at a moment. Pure: time is an argument.

Expiry and verdicts are applied at the time of the view, not of the last read.
"""

from __future__ import annotations

import hashlib
from typing import Any

from holdfast.machine.controller.pairing.apply import rows_of
from holdfast.machine.controller.pairing.state import Failure, Part, Row, Snapshot, Verdicts
from holdfast.wire.controller.pairing import ListState, SourceStatus, Trouble
from holdfast.wire.times import time_text


def visible(snapshot: Snapshot, verdicts: Verdicts, now_ms: int) -> tuple[Row, ...]:
    """Return the pending requests."""
    return tuple(
        row
        for row in rows_of(snapshot)
        if row.key not in verdicts and row.code_mark not in verdicts
        if row.expires_ms is None or now_ms <= row.expires_ms
    )


def next_expiry_ms(rows: tuple[Row, ...]) -> int | None:
    """Return when the first of these expires; None for never."""
    return min((row.expires_ms + 1 for row in rows if row.expires_ms is not None), default=None)


def state_of(snapshot: Snapshot, rows: tuple[Row, ...]) -> ListState:
    """Return how reliable a list of these rows is."""
    if not snapshot.looked:
        return "warming"
    failures = [part.failure for part in snapshot.parts.values()] + [snapshot.failure]
    found = [failure for failure in failures if failure is not None]
    if not found:
        return "known"
    return "unknown" if not rows and any(failure.strange for failure in found) else "stale"


def describe(snapshot: Snapshot, rows: tuple[Row, ...], epoch: int) -> dict[str, Any]:
    """Return the answer for a list, in the wire format."""
    state = state_of(snapshot, rows)
    failure = snapshot.failure or next(
        (part.failure for part in snapshot.parts.values() if part.failure is not None), None
    )
    return {
        "requests": [row.entry for row in rows],
        "lastUpdated": _moment(snapshot.updated_ms),
        "epoch": epoch,
        "state": state,
        "stale": state in {"stale", "unknown"},
        "error": _trouble(failure),
        "statuses": [_status(name, part, snapshot) for name, part in snapshot.parts.items()],
    }


def signature(snapshot: Snapshot, rows: tuple[Row, ...]) -> str:
    """Return a hash that changes with the list or its reliability, for the epoch."""
    marks = [state_of(snapshot, rows), *(f"{row.key}/{row.fingerprint}" for row in rows)]
    for name, part in snapshot.parts.items():
        marks += [name, "" if part.failure is None else part.failure.code]
    return hashlib.blake2b("\0".join(marks).encode(), digest_size=16).hexdigest()


def _status(name: str, part: Part, snapshot: Snapshot) -> SourceStatus:
    failure = part.failure or snapshot.failure
    return SourceStatus(
        channel=name,
        source=part.source,
        last_success=_moment(part.success_ms),
        stale=failure is not None,
        error=_trouble(failure),
        note=part.note,
    )


def _trouble(failure: Failure | None) -> Trouble | None:
    return None if failure is None else Trouble(code=failure.code, message=failure.message)


def _moment(at_ms: int | None) -> str:
    return "" if at_ms is None else time_text(at_ms)
