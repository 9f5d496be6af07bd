"""The routes of pairing. A list is answered from memory; an order answers `{success, message}`."""

from __future__ import annotations

import json
from typing import Final

import msgspec
from aiohttp import web

from holdfast.machine.controller.api.context import Desk, Handler, Route
from holdfast.machine.controller.api.reply import answer, problem
from holdfast.machine.controller.pairing.decisions import Order, refuse
from holdfast.machine.controller.pairing.state import Ruling
from holdfast.wire.controller.pairing import (
    PAIRING_INVALID,
    PAIRING_UNKNOWN,
    PAIRING_UNSUPPORTED,
    STATUS_OF,
    Kind,
    PairingAnswer,
)


def _lists(kind: Kind) -> Handler:
    async def show(desk: Desk, request: web.Request) -> web.Response:
        room = desk.pairing
        if room is None:
            return _unsupported()
        if request.query.get("refresh") == "true":
            listing, content = await room.refreshed(kind)
        else:
            listing = room.listing(kind)
            content = listing.content
        if listing.body["state"] != "unknown":
            return web.Response(body=content, content_type="application/json")
        reason = listing.body["error"]["message"]
        body = {**json.loads(content), "error": reason, "code": PAIRING_UNKNOWN}
        del body["requests"]  # nobody may take "not known" for "nobody waits"
        return answer(body, status=STATUS_OF[PAIRING_UNKNOWN])

    return show


def _orders(kind: Kind, ruling: Ruling) -> Handler:
    async def take(desk: Desk, request: web.Request) -> web.Response:
        if desk.pairing is None:
            return _unsupported()
        order = read_order(kind, ruling, await request.read())
        found = order if isinstance(order, PairingAnswer) else await desk.pairing.decide(order)
        status = 200 if found.success else STATUS_OF[found.code]
        return web.Response(
            body=msgspec.json.encode(found), status=status, content_type="application/json"
        )

    return take


def read_order(kind: Kind, ruling: Ruling, content: bytes) -> Order | PairingAnswer:
    """Return the order in a body, or the answer that says which field is wrong."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        return refuse(PAIRING_INVALID, "Invalid request body")
    if not isinstance(body, dict):
        return refuse(PAIRING_INVALID, "Invalid request body")
    texts = {}
    for name in ("channel", "code", "requestId", "fingerprint"):
        value = body.get(name)
        if value is not None and not isinstance(value, str):
            return _missing(name)
        texts[name] = value or ""
    if kind == "devices":
        texts["channel"] = texts["code"] = ""
        if not texts["requestId"]:
            return _missing("requestId")
    elif not texts["channel"]:
        return _missing("channel")
    elif not (texts["code"] or texts["requestId"]):
        return _missing("code")
    return Order(
        kind, ruling, texts["channel"], texts["code"], texts["requestId"], texts["fingerprint"]
    )


def _unsupported() -> web.Response:
    """Return the answer of a machine whose agent asks nobody for approval."""
    status = STATUS_OF[PAIRING_UNSUPPORTED]
    return problem(status, "This agent does not pair", PAIRING_UNSUPPORTED)


def _missing(name: str) -> PairingAnswer:
    return refuse(PAIRING_INVALID, f"Missing required field: {name}", field=name)


PAIRING: Final = (
    Route("GET", "pairing/channels", _lists("channels"), "pairing.channels"),
    Route("GET", "pairing/devices", _lists("devices"), "pairing.devices"),
    Route("POST", "pairing/channels/approve", _orders("channels", "approved"), "pairing.channels"),
    Route("POST", "pairing/devices/approve", _orders("devices", "approved"), "pairing.devices"),
    Route("POST", "pairing/channels/dismiss", _orders("channels", "dismissed"), "pairing.dismiss"),
    Route("POST", "pairing/devices/dismiss", _orders("devices", "dismissed"), "pairing.dismiss"),
)
