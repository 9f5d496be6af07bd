"""The route by which the plane renews a key of a machine that runs."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from holdfast.kernel.secret import Secret
from holdfast.machine.controller.agent.key_renewal import ALLOWED
from holdfast.machine.controller.api.context import Desk, Route
from holdfast.machine.controller.api.reply import INVALID_BODY, answer, read_object, wrong
from holdfast.machine.controller.errors import RefusedError

VALUE_CHARS_MAX: Final = 8_192
"""Characters of a key; what the plane takes for any variable."""


async def _patch(desk: Desk, request: web.Request) -> web.Response:
    body = await read_object(request)
    if not body:
        raise RefusedError(400, INVALID_BODY, f"Want at least one of {', '.join(ALLOWED)}")
    for name, value in body.items():
        if name not in ALLOWED:
            wrong(name[:128], f"cannot be changed here; want {', '.join(ALLOWED)}")
        if not isinstance(value, str) or not value or "\0" in value:
            wrong(name, "want a text that is not empty")
        if len(value) > VALUE_CHARS_MAX:
            wrong(name, f"want at most {VALUE_CHARS_MAX} characters")
    done = await desk.care.renewal.apply({name: Secret(value) for name, value in body.items()})
    return answer(
        {
            "ok": True,
            "reloaded": done.reloaded,
            "signaled": done.signaled,
            "migratedProfiles": done.moved,
        }
    )


ENVIRONMENT: Final = (Route("POST", "env/patch", _patch, "env.patch"),)
