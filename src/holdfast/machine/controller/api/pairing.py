"""Routes of pairing. Lists come from memory; an order is answered with `{success, message}`."""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec

from holdfast.machine.controller.api.binder import Answer, Call, Encoded, Handler, Wrong, bind
from holdfast.machine.controller.api.context import Context
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.pairing.decisions import WRONG, Order, refuse
from holdfast.machine.controller.pairing.state import Ruling
from holdfast.machine.controller.pairing.wiring import PairingParts
from holdfast.wire.controller import pairing as wire
from holdfast.wire.controller.pairing import (
    PAIRING_INVALID,
    PAIRING_UNKNOWN,
    PAIRING_UNSUPPORTED,
    STATUS_OF,
    ChannelOrder,
    DeviceOrder,
    Kind,
    PairingAnswer,
)


def _lists(kind: Kind) -> Handler[None, Any]:
    async def show(context: Context, call: Call[None]) -> Encoded | Answer[Any]:
        pairing = _pairing_of(context)
        if call.query.get("refresh") == "true":
            listing, content = await pairing.refreshed(kind)
        else:
            listing = pairing.listing(kind)
            content = listing.content
        if listing.body["state"] != "unknown":
            return Encoded(content)
        body = {**json.loads(content), "error": listing.body["error"].message}
        del body["requests"]  # "unknown" must not read as "no requests"
        return Answer({**body, "code": PAIRING_UNKNOWN}, STATUS_OF[PAIRING_UNKNOWN])

    return show


def _orders(ruling: Ruling) -> Handler[Any, PairingAnswer]:
    async def take(context: Context, call: Call[ChannelOrder | DeviceOrder]) -> Encoded:
        order = read_order(call.body, ruling)
        if isinstance(order, PairingAnswer):
            return _answer(order)
        return _answer(await _pairing_of(context).decide(order))

    return take


def read_order(body: ChannelOrder | DeviceOrder, ruling: Ruling) -> Order | PairingAnswer:
    """Return the order in a body, or the answer that names what is missing."""
    request_id, fingerprint = body.request_id or "", body.fingerprint or ""
    if isinstance(body, DeviceOrder):
        if not request_id:
            return _missing("requestId")
        return Order("devices", ruling, request_id=request_id, fingerprint=fingerprint)
    if not body.channel:
        return _missing("channel")
    code = body.code or ""
    if not (code or request_id):
        return _missing("code")
    return Order("channels", ruling, body.channel, code, request_id, fingerprint)


def _refuse(found: Wrong) -> Encoded:
    """Return the answer to an invalid body, in the format of an order."""
    if not found.field:
        return _answer(refuse(PAIRING_INVALID, "Invalid request body"))
    if found.fault == "length":
        return _answer(refuse(PAIRING_INVALID, WRONG[found.field], field=found.field))
    return _answer(_missing(found.field))


def _answer(found: PairingAnswer) -> Encoded:
    status = 200 if found.success else STATUS_OF[found.code]
    return Encoded(msgspec.json.encode(found), status)


def _pairing_of(context: Context) -> PairingParts:
    """Return the pairing runtime; raise RefusedError if the agent has no pairing."""
    if context.pairing is None:
        text = "This agent does not pair"
        raise RefusedError(STATUS_OF[PAIRING_UNSUPPORTED], PAIRING_UNSUPPORTED, text)
    return context.pairing


def _missing(name: str) -> PairingAnswer:
    return refuse(PAIRING_INVALID, f"Missing required field: {name}", field=name)


PAIRING: Final = (
    bind(wire.CHANNELS, _lists("channels"), needs=_pairing_of),
    bind(wire.DEVICES, _lists("devices"), needs=_pairing_of),
    bind(wire.CHANNELS_APPROVE, _orders("approved"), needs=_pairing_of, refuse=_refuse),
    bind(wire.DEVICES_APPROVE, _orders("approved"), needs=_pairing_of, refuse=_refuse),
    bind(wire.CHANNELS_DISMISS, _orders("dismissed"), needs=_pairing_of, refuse=_refuse),
    bind(wire.DEVICES_DISMISS, _orders("dismissed"), needs=_pairing_of, refuse=_refuse),
)
