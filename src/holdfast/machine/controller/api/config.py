"""The routes about the agent's configuration.

`?force=true` insists on what would be refused because it is known to be bad, or because a patch
would lose comments. A change reaches the agent by the file, which OpenClaw watches.
"""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from holdfast.machine.controller.api.context import Desk, Route
from holdfast.machine.controller.api.reply import (
    INVALID_BODY,
    answer,
    read_object,
    take_etag,
    take_flag,
    wrong,
)
from holdfast.machine.controller.config.document import CONFIG_BYTES_MAX
from holdfast.machine.controller.config.store import Change
from holdfast.machine.controller.errors import RefusedError
from holdfast.wire.times import time_text

_BODY_BYTES_MAX: Final = 2 * CONFIG_BYTES_MAX
"""A configuration in a request, with room for escapes."""

_VERSION: Final = re.compile(r"base|last-healthy|[0-9a-f]{8,64}")


async def _read(desk: Desk, _request: web.Request) -> web.Response:
    found = await desk.care.config.read()
    return answer({"config": found.config, "etag": found.etag, "plain": found.plain})


async def _versions(desk: Desk, _request: web.Request) -> web.Response:
    rows = []
    for version, verdict in await desk.care.config.versions():
        row: dict[str, object] = {
            "etag": version.etag,
            "at": time_text(version.at_ms),
            "origin": version.origin,
            "verdict": "unknown",
        }
        if verdict is not None:
            row["verdict"] = "healthy" if verdict.healthy else "bad"
            row["verdictAt"] = time_text(verdict.at_ms)
            row["reason"] = verdict.reason
        rows.append(row)
    return answer({"versions": rows})


async def _replace(desk: Desk, request: web.Request) -> web.Response:
    body = await read_object(request, limit=_BODY_BYTES_MAX)
    config = body.get("config")
    if not isinstance(config, dict):
        wrong("config", "want an object")
    change = await desk.care.config.replace(
        config, etag=take_etag(body, request), force=_insists(request)
    )
    return answer(_done(change))


async def _patch(desk: Desk, request: web.Request) -> web.Response:
    patch = await read_object(request, limit=_BODY_BYTES_MAX)
    change = await desk.care.config.patch(
        patch, etag=take_etag(dict(request.query), request), force=_insists(request)
    )
    return answer(_done(change))


async def _restore(desk: Desk, request: web.Request) -> web.Response:
    name = request.match_info["version"]
    if not _VERSION.fullmatch(name):
        text = "version: want base, last-healthy, or at least 8 digits of a version's etag"
        raise RefusedError(400, INVALID_BODY, text, field="version")
    change = await desk.care.config.restore(name, force=_insists(request))
    # The agent sees the file change; there is nothing to signal.
    return answer({**_done(change), "signaled": False})


def _done(change: Change) -> dict[str, object]:
    return {"ok": True, "etag": change.etag, "changed": change.etag != change.before}


def _insists(request: web.Request) -> bool:
    given = request.query.get("force", "false")
    return take_flag({"force": {"true": True, "false": False}.get(given)}, "force", default=False)


CONFIG: Final = (
    Route("GET", "config/read", _read, "config.read"),
    Route("GET", "config/versions", _versions, "config.versions"),
    Route("POST", "config/replace", _replace, "config.replace"),
    Route("POST", "config/patch", _patch, "config.patch"),
    Route("POST", "config/restore/{version}", _restore, "config.restore"),
)
