"""Orders to approve or dismiss: their form, and the answers to them. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from holdfast.machine.controller.pairing.state import DEVICES, Row, Ruling, Verdict
from holdfast.wire.controller import pairing as wire
from holdfast.wire.controller.pairing import Kind, PairingAnswer

Part: TypeAlias = Literal["channel", "code", "requestId", "fingerprint"]

_PATTERNS: Final = {
    "channel": re.compile(wire.CHANNEL_PATTERN),
    "code": re.compile(wire.CODE_PATTERN),
    "fingerprint": re.compile(wire.FINGERPRINT_PATTERN),
}
_REQUEST_IDS: Final = {
    "channels": re.compile(wire.CHANNEL_REQUEST_PATTERN),
    "devices": re.compile(wire.DEVICE_REQUEST_PATTERN),
}
WRONG: Final = {
    "channel": "Invalid channel name",
    "code": "Invalid pairing code",
    "requestId": "Invalid request ID",
    "fingerprint": "Invalid fingerprint",
}
_DONE: Final = {
    ("channels", "approved"): "Pairing approved",
    ("devices", "approved"): "Device approved",
    ("channels", "dismissed"): "Pairing dismissed",
    ("devices", "dismissed"): "Device dismissed",
}


@dataclass(frozen=True, slots=True)
class Order:
    """One decision ordered by a caller.

    A channel request is named by `code`, by `request_id` or both; a device request by the id.
    """

    kind: Kind
    ruling: Ruling
    channel: str = DEVICES
    code: str = ""
    request_id: str = ""
    fingerprint: str = ""

    def names(self, row: Row) -> bool:
        """Return whether the order is about this request."""
        if row.channel != self.channel:
            return False
        if self.kind == "devices":
            return row.key.lower() == self.request_id.lower()
        if self.request_id:
            return row.key == self.request_id
        return bool(row.code) and row.code.upper() == self.code.upper()

    @property
    def mark(self) -> str:
        """Return a key for this request while it is not listed."""
        return "/".join((self.kind, self.channel, self.request_id.lower() or self.code.upper()))


def check(order: Order) -> PairingAnswer | None:
    """Return why the order is malformed, None if it is valid."""
    fields: list[tuple[str, str]] = []
    if order.kind == "channels":
        fields.append(("channel", order.channel))
        if order.code or not order.request_id:
            fields.append(("code", order.code))
    if order.request_id or order.kind == "devices":
        fields.append(("requestId", order.request_id))
    if order.fingerprint:
        fields.append(("fingerprint", order.fingerprint))
    for name, value in fields:
        pattern = _REQUEST_IDS[order.kind] if name == "requestId" else _PATTERNS[name]
        if pattern.fullmatch(value) is None:
            return refuse(wire.PAIRING_INVALID, WRONG[name], field=name)
    return None


def find(order: Order, rows: Sequence[Row]) -> Row | None:
    """Return the request the order is about, if it is listed."""
    return next((row for row in rows if order.names(row)), None)


def refuse(code: str, message: str, *, field: str = "") -> PairingAnswer:
    """Return the answer of a refusal."""
    return PairingAnswer(success=False, message=message, code=code, field=field)


def done(order: Order) -> PairingAnswer:
    """Return the answer of a success."""
    return PairingAnswer(success=True, message=_DONE[order.kind, order.ruling])


def already(verdict: Verdict) -> PairingAnswer:
    """Return the answer for a request that was decided before."""
    return refuse(wire.PAIRING_ALREADY, f"This request was {verdict.ruling} already")
