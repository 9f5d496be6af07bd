"""Pairing in the controller's API: who waits for approval, how sure that is, what came of it.

Two kinds of request: a *channel* request is a person who wrote to the bot, a *device* request is a
client that connected to the agent. The fields that existing clients read keep their names; what is
ours stands beside them. A list is never silent about doubt: `state` says how sure it is, and each
channel has a status of its own. Nothing here carries a key, a token or a public key.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import Param
from holdfast.wire.controller.endpoint import look, order
from holdfast.wire.limits import COUNTER_MAX, REASON_MAX, TEXT_MAX, TIME_TEXT_MAX

CHANNEL_PATTERN: Final = r"[a-z][a-z0-9_-]{0,63}"
CODE_PATTERN: Final = r"[A-Za-z0-9]{1,32}"
DEVICE_REQUEST_PATTERN: Final = (
    r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
)
CHANNEL_REQUEST_PATTERN: Final = r"[A-Za-z0-9_-]{32}"
"""What a channel, code or request id looks like, whole: match them with `fullmatch`."""

REQUESTS_MAX: Final = 256
"""Requests in one list; an agent keeps three of a channel's account, and devices for minutes."""

FINGERPRINT_PATTERN: Final = r"[0-9a-f]{16}"

Text = Annotated[str, Meta(max_length=TEXT_MAX)]
Reason = Annotated[str, Meta(max_length=REASON_MAX)]
Time = Annotated[str, Meta(max_length=TIME_TEXT_MAX)]
Texts = Annotated[tuple[Text, ...], Meta(max_length=64)]

Kind = Literal["channels", "devices"]

ListState = Literal["warming", "known", "stale", "unknown"]
"""How sure a list is.

`warming`: nothing was read yet. `known`: the last look succeeded everywhere. `stale`: a look
failed, wholly or for some channel; what is listed was true when it was last seen. `unknown`: what
the agent keeps is not understood, and nothing can be said.
"""

PAIRING_INVALID: Final = "pairing_invalid"
PAIRING_NOT_FOUND: Final = "pairing_not_found"
PAIRING_ALREADY: Final = "pairing_already"
PAIRING_CHANGED: Final = "pairing_changed"
PAIRING_UNKNOWN: Final = "pairing_unknown"
PAIRING_UNSUPPORTED: Final = "pairing_unsupported"
PAIRING_FAILED: Final = "pairing_failed"
PAIRING_TIMEOUT: Final = "pairing_timeout"
AGENT_NOT_RUNNING: Final = "agent_not_running"
SHUTTING_DOWN: Final = "shutting_down"

STATUS_OF: Final = {
    PAIRING_INVALID: 400,
    PAIRING_NOT_FOUND: 404,
    PAIRING_UNSUPPORTED: 404,
    PAIRING_ALREADY: 409,
    PAIRING_CHANGED: 409,
    PAIRING_FAILED: 500,
    SHUTTING_DOWN: 500,
    AGENT_NOT_RUNNING: 503,
    PAIRING_UNKNOWN: 503,
    PAIRING_TIMEOUT: 504,
}
"""The HTTP status that goes with each code.

`pairing_timeout` is the one that leaves it open whether it was done: the agent gave no answer.
"""


class Trouble(Struct, frozen=True, kw_only=True):
    """Why a look failed: a stable code, and a sentence that holds nothing of the agent's output."""

    code: Text
    message: Reason


class SourceStatus(Struct, frozen=True, kw_only=True, rename="camel"):
    """How one channel was last read; `channel` is empty for devices.

    `source` is json, sqlite, rpc or command. `last_success` is empty if there never was one.
    `stale` says that what is listed of it may be out of date. `note` says why a better source was
    passed over.
    """

    channel: Text
    source: Text = ""
    last_success: Time = ""
    stale: bool = False
    error: Trouble | None = None
    note: Reason = ""


class ChannelRequest(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A person who waits to be let in: `id` is the sender as the channel names them.

    `code` is empty where the source does not give it; `request_id` names the request on every
    release. Fields that an agent adds are passed on beside these, in JSON, unless they look like
    a secret. `fingerprint` changes when what would be approved changes.
    """

    channel: Text
    id: Text
    code: Text
    request_id: Text = ""
    account_id: Text = ""
    created_at: Time = ""
    last_seen_at: Time = ""
    expires_at: Time = ""
    fingerprint: Text = ""
    meta: dict[str, Any] = {}


class DeviceRequest(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A client that waits to be let in; `scopes` is what it would be allowed.

    `ts` is when it asked, in milliseconds since the epoch. `is_repair` says that it was paired
    before. Everything in it but `request_id` is what the client says of itself.
    """

    request_id: Text
    device_id: Text
    role: Text = ""
    roles: Texts = ()
    scopes: Texts = ()
    platform: Text = ""
    device_family: Text = ""
    display_name: Text = ""
    client_id: Text = ""
    client_mode: Text = ""
    remote_ip: Text = ""
    is_repair: bool = False
    ts: float | None = None
    expires_at: Time = ""
    fingerprint: Text = ""


class PairingList(Struct, frozen=True, kw_only=True, rename="camel"):
    """What both kinds of list say beside their requests.

    `last_updated` is when the list was last read, empty for never. `epoch` grows with each change
    of what is listed of either kind, and is what a check-in reports. `refreshed` says whether a
    refresh that was asked for worked.
    """

    last_updated: Time
    epoch: Annotated[int, Meta(ge=0, le=COUNTER_MAX)] = 0
    state: ListState = "known"
    stale: bool = False
    error: Trouble | None = None
    statuses: tuple[SourceStatus, ...] = ()
    refreshed: bool | None = None


class ChannelList(PairingList, frozen=True, kw_only=True, rename="camel"):
    """Channel requests, by channel and then oldest first."""

    requests: Annotated[tuple[ChannelRequest, ...], Meta(max_length=REQUESTS_MAX)]


class DeviceList(PairingList, frozen=True, kw_only=True, rename="camel"):
    """Device requests, newest first."""

    requests: Annotated[tuple[DeviceRequest, ...], Meta(max_length=REQUESTS_MAX)]


class ChannelOrder(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Approve or dismiss a channel request, by its code or its request id.

    With a `fingerprint`, only if the request is still what it was when that was read.
    """

    channel: Text
    code: Text | None = ""
    request_id: Text | None = ""
    fingerprint: Text | None = ""


class DeviceOrder(Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Approve or dismiss a device request; see `ChannelOrder` for the fingerprint."""

    request_id: Text
    fingerprint: Text | None = ""


class PairingAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of an order; `code` is one of `STATUS_OF` when it failed."""

    success: bool
    message: Reason
    code: Text = ""
    field: Text = ""


REFRESH: Final = Param("refresh", r"[\s\S]*", "`true` has it read anew first")
_LISTED: Final = (200, 404, 503)
_DECIDED: Final = (200, *sorted({*STATUS_OF.values()}))

CHANNELS: Final = look(
    "pairing/channels", ChannelList, "People who wait to be let in.", REFRESH,
    capability="pairing.channels", codes=(PAIRING_UNSUPPORTED, PAIRING_UNKNOWN), statuses=_LISTED,
)  # fmt: skip
DEVICES: Final = look(
    "pairing/devices", DeviceList, "Clients that wait to be let in.", REFRESH,
    capability="pairing.devices", codes=(PAIRING_UNSUPPORTED, PAIRING_UNKNOWN), statuses=_LISTED,
)  # fmt: skip
CHANNELS_APPROVE: Final = order(
    "pairing/channels/approve", ChannelOrder, PairingAnswer, "Let a person in.",
    capability="pairing.channels", codes=tuple(STATUS_OF), statuses=_DECIDED,
)  # fmt: skip
DEVICES_APPROVE: Final = order(
    "pairing/devices/approve", DeviceOrder, PairingAnswer, "Let a client in.",
    capability="pairing.devices", codes=tuple(STATUS_OF), statuses=_DECIDED,
)  # fmt: skip
CHANNELS_DISMISS: Final = order(
    "pairing/channels/dismiss", ChannelOrder, PairingAnswer, "Put a person's request aside.",
    capability="pairing.dismiss", codes=tuple(STATUS_OF), statuses=_DECIDED,
)  # fmt: skip
DEVICES_DISMISS: Final = order(
    "pairing/devices/dismiss", DeviceOrder, PairingAnswer, "Put a client's request aside.",
    capability="pairing.dismiss", codes=tuple(STATUS_OF), statuses=_DECIDED,
)  # fmt: skip

PAIRING: Final = (
    CHANNELS, DEVICES, CHANNELS_APPROVE, DEVICES_APPROVE, CHANNELS_DISMISS, DEVICES_DISMISS,
)  # fmt: skip
