"""Batches and arrivals as brains send them, for tests."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.corrections.accept import Batch, open_batch, read_rows
from holdfast.corrections.records import Arrival
from holdfast.wire.api.brains import Route
from holdfast.wire.api.ingest import IngestRequest

NOW = 1_780_000_000_000


def correction(
    seq: int, draft: str = "hello", final: str = "Hello!", *, event_id: str = "", **payload: Any
) -> dict[str, Any]:
    """Return a row with a correction."""
    given = {"session": "s1", "category": "TONE", "severity": "minor", "count": 1, **payload}
    return {
        "seq": seq,
        "kind": "correction",
        "event_id": event_id or f"c-{seq}",
        "at_ms": NOW - 1_000,
        "payload": {"draft": draft, "final": final, **given},
    }


def lesson(seq: int, lesson_id: str = "l-1", **payload: Any) -> dict[str, Any]:
    """Return a row with a lesson."""
    given = {
        "category": "TONE", "text": "Greet by name.", "state": "PATTERN", "confidence": 0.7,
        "fires": 3, "corrections": 2, "scope": "", **payload,
    }  # fmt: skip
    return {
        "seq": seq,
        "kind": "lesson",
        "event_id": f"l-{seq}",
        "at_ms": NOW + seq,
        "payload": {"lesson_id": lesson_id, **given},
    }


def event(seq: int, name: str = "OUTPUT") -> dict[str, Any]:
    """Return a row with an event."""
    return {
        "seq": seq,
        "kind": "event",
        "event_id": f"e-{seq}",
        "at_ms": NOW,
        "payload": {"type": name, "source": "x", "session": None, "data": {"a": 1}, "tags": ["t"]},
    }


def body(*rows: dict[str, Any], **envelope: Any) -> dict[str, Any]:
    """Return a whole batch."""
    return {
        "version": 1,
        "sdk": "holdfast/0.1.0",
        "source": "src-1",
        "brain": "kalle",
        "queue": {"depth": len(rows), "oldest_ms": 5},
        "rows": list(rows),
        **envelope,
    }


def encoded(*rows: dict[str, Any], **envelope: Any) -> bytes:
    """Return a whole batch as it goes over the wire."""
    return msgspec.json.encode(body(*rows, **envelope))


def read(*rows: dict[str, Any], **envelope: Any) -> Batch:
    """Return a batch as the plane reads it."""
    return read_body(encoded(*rows, **envelope))


def read_body(raw: bytes) -> Batch:
    """Return a batch as it came over the wire as the plane reads it."""
    request = msgspec.json.decode(raw, type=IngestRequest)
    batch = open_batch(request)
    read_rows(batch, request.rows or [], NOW)
    return batch


def arrival(
    *rows: dict[str, Any], brain: int = 1, route: Route = "ingest", **envelope: Any
) -> Arrival:
    """Return a batch on its way to the disk."""
    batch = read(*rows, **envelope)
    return Arrival(
        brain=brain,
        account="local",
        route=route,
        sdk=batch.sdk,
        source=batch.source,
        received_ms=NOW,
        corrections=batch.corrections,
        lessons=batch.lessons,
        events=batch.events,
        refused=batch.refused,
        depth=batch.depth,
        oldest_ms=batch.oldest_ms,
        refused_numbers=tuple(batch.numbers),
    )
