"""Handlers of the two endpoints that describe all others."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from holdfast.plane import openapi
from holdfast.plane.edge_ports import Handler
from holdfast.wire.call import Call, Reply
from holdfast.wire.endpoints.row import Endpoint


def describe(table: Iterable[Endpoint], *, version: str) -> dict[str, Handler]:
    """Return the handlers by the names of their endpoints; each answer is made once, here."""
    rows = tuple(table)
    json = msgspec.json.encode(openapi.document(rows, version=version))
    html = openapi.page(rows, version=version)

    async def show_openapi(call: Call) -> Reply:  # noqa: ARG001  every handler takes one
        return Reply(json)

    async def show_docs(call: Call) -> Reply:  # noqa: ARG001  every handler takes one
        return Reply(html, content_type="text/html; charset=utf-8")

    return {"plane.openapi": show_openapi, "plane.docs": show_docs}
