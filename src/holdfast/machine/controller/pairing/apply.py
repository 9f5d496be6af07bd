"""How a read changes the cache. Pure: time is an argument.

A read commits part by part, and only over older data, so that a slow read can neither overwrite a
later one nor be lost because a later one failed. A part that cannot be read keeps its data. A
missing file means no requests, but where there were requests only if it is still missing a moment
later.
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
"""The result of a read: `again` means that a file was missing and will be looked for once more."""

_TTL_MS: Final = {"channels": limits.CHANNEL_TTL_MS, "devices": limits.DEVICE_TTL_MS}


def commit(snapshot: Snapshot, look: Look, *, number: int, now_ms: int) -> tuple[Snapshot, Outcome]:
    """Return the cache after the read that began as `number`, and its result."""
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
    """Return `read` if at least one part was, or if there are no parts."""
    if not parts or any(part.number == number for part in parts.values()):
        return "read"
    return "again" if any(part.gone for part in parts.values()) else "failed"


def judge(verdicts: Verdicts, made: Verdict) -> Verdicts:
    """Return the verdicts plus one; the oldest are dropped beyond the limit."""
    kept = sorted(
        {**verdicts, made.key: made}.values(), key=lambda verdict: (verdict.at_ms, verdict.key)
    )
    return {verdict.key: verdict for verdict in kept[-limits.VERDICTS_MAX :]}


def make_verdict(
    row: Row | None, *, kind: Kind, channel: str, code: str, ruling: Ruling, now_ms: int
) -> Verdict:
    """Return the verdict about a request, identified by its code alone if it was not listed."""
    until_ms = now_ms + _TTL_MS[kind] + limits.VERDICT_SLACK_MS
    key = code_mark(channel, code) if row is None else row.key
    code = code if row is None else row.code or code
    return Verdict(key, kind, channel, code, ruling, now_ms, until_ms)


def forget(verdicts: Verdicts, snapshots: Iterable[Snapshot], now_ms: int) -> Verdicts:
    """Return the verdicts still needed: recent ones, and those of requests still listed."""
    listed = {
        mark
        for snapshot in snapshots
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
    """Return every cached row, including those that must not be shown."""
    return tuple(row for part in snapshot.parts.values() for row in part.rows)
