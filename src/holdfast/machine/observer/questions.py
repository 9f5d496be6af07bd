"""What the observer asks of the plane: small questions whose types are all that they can carry."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, Struct

from holdfast.wire.api.browser_keys import ObserverCopy
from holdfast.wire.consent import CLASSES, ContentClass
from holdfast.wire.limits import COUNTER_MAX, TEXT_MAX

_Label = Annotated[str, Meta(max_length=TEXT_MAX)]
_Number = Annotated[int, Meta(ge=0, le=COUNTER_MAX)]


class Heartbeat(Struct, frozen=True, kw_only=True):
    """A sign of life. These fields are all that can be said; none has content.

    `queue` is how many uploads wait, by class, `seen_number` the highest number of a document that
    was taken.
    """

    node_id: _Label
    ts: _Label
    platform: _Label
    version: _Label
    e2e: bool
    seen_number: _Number
    queue: Annotated[dict[ContentClass, _Number], Meta(max_length=len(CLASSES))]
    client: Literal["holdfast-observer"] = "holdfast-observer"


class WakePoll(Struct, frozen=True, kw_only=True):
    """Ask to be answered when a heartbeat is wanted, or after `wait` seconds."""

    wait: _Number


class Register(Struct, frozen=True, kw_only=True):
    """Ask for a key, for a machine without one."""

    hostname: _Label
    machine_id: _Label
    platform: _Label
    source: _Label
    sandbox: _Label = ""


class Reconnect(Struct, frozen=True, kw_only=True):
    """Ask what is known of a key that this machine has already."""

    api_key: Annotated[str, Meta(max_length=512)]
    hostname: _Label
    machine_id: _Label
    existing_node_id: _Label


class AskBrowser(Struct, frozen=True, kw_only=True):
    """Ask for the public key of one of the owner's browsers, by the id of its fingerprint."""

    browser: _Label


Question: TypeAlias = Heartbeat | WakePoll | Register | Reconnect | AskBrowser | ObserverCopy
"""`ObserverCopy` is the content key, sealed to a browser that a person named by its fingerprint."""
