"""What the real SDK left in a folder: its events and its lessons, read and never changed."""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from holdfast.sdk import Lesson

_HEAD: Final = re.compile(r"\[(\d{4}-\d\d-\d\d)\] \[([A-Z]+):([0-9.]+)\] ([^:]+): (.+)")
_FIRES: Final = re.compile(r"\s+Fire count: (\d+)")
_CORRECTIONS: Final = re.compile(r"\s+Corrections: ([0-9, ]+)")
_LESSONS_BYTES_MAX: Final = 16 * 1024 * 1024
_EVENTS: Final = """
SELECT id, ts, session, type, source, data_json, tags_json, valid_from, valid_until FROM events
WHERE (:type IS NULL OR type = :type) AND (:session IS NULL OR session = :session)
    AND (:since IS NULL OR session >= :since)
ORDER BY id DESC LIMIT :most
"""


class Asked(NamedTuple):
    """Which events: None and empty texts do not filter; `since` is the first session."""

    type: str | None = None
    session: int | None = None
    since: int | None = None
    most: int = -1


class History:
    """The record of the real SDK in one folder; empty where it never was."""

    def __init__(self, folder: Path) -> None:
        self._database = folder / "system.db"
        self._lessons = folder / "lessons.md"
        self.exists = (folder / "brain.manifest.json").exists() or bool(
            self._rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'events'", {})
        )

    def events(self, asked: Asked) -> list[dict[str, Any]]:
        """Return its events, newest first."""
        if not self.exists:
            return []
        return [_event(row) for row in self._rows(_EVENTS, asked._asdict())]

    def newest_session(self) -> int:
        """Return the largest session number, 0 if there is none."""
        found = self._rows("SELECT max(session) FROM events", {}) if self.exists else []
        return int(found[0][0] or 0) if found else 0

    def lessons(self) -> list[Lesson]:
        """Return the lessons of `lessons.md`, in its order; lines that are none are skipped."""
        if not self.exists:
            return []
        try:
            with self._lessons.open("rb") as file:
                text = file.read(_LESSONS_BYTES_MAX).decode("utf-8", "replace")
        except OSError:
            return []
        return list(_lessons(text.splitlines()))

    def _rows(self, sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Return rows; none where the table or the file is not there or not readable."""
        if not self._database.is_file():
            return []
        try:
            with closing(sqlite3.connect(f"{self._database.as_uri()}?mode=ro", uri=True)) as db:
                db.text_factory = lambda raw: raw.decode("utf-8", "replace")
                return db.execute(sql, values).fetchall()
        except sqlite3.Error:
            return []


def _event(row: tuple[Any, ...]) -> dict[str, Any]:
    number, stamp, session, kind, source, data, tags, valid_from, valid_until = row
    return {
        "id": number, "ts": stamp, "session": session, "type": kind, "source": source,
        "data": _json(data, {}), "tags": _json(tags, []),
        "valid_from": valid_from, "valid_until": valid_until,
    }  # fmt: skip


def _json(text: str | None, empty: Any) -> Any:
    try:
        return json.loads(text) if text else empty
    except ValueError:
        return empty


def _lessons(lines: list[str]) -> Iterator[Lesson]:
    for at, line in enumerate(lines):
        head = _HEAD.match(line)
        if head is None:
            continue
        day, state, confidence, category, text = head.groups()
        fires = corrections = 0
        for more in lines[at + 1 :]:
            if not more.startswith(" "):
                break
            if found := _FIRES.match(more):
                fires = int(found[1])
            elif found := _CORRECTIONS.match(more):
                corrections = found[1].count(",") + 1
        made_ms = _midnight_ms(day)
        yield Lesson(
            lesson_id=f"{category}:{hashlib.sha256(f'{category}:{text}'.encode()).hexdigest()[:8]}",
            category=category, text=text.strip(), state=state, confidence=_number(confidence),
            fires=fires, corrections=corrections, scope="", verdict="", revision=1,
            created_ms=made_ms, changed_ms=made_ms,
        )  # fmt: skip


def _midnight_ms(day: str) -> int:
    try:
        return round(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() * 1_000)
    except ValueError:
        return 0


def _number(text: str) -> float:
    try:
        return min(1.0, float(text))
    except ValueError:
        return 0.0
