"""Answers of the control API, and its requests read within limits.

Every error is `{error, code}`, and one about a part of the request names that part in `field`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn

import msgspec
from aiohttp import web

from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.limits import BODY_BYTES_MAX

INVALID_JSON: Final = "invalid_json_body"
INVALID_BODY: Final = "invalid_request_body"


def answer(body: Mapping[str, object], status: int = 200) -> web.Response:
    """Return a JSON answer."""
    return web.json_response(dict(body), status=status)


def problem(status: int, error: str, code: str) -> web.Response:
    """Return an error; without a code where the contract wants none."""
    return answer({"error": error, "code": code} if code else {"error": error}, status)


async def read_object(
    request: web.Request, *, limit: int = BODY_BYTES_MAX, empty_is: str = ""
) -> dict[str, Any]:
    """Return the body, which must be a JSON object of at most `limit` bytes; raise RefusedError.

    `empty_is` is taken for a body that is empty.
    """
    try:
        found = msgspec.json.decode(await _read(request, limit) or empty_is.encode())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400, INVALID_JSON, "The body is not JSON") from error
    if not isinstance(found, dict):
        raise RefusedError(400, INVALID_BODY, "The body must be a JSON object")
    return found


async def _read(request: web.Request, limit: int) -> bytes:
    parts: list[bytes] = []
    room = limit
    while part := await request.content.read(65_536):
        room -= len(part)
        if room < 0:
            raise RefusedError(413, "body_too_large", f"The body has more than {limit} bytes")
        parts.append(part)
    return b"".join(parts)


def wrong(field: str, want: str) -> NoReturn:
    """Refuse a body whose `field` is not what it must be."""
    raise RefusedError(400, INVALID_BODY, f"{field}: {want}", field=field)


def take_text(body: Mapping[str, Any], field: str, *, most: int) -> str:
    """Return a text of a body that must be there; raise RefusedError naming it."""
    value = body.get(field)
    if not isinstance(value, str):
        wrong(field, "want a text" if field in body else "missing")
    if len(value) > most:
        wrong(field, f"want at most {most} characters")
    return value


def take_etag(body: Mapping[str, Any], request: web.Request) -> str | None:
    """Return the etag that a change names, in the body or as If-Match; None when it names none."""
    given = body.get("etag", request.headers.get("If-Match"))
    if given is None:
        return None
    if not isinstance(given, str) or not given.strip().strip('"'):
        wrong("etag", "want the etag that was read, or leave it out")
    return given


def take_flag(body: Mapping[str, Any], field: str, *, default: bool) -> bool:
    """Return a flag of a body; raise RefusedError when it is no boolean."""
    value = body.get(field, default)
    if not isinstance(value, bool):
        wrong(field, "want true or false")
    return value
