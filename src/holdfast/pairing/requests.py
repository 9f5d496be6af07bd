"""A request as the plane knows it, and the marks by which it is known again.

The same request looks different to different sources: one tells its code, another only an id, a
third the sender and when. Each of these makes a *mark*, and a decision keeps all it knew. A
request that bears any mark of a decision is that decision's, whoever lists it and whenever.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from holdfast.pairing.limits import CHANNEL_LIFE_MS, DEVICE_LIFE_MS
from holdfast.wire.api.pairing import CODE_PATTERN, UUID_PATTERN
from holdfast.wire.controller.pairing import ChannelRequest, DeviceRequest
from holdfast.wire.limits import TEXT_MAX
from holdfast.wire.times import parse_time

Kind: TypeAlias = Literal["channel", "device"]

_MARK_BYTES: Final = 6
_CODE: Final = re.compile(CODE_PATTERN)
_UUID: Final = re.compile(UUID_PATTERN)


class Asked(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a machine must be told to decide about one request.

    A channel's is named by its code or the id the machine gave it, a device's by its UUID in
    `machine_id`. `fingerprint` is what the request was when somebody looked at it.
    """

    kind: Kind
    channel: str = ""
    code: str = ""
    machine_id: str = ""
    sender: str = ""
    fingerprint: str = ""


class Waiting(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One request that waits, as a machine told it. Times are ms since the epoch.

    `scopes` is None where the source does not tell what the device asks for.
    """

    asked: Asked
    marks: tuple[str, ...]
    sender_name: str = ""
    account: str = ""
    roles: tuple[str, ...] = ()
    scopes: tuple[str, ...] | None = None
    platform: str = ""
    client: str = ""
    created_ms: int | None = None
    expires_ms: int | None = None


def request_id(asked: Asked) -> str:
    """Return what a request is called in the API."""
    if asked.kind == "device":
        return asked.machine_id
    return f"{asked.channel}:{asked.code or asked.machine_id}"


def marks(asked: Asked, *, created_ms: int | None = None) -> tuple[str, ...]:
    """Return every mark of a request, sorted: short digests, since they are kept."""
    told: list[tuple[str, ...]] = []
    if asked.kind == "device":
        told.append(("device", asked.machine_id.lower()))
    else:
        if asked.code:
            told.append(("code", asked.channel, asked.code.upper()))
        if asked.machine_id:
            told.append(("id", asked.channel, asked.machine_id))
        if asked.sender and created_ms is not None:
            told.append(("sender", asked.channel, asked.sender, str(created_ms)))
    return tuple(sorted(_mark(parts) for parts in told))


def _mark(parts: tuple[str, ...]) -> str:
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=_MARK_BYTES).digest()
    return base64.urlsafe_b64encode(digest).decode()


def is_expired(request: Waiting, now_ms: int) -> bool:
    """Return whether a request is over; at its last millisecond it is not."""
    return request.expires_ms is not None and now_ms > request.expires_ms


def find(requests: Iterable[Waiting], asked: Asked) -> Waiting | None:
    """Return the request that is meant, by any mark it shares."""
    wanted = set(marks(asked))
    return next((one for one in requests if wanted.intersection(one.marks)), None)


def named(text: str) -> Asked:
    """Return what a request id names: a device by its UUID, else a channel's request."""
    if _UUID.fullmatch(text):
        return Asked(kind="device", machine_id=text)
    channel, _, name = text.partition(":")
    return by_name(channel, name)


def by_name(channel: str, name: str) -> Asked:
    """Return a channel's request by its code, or by an id where it cannot be a code."""
    if _CODE.fullmatch(name):
        return Asked(kind="channel", channel=channel, code=name)
    return Asked(kind="channel", channel=channel, machine_id=name)


def of_channel(told: ChannelRequest) -> Waiting | None:
    """Return a channel's request, or None for one that nobody could decide about."""
    name = told.request_id[:TEXT_MAX]
    if not told.id or not (_CODE.fullmatch(told.code) or name):
        return None
    asked = Asked(
        kind="channel",
        channel=told.channel,
        code=told.code if _CODE.fullmatch(told.code) else "",
        machine_id=name,
        sender=told.id,
        fingerprint=told.fingerprint,
    )
    created_ms = parse_time(told.created_at)
    ends_ms = parse_time(told.expires_at)
    if ends_ms is None and created_ms is not None:
        ends_ms = created_ms + CHANNEL_LIFE_MS
    return Waiting(
        asked=asked,
        marks=marks(asked, created_ms=created_ms),
        sender_name=_name_in(told.meta),
        account=told.account_id or _text(told.meta, "accountId"),
        created_ms=created_ms,
        expires_ms=ends_ms,
    )


def of_device(told: DeviceRequest, *, tells_scopes: bool) -> Waiting | None:
    """Return a device's request, or None for one that nobody could decide about."""
    if not _UUID.fullmatch(told.request_id) or not told.device_id:
        return None
    asked = Asked(
        kind="device",
        machine_id=told.request_id,
        sender=told.device_id,
        fingerprint=told.fingerprint,
    )
    created_ms = None if told.ts is None else int(told.ts)
    ends_ms = parse_time(told.expires_at)
    if ends_ms is None and created_ms is not None:
        ends_ms = created_ms + DEVICE_LIFE_MS
    roles = dict.fromkeys(role for role in (told.role, *told.roles) if role)
    return Waiting(
        asked=asked,
        marks=marks(asked),
        sender_name=told.display_name,
        roles=tuple(roles),
        scopes=told.scopes if tells_scopes or told.scopes else None,
        platform=told.platform,
        client=told.client_id,
        created_ms=created_ms,
        expires_ms=ends_ms,
    )


def newest_first(requests: Iterable[Waiting]) -> tuple[Waiting, ...]:
    """Return the requests by age, those without a time last, in an order that never varies."""
    return tuple(sorted(requests, key=lambda one: (-(one.created_ms or 0), request_id(one.asked))))


def read_list(text: str, key: str, kind: type[Any], **missing: str) -> list[Any] | None:
    """Return the items under a key of a JSON object that a command printed, each in its type.

    `missing` is put into items that lack it. A single item that does not fit is left out; None
    says that the text is no such object.
    """
    try:
        found = msgspec.json.decode(_json_part(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    items = found.get(key) if isinstance(found, dict) else None
    if not isinstance(items, list):
        return None
    return [item for raw in items if (item := _item(raw, kind, missing)) is not None]


def _item(raw: object, kind: type[Any], missing: dict[str, str]) -> Any:
    if not isinstance(raw, dict):
        return None
    try:
        return msgspec.convert({**missing, **raw}, kind)
    except msgspec.ValidationError:
        return None


def _json_part(text: str) -> str:
    """Return the text from its first line that begins an object: commands print hints before."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("{"):
            return "\n".join(lines[number:])
    return text


def _name_in(meta: dict[str, Any]) -> str:
    """Return what a sender calls themselves, as far as the channel tells."""
    first = " ".join(_text(meta, key) for key in ("firstName", "lastName")).strip()
    user = _text(meta, "username") or _text(meta, "tag") or _text(meta, "name")
    both: Sequence[str] = [part for part in (first, f"@{user}" if first and user else user) if part]
    return " ".join(both)[:TEXT_MAX]


def _text(meta: dict[str, Any], key: str) -> str:
    value = meta.get(key)
    return value if isinstance(value, str) else ""
