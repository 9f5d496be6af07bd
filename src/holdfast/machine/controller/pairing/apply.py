"""How a look changes what is known. Pure: time is an argument.

A look commits part by part, and only over what is older than it, so that a slow one can neither
overwrite a later one nor be lost because a later one failed. What cannot be read keeps what was
known. A missing file means that nobody waits, but where there were requests only when it is still
missing a moment later.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final, Literal, TypeAlias

from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.state import (
    Failure,
    Found,
    Look,
    Part,
    Row,
    Ruling,
    Snapshot,
    Verdict,
    Verdicts,
    code_mark,
)
from holdfast.wire.controller.pairing import Kind

Outcome: TypeAlias = Literal["read", "again", "failed"]
"""What a look came to: `again` says that a file was gone that will be looked for once more."""

_TTL_MS: Final = {"channels": limits.CHANNEL_TTL_MS, "devices": limits.DEVICE_TTL_MS}


def commit(snapshot: Snapshot, look: Look, *, number: int, now_ms: int) -> tuple[Snapshot, Outcome]:
    """Return what is known after the look that was begun as `number`, and what it came to."""
    if isinstance(look, Failure):
        return replace(snapshot, failure=look, looked=True), "failed"
    if number < snapshot.number:
        parts = {
            name: _merge(part, look[name], number, now_ms) if name in look else part
            for name, part in snapshot.parts.items()
        }
        return replace(snapshot, parts=parts), "read"
    parts = {
        name: _merge(snapshot.parts.get(name, Part()), found, number, now_ms)
        for name, found in look.items()
    }
    outcome = _outcome(parts, number)
    return Snapshot(
        snapshot.kind, parts, number,
        updated_ms=now_ms if outcome == "read" else snapshot.updated_ms,
        failure=None, looked=True,
    ), outcome  # fmt: skip


def _merge(part: Part, found: Found, number: int, now_ms: int) -> Part:
    """Return the part after one read of it."""
    if number < part.number:
        return part
    known = replace(part, source=found.source, note=found.note)
    result = found.result
    if isinstance(result, Failure):
        if not result.missing:
            return replace(known, failure=result)
        if part.rows and not part.gone:
            return replace(known, failure=result, gone=True)
        result = ()
    return replace(
        known, rows=result, number=number, success_ms=now_ms, failure=None, gone=False
    )  # fmt: skip


def _outcome(parts: dict[str, Part], number: int) -> Outcome:
    """Return `read` when at least one part was, or there is none at all."""
    if not parts or any(part.number == number for part in parts.values()):
        return "read"
    return "again" if any(part.gone for part in parts.values()) else "failed"


def judge(verdicts: Verdicts, made: Verdict) -> Verdicts:
    """Return the verdicts with one more; the oldest go when there are too many."""
    kept = sorted(
        {**verdicts, made.key: made}.values(), key=lambda verdict: (verdict.at_ms, verdict.key)
    )
    return {verdict.key: verdict for verdict in kept[-limits.VERDICTS_MAX :]}


def make_verdict(
    row: Row | None, *, kind: Kind, channel: str, code: str, ruling: Ruling, now_ms: int
) -> Verdict:
    """Return the verdict about a request, known by its code alone when it was not listed."""
    until_ms = now_ms + _TTL_MS[kind] + limits.VERDICT_SLACK_MS
    key = code_mark(channel, code) if row is None else row.key
    code = code if row is None else row.code or code
    return Verdict(key, kind, channel, code, ruling, now_ms, until_ms)


def forget(verdicts: Verdicts, shelves: Iterable[Snapshot], now_ms: int) -> Verdicts:
    """Return the verdicts that are still needed: the late ones, and those of what is listed yet."""
    listed = {
        mark
        for snapshot in shelves
        for row in rows_of(snapshot)
        for mark in (row.key, row.code_mark)
    }
    kept = {
        key: verdict
        for key, verdict in verdicts.items()
        if verdict.until_ms > now_ms or key in listed
    }
    return verdicts if len(kept) == len(verdicts) else kept


def rows_of(snapshot: Snapshot) -> tuple[Row, ...]:
    """Return every row that is known, whether it may be shown or not."""
    return tuple(row for part in snapshot.parts.values() for row in part.rows)
