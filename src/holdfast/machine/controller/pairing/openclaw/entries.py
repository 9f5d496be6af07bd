"""Parses single requests of an agent's stores: pure, tolerant of entries, strict about fields.

A malformed entry is dropped without affecting others. The fields of a device are a closed list,
because the rest of a record holds its key; a channel's unknown fields are passed on, bounded, and
without what looks like a secret. The agent's fields may not replace ours.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, Final

from holdfast.kernel.secret import is_secret_name, redact
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.state import DEVICES, Row
from holdfast.wire.limits import TEXT_MAX
from holdfast.wire.times import parse_time, time_text

_ID_CHARS: Final = 32
_MOMENT_MAX_MS: Final = 2**43
"""A time beyond the year 2248 counts as missing."""
_OURS: Final = frozenset(
    {"channel", "id", "code", "requestId", "accountId", "createdAt", "lastSeenAt", "expiresAt",
     "fingerprint", "meta"}
)  # fmt: skip
_DEVICE_TEXTS: Final = (
    "deviceId", "role", "platform", "deviceFamily", "displayName", "clientId", "clientMode",
    "remoteIp",
)  # fmt: skip
_DEVICE_LISTS: Final = ("roles", "scopes")


def channel_rows(channel: str, entries: Sequence[object], *, coded: bool = True) -> tuple[Row, ...]:
    """Return the well-formed requests of one channel, oldest first.

    `coded` means that the source has codes, so that an entry without one is malformed; the agent's
    own interface has none and provides request ids itself.
    """
    made = (_channel_row(channel, entry, coded=coded) for entry in entries)
    found = sorted(
        (row for row in made if row is not None), key=lambda row: (row.order_ms or 0, row.key)
    )
    return tuple(found[-limits.ROWS_MAX :])


def device_rows(entries: Sequence[object]) -> tuple[Row, ...]:
    """Return the well-formed device requests, newest first, those without a time last."""
    found = [row for row in map(_device_row, entries) if row is not None]
    found.sort(key=lambda row: (row.order_ms is None, -(row.order_ms or 0), row.key))
    return tuple(found[: limits.ROWS_MAX])


def channel_request_id(channel: str, account: str, sender: str, created_at: str) -> str:
    """Return the id of a channel request, as OpenClaw's own interface computes it.

    It contains the time of the request, so a repeated request has another id.
    """
    joined = f"{channel}\0{account}\0{sender}\0{created_at}"
    digest = hashlib.sha256(joined.encode("utf-8", "surrogatepass")).digest()
    return base64.urlsafe_b64encode(digest).decode()[:_ID_CHARS]


def read_moment(text: object) -> int | None:
    """Return milliseconds since the epoch, None for what is not a representable time."""
    at_ms = parse_time(text)
    return at_ms if at_ms is not None and 0 <= at_ms < _MOMENT_MAX_MS else None


def _channel_row(channel: str, entry: object, *, coded: bool) -> Row | None:
    """Return the request, None if malformed. One without a time counts as expired."""
    if not isinstance(entry, Mapping):
        return None
    code, sender = entry.get("code") if coded else "", entry.get("id")
    created_at = entry.get("createdAt")
    created_ms = read_moment(created_at)
    if not (_is_name(sender) and isinstance(code, str) and (_is_name(code) or not coded)):
        return None
    if created_ms is None or not isinstance(created_at, str):
        return None
    meta = entry.get("meta")
    account = _text(meta.get("accountId")) if isinstance(meta, Mapping) else ""
    account = _text(entry.get("accountId")) or account or "default"
    key = channel_request_id(channel, account, str(sender), created_at)
    if not coded and _is_name(entry.get("requestId")):
        key = str(entry["requestId"])  # the agent's own term
    expires_ms = created_ms + limits.CHANNEL_TTL_MS
    mark = _fingerprint(key)
    shown = {
        **_extras(entry),
        "channel": channel,
        "id": sender,
        "code": code,
        "requestId": key,
        "accountId": account,
        "createdAt": time_text(created_ms),
        "lastSeenAt": _text(entry.get("lastSeenAt")),
        "expiresAt": time_text(expires_ms),
        "fingerprint": mark,
        "meta": _clean(meta, 0) if isinstance(meta, Mapping) else {},
    }
    return Row(key, channel, code, expires_ms, created_ms, mark, shown)


def _device_row(entry: object) -> Row | None:
    if not isinstance(entry, Mapping):
        return None
    key, device = entry.get("requestId"), entry.get("deviceId")
    if not (_is_name(key) and _is_name(device)):
        return None
    shown: dict[str, Any] = {"requestId": key}
    shown |= {name: text for name in _DEVICE_TEXTS if (text := _text(entry.get(name)))}
    shown |= {name: names for name in _DEVICE_LISTS if (names := _names(entry.get(name)))}
    asked_ms, refreshed_ms = _number(entry.get("ts")), _number(entry.get("refreshedAtMs"))
    valid_ms = refreshed_ms if refreshed_ms is not None else asked_ms
    expires_ms = None if valid_ms is None else round(valid_ms) + limits.DEVICE_TTL_MS
    if asked_ms is not None:
        shown["ts"] = entry["ts"]
    if expires_ms is not None:
        shown["expiresAt"] = time_text(expires_ms)
    if entry.get("isRepair") is True:
        shown["isRepair"] = True
    roles = sorted({shown.get("role", ""), *shown.get("roles", ())} - {""})
    mark = _fingerprint(str(key), str(device), *roles, "", *sorted(set(shown.get("scopes", ()))))
    shown["fingerprint"] = mark
    return Row(str(key), DEVICES, "", expires_ms, asked_ms, mark, shown)


def _fingerprint(*parts: str) -> str:
    """Return a short hash of what would be approved, the same from every source."""
    joined = "\0".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(joined, digest_size=8).hexdigest()


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= TEXT_MAX


def _text(value: object) -> str:
    return value[:TEXT_MAX] if isinstance(value, str) else ""


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        return ()
    return tuple(_text(item) for item in value if isinstance(item, str))[: limits.META_ITEMS_MAX]


def _number(value: object) -> float | None:
    """Return a number of milliseconds that a date can hold, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isfinite(value) and 0 <= value < _MOMENT_MAX_MS else None


def _extras(entry: Mapping[Any, object]) -> dict[str, Any]:
    """Return the unknown fields that may be passed on."""
    unknown = {name: value for name, value in entry.items() if name not in _OURS}
    return _clean(unknown, 1)


def _clean(fields: Mapping[Any, object], depth: int) -> dict[str, Any]:
    kept = [
        (name, _bound(value, depth))
        for name, value in fields.items()
        if isinstance(name, str) and len(name) <= TEXT_MAX and not _is_private(name)
    ]
    return dict(kept[: limits.META_ITEMS_MAX])


def _is_private(name: str) -> bool:
    return is_secret_name(name) or name.replace("_", "").lower() == "publickey"


def _bound(value: object, depth: int) -> Any:
    """Return the value with texts cut and redacted, and levels beyond the limit left out."""
    match value:
        case str():
            return redact(value[: limits.META_TEXT_MAX])
        case bool() | int() | None:
            return value
        case float():
            return value if isfinite(value) else None
        case Mapping() if depth < limits.META_DEPTH_MAX:
            return _clean(value, depth + 1)
        case list() if depth < limits.META_DEPTH_MAX:
            return [_bound(item, depth + 1) for item in value[: limits.META_ITEMS_MAX]]
        case _:
            return None
