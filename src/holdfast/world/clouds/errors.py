"""Classifies a provider's refusal: status and body to a typed failure.

Fly's statuses are ambiguous: 409 is a taken name, a lack of memory or a lost race, and only the
text distinguishes them. The order of the checks is therefore part of the meaning: a taken name
before capacity (they share 409), a missing volume before plain not-found (they share 404). A
refusal without a known marker is never classified as capacity, because that would move an instance
for nothing. This module is pure. It must never turn a doubt into `not_found`: only that lets a
machine be replaced.
"""

from __future__ import annotations

import re
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final, Literal, TypeAlias

import msgspec

from holdfast.kernel.clock import SECOND_MS
from holdfast.kernel.outcome import Conflict, Failure, Permanent, Retryable
from holdfast.kernel.secret import redact
from holdfast.wire import parsers
from holdfast.world.clouds.port import (
    CAPACITY,
    CONFLICT,
    DENIED,
    INVALID,
    MISSING_VOLUME,
    NAME_TAKEN,
    NOT_FOUND,
    RATE_LIMITED,
    TRANSIENT,
    WAIT_TIMEOUT,
)

_ANY: Final = msgspec.json.Decoder()

Subject: TypeAlias = Literal["machine", "volume"]

MESSAGE_CHARS_MAX: Final = 400
"""Characters kept of a provider's text."""

RETRY_AFTER_MS_MAX: Final = 600_000
"""The longest pause a provider may request, in milliseconds."""

NAME_STATUSES: Final = frozenset({409, 422})
CAPACITY_STATUSES: Final = frozenset({400, 403, 409, 412})
VOLUME_STATUSES: Final = frozenset({400, 404, 422})

NAME_MARKERS: Final = ("unique machine name violation",)
CAPACITY_MARKERS: Final = (
    "insufficient resources",
    "insufficient memory",
    "no capacity",
    "over the allowed quota",
)
VOLUME_MARKERS: Final = (
    "volume does not exist",
    "volume not found",
    "could not find volume",
)

_HOLDER: Final = re.compile(r"machine id ([0-9a-z]+) already exists", re.IGNORECASE)
_CONFLICT_STATUSES: Final = frozenset({409, 412})


def classify(
    status: int,
    body: str,
    *,
    subject: Subject = "machine",
    retry_after: str | None = None,
    now_ms: int = 0,
) -> Failure:
    """Return the typed failure for an answer other than 2xx.

    `subject` is what was requested: an absent volume is `missing_volume` for a machine that needs
    it, and plain `not_found` for a request for the volume itself. `status` 0 means that no answer
    came. `retry_after` is that header as sent, in seconds or as an HTTP date; `now_ms` is needed
    for the date only.
    """
    text = _text(body)
    message = f"{status}: {redact(text)[:MESSAGE_CHARS_MAX]}"
    lowered = text.lower()
    if status in NAME_STATUSES and _has(lowered, NAME_MARKERS):
        return Conflict(NAME_TAKEN, message, holder_of(text))
    if subject == "machine" and status in VOLUME_STATUSES and _has(lowered, VOLUME_MARKERS):
        return Permanent(MISSING_VOLUME, message)
    if status in CAPACITY_STATUSES and _has(lowered, CAPACITY_MARKERS):
        return Retryable(CAPACITY, message)
    return _by_status(status, message, retry_after_ms(retry_after, now_ms=now_ms))


def _by_status(status: int, message: str, pause_ms: int | None) -> Failure:
    match status:
        case 404:
            return Permanent(NOT_FOUND, message)
        case 408:
            return Retryable(WAIT_TIMEOUT, message)
        case 409 | 412:
            return Conflict(CONFLICT, message)
        case 429:
            return Retryable(RATE_LIMITED, message, pause_ms if pause_ms is not None else SECOND_MS)
        case 401 | 403:
            return Permanent(DENIED, message)
        case 400 | 405 | 413 | 415 | 422:
            return Permanent(INVALID, message)
        case _:
            return Retryable(TRANSIENT, message, pause_ms)


def unrecognised(status: int, failure: Failure) -> bool:
    """Return whether a 409 or 412 had no known marker: worth one warning, so the list can grow."""
    return status in _CONFLICT_STATUSES and failure.code == CONFLICT


def holder_of(text: str) -> str | None:
    """Return the id of the machine that holds a name, if the refusal's text contains it."""
    found = _HOLDER.search(text)
    return found.group(1) if found else None


def retry_after_ms(header: str | None, *, now_ms: int) -> int | None:
    """Return the wait of a Retry-After header in milliseconds; None if it cannot be parsed."""
    if not header:
        return None
    written = header.strip()
    if re.fullmatch(r"\d{1,9}", written):
        return min(int(written) * SECOND_MS, RETRY_AFTER_MS_MAX)
    try:
        moment = parsedate_to_datetime(written)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    wait_ms = int(moment.timestamp() * SECOND_MS) - now_ms
    return min(max(wait_ms, 0), RETRY_AFTER_MS_MAX)


def _text(body: str) -> str:
    """Return the text of a body: its `error`, `message` and `status` fields, else the raw text."""
    try:
        decoded = parsers.from_json(_ANY, body.encode("utf-8", "replace"))
    except msgspec.DecodeError:
        return body.strip()
    if not isinstance(decoded, dict):
        return body.strip()
    parts = [decoded.get(key) for key in ("error", "message", "status")]
    text = " ".join(part for part in parts if isinstance(part, str) and part)
    return text or body.strip()


def _has(lowered: str, markers: tuple[str, ...]) -> bool:
    return any(marker in lowered for marker in markers)
