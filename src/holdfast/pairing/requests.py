"""Pairing requests on the plane, and the marks that identify them.

Sources list the same request differently: one with its code, another with an id only, a third with
sender and time. Each of these makes a *mark*, and a decision keeps all marks. A request with any
mark of a decision is the one decided, whatever the source and the time.
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
    """The reference to one request in an order to a machine.

    A channel's is referred to by its code or its id at the machine, a device's by its UUID in
    `machine_id`. `fingerprint` is that of the request when a person saw it.
    """

    kind: Kind
    channel: str = ""
    code: str = ""
    machine_id: str = ""
    sender: str = ""
    fingerprint: str = ""


class Waiting(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One waiting request, as listed by a machine. Times are ms since the epoch.

    `scopes` is None where the source does not list the requested scopes.
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
    """Return the id of a request in the API."""
    if asked.kind == "device":
        return asked.machine_id
    return f"{asked.channel}:{asked.code or asked.machine_id}"


def marks(asked: Asked, *, created_ms: int | None = None) -> tuple[str, ...]:
    """Return every mark of a request, sorted: short digests, since they are stored."""
    found: list[tuple[str, ...]] = []
    if asked.kind == "device":
        found.append(("device", asked.machine_id.lower()))
    else:
        if asked.code:
            found.append(("code", asked.channel, asked.code.upper()))
        if asked.machine_id:
            found.append(("id", asked.channel, asked.machine_id))
        if asked.sender and created_ms is not None:
            found.append(("sender", asked.channel, asked.sender, str(created_ms)))
    return tuple(sorted(_mark(parts) for parts in found))


def _mark(parts: tuple[str, ...]) -> str:
    digest = hashlib.blake2b("\x1f".join(parts).encode(), digest_size=_MARK_BYTES).digest()
    return base64.urlsafe_b64encode(digest).decode()


def is_expired(request: Waiting, now_ms: int) -> bool:
    """Return whether a request has expired; at `expires_ms` itself it has not."""
    return request.expires_ms is not None and now_ms > request.expires_ms


def find(requests: Iterable[Waiting], asked: Asked) -> Waiting | None:
    """Return the request that shares any mark with `asked`, or None."""
    wanted = set(marks(asked))
    return next((one for one in requests if wanted.intersection(one.marks)), None)


def named(text: str) -> Asked:
    """Return the reference of an API id: a device by its UUID, else a channel's request."""
    if _UUID.fullmatch(text):
        return Asked(kind="device", machine_id=text)
    channel, _, name = text.partition(":")
    return by_name(channel, name)


def by_name(channel: str, name: str) -> Asked:
    """Return the reference of a channel's request by code, or by id if it is no code."""
    if _CODE.fullmatch(name):
        return Asked(kind="channel", channel=channel, code=name)
    return Asked(kind="channel", channel=channel, machine_id=name)


def of_channel(listed: ChannelRequest) -> Waiting | None:
    """Return a channel's request, or None for one without the ids to decide it."""
    name = listed.request_id[:TEXT_MAX]
    if not listed.id or not (_CODE.fullmatch(listed.code) or name):
        return None
    asked = Asked(
        kind="channel",
        channel=listed.channel,
        code=listed.code if _CODE.fullmatch(listed.code) else "",
        machine_id=name,
        sender=listed.id,
        fingerprint=listed.fingerprint,
    )
    created_ms = parse_time(listed.created_at)
    ends_ms = parse_time(listed.expires_at)
    if ends_ms is None and created_ms is not None:
        ends_ms = created_ms + CHANNEL_LIFE_MS
    return Waiting(
        asked=asked,
        marks=marks(asked, created_ms=created_ms),
        sender_name=_name_in(listed.meta),
        account=listed.account_id or _text(listed.meta, "accountId"),
        created_ms=created_ms,
        expires_ms=ends_ms,
    )


def of_device(listed: DeviceRequest, *, has_scopes: bool) -> Waiting | None:
    """Return a device's request, or None for one without the ids to decide it."""
    if not _UUID.fullmatch(listed.request_id) or not listed.device_id:
        return None
    asked = Asked(
        kind="device",
        machine_id=listed.request_id,
        sender=listed.device_id,
        fingerprint=listed.fingerprint,
    )
    created_ms = None if listed.ts is None else int(listed.ts)
    ends_ms = parse_time(listed.expires_at)
    if ends_ms is None and created_ms is not None:
        ends_ms = created_ms + DEVICE_LIFE_MS
    roles = dict.fromkeys(role for role in (listed.role, *listed.roles) if role)
    return Waiting(
        asked=asked,
        marks=marks(asked),
        sender_name=listed.display_name,
        roles=tuple(roles),
        scopes=listed.scopes if has_scopes or listed.scopes else None,
        platform=listed.platform,
        client=listed.client_id,
        created_ms=created_ms,
        expires_ms=ends_ms,
    )


def newest_first(requests: Iterable[Waiting]) -> tuple[Waiting, ...]:
    """Return the requests newest first, those without a time last, in a total order."""
    return tuple(sorted(requests, key=lambda one: (-(one.created_ms or 0), request_id(one.asked))))


def read_list(text: str, key: str, kind: type[Any], **missing: str) -> list[Any] | None:
    """Return the items under a key of a JSON object that a command printed, decoded.

    Items get the defaults `missing`. An item that does not decode is left out; None means that
    the text is no such object.
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
    """Return the text from the first line that begins an object: commands print hints first."""
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line.startswith("{"):
            return "\n".join(lines[number:])
    return text


def _name_in(meta: dict[str, Any]) -> str:
    """Return a sender's own name, where the channel provides one."""
    first = " ".join(_text(meta, key) for key in ("firstName", "lastName")).strip()
    user = _text(meta, "username") or _text(meta, "tag") or _text(meta, "name")
    both: Sequence[str] = [part for part in (first, f"@{user}" if first and user else user) if part]
    return " ".join(both)[:TEXT_MAX]


def _text(meta: dict[str, Any], key: str) -> str:
    value = meta.get(key)
    return value if isinstance(value, str) else ""
