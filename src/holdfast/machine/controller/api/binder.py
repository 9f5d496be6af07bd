"""Binds a handler to its row: decodes and checks query and body, encodes answers.

A handler receives what the row declares, in the row's types, and returns a struct of the row's
answer. Invalid requests are refused before the handler, naming the field. Every error is `{error,
code}`, with `field` if it concerns one part of the request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar, cast, get_args

import msgspec
from aiohttp import web

from holdfast.machine.controller.api.context import Context
from holdfast.machine.controller.errors import RefusedError
from holdfast.wire import parsers
from holdfast.wire.controller.endpoint import A, B, ControllerEndpoint, Fault

INVALID_JSON: Final = "invalid_json_body"
INVALID_BODY: Final = "invalid_request_body"

_NAME_SHOWN_MAX: Final = 128
_READ_BYTES: Final = 65_536
_ANY: Final = msgspec.json.Decoder()
_LONG: Final = re.compile(r"of length <= (\d+)")
_AT: Final = re.compile(r"(?P<what>.*) - at `\$\.(?P<field>\w+)", re.DOTALL)
_MISSING: Final = re.compile(r"missing required field `(?P<field>\w+)`")
_UNKNOWN: Final = re.compile(r"unknown field `(?P<field>.*)`", re.DOTALL)

C_co = TypeVar("C_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Call(Generic[C_co]):
    """A request as a handler sees it: path and query texts, and the decoded body."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: C_co

    def number(self, name: str) -> int | None:
        """Return a whole number of the query, None where it is not given; refuse other texts."""
        text = self.query.get(name)
        found = None if text is None else parsers.whole(text)
        if text is not None and found is None:
            raise wrong(name, "want a whole number")
        return found


@dataclass(frozen=True, slots=True)
class Answer(Generic[C_co]):
    """An answer with its own status."""

    body: C_co
    status: int


@dataclass(frozen=True, slots=True)
class Encoded:
    """An answer that is compact JSON already, as the pairing routes have always sent it."""

    content: bytes
    status: int = 200


@dataclass(frozen=True, slots=True)
class Wrong:
    """An invalid request: `want` is for people; `field` is empty if it concerns all of it."""

    code: str
    want: str
    fault: Fault = "form"
    field: str = ""

    def refuse(self) -> RefusedError:
        """Return the refusal for it."""
        if self.field:
            return RefusedError(400, self.code, f"{self.field}: {self.want}", field=self.field)
        return RefusedError(400, self.code, self.want)


Handler: TypeAlias = Callable[[Context, Call[B]], Awaitable[A | Answer[A] | Encoded]]
Serve: TypeAlias = Callable[[Context, web.Request], Awaitable[web.Response]]
Refuse: TypeAlias = Callable[[Wrong], Encoded]


@dataclass(frozen=True, slots=True)
class Route:
    """A row with its handler."""

    row: ControllerEndpoint[Any, Any]
    serve: Serve


def bind(
    row: ControllerEndpoint[B, A],
    handler: Handler[B, A],
    *,
    needs: Callable[[Context], object] = lambda _context: None,
    refuse: Refuse | None = None,
) -> Route:
    """Return the route of a row.

    `needs` raises RefusedError if this machine does not support it, before anything is read.
    `refuse` answers an invalid body in a format of its own.
    """

    async def serve(context: Context, request: web.Request) -> web.Response:
        needs(context)
        call = await _read(row, request)
        if not isinstance(call, Wrong):
            return encode(await handler(context, call))
        if refuse is None:
            raise call.refuse()
        return encode(refuse(call))

    return Route(row, serve)


def encode(answer: Any) -> web.Response:
    """Return an answer, a struct or JSON data, with its status."""
    if isinstance(answer, Encoded):
        return web.Response(
            body=answer.content, status=answer.status, content_type="application/json"
        )
    status = 200
    if isinstance(answer, Answer):
        answer, status = answer.body, answer.status
    # In the standard library's format, which existing clients have always received.
    return web.json_response(text=json.dumps(msgspec.to_builtins(answer)), status=status)


def problem(status: int, error: str, code: str) -> web.Response:
    """Return an error answer; without a code where compat/controller.md has none."""
    return encode(Answer({"error": error, "code": code} if code else {"error": error}, status))


def wrong(field: str, want: str) -> RefusedError:
    """Return the refusal of a `field` with an invalid value."""
    return Wrong(INVALID_BODY, want, field=field).refuse()


async def _read(row: ControllerEndpoint[B, A], request: web.Request) -> Call[B] | Wrong:
    query = dict(request.query)
    header = request.headers.get("If-Match")
    if row.if_match == "query" and header is not None:
        query.setdefault("etag", header)
    path = dict(request.match_info)
    given = path | query
    for param in row.params:
        value = given.get(param.name)
        if value is not None and not re.fullmatch(param.pattern, value):
            return Wrong(INVALID_BODY, f"want {param.summary}", field=param.name)
    if row.request is None:
        return Call(path, query, cast("B", None))
    body = await _object(row, request)
    if isinstance(body, Wrong):
        return body
    if row.if_match == "body" and header is not None:
        body.setdefault("etag", header)
    try:
        return Call(path, query, msgspec.convert(body, row.request))
    except msgspec.ValidationError as error:
        return explain(str(error), row.request)


async def _object(
    row: ControllerEndpoint[Any, Any], request: web.Request
) -> dict[str, Any] | Wrong:
    """Return the body, which must be a JSON object within the row's limit."""
    parts: list[bytes] = []
    left = row.body_bytes_max
    while part := await request.content.read(_READ_BYTES):
        left -= len(part)
        if left < 0:
            text = f"The body has more than {row.body_bytes_max} bytes"
            raise RefusedError(413, "body_too_large", text)
        parts.append(part)
    content = b"".join(parts) or (b"{}" if row.may_be_empty else b"")
    try:
        found = parsers.from_json(_ANY, content)
    except msgspec.DecodeError:
        return Wrong(INVALID_JSON, "The body is not JSON")
    if not isinstance(found, dict):
        return Wrong(INVALID_BODY, "The body must be a JSON object")
    if parsers.is_deep(found):
        text = f"The body is nested more than {parsers.JSON_DEPTH_MAX} deep"
        return Wrong(INVALID_BODY, text)
    return found


def explain(error: str, request: Any) -> Wrong:
    """Return msgspec's error about a body, in the words that its field declares."""
    unknown = _UNKNOWN.search(error)
    if unknown is not None:
        names = ", ".join(field.encode_name for field in msgspec.structs.fields(request))
        want = f"cannot be changed here; want {names}"
        return Wrong(INVALID_BODY, want, field=unknown["field"][:_NAME_SHOWN_MAX])
    missing = _MISSING.search(error)
    if missing is not None:
        return _name(missing["field"], "missing", "missing", request)
    at = _AT.search(error)
    if at is None:
        return Wrong(INVALID_BODY, error)
    long = _LONG.search(at["what"])
    if long is not None:
        return _name(at["field"], "length", f"want at most {long[1]} characters", request)
    fault: Fault = "type" if ", got `" in at["what"] else "form"
    return _name(at["field"], fault, "want a text", request)


def _name(name: str, fault: Fault, otherwise: str, request: Any) -> Wrong:
    """Return what is wrong with a field, in its declared words if there are any."""
    for field in msgspec.structs.fields(request):
        if field.encode_name == name:
            for meta in _metas(field.type):
                own = (meta.extra or {}).get(fault) or meta.description
                if own:
                    return Wrong(INVALID_BODY, f"want {own}", fault, name)
    return Wrong(INVALID_BODY, otherwise, fault, name)


def _metas(declared: Any) -> list[msgspec.Meta]:
    """Return the metadata of a type and of its alternatives."""
    metas = [
        meta for meta in getattr(declared, "__metadata__", ()) if isinstance(meta, msgspec.Meta)
    ]
    return metas + [meta for part in get_args(declared) for meta in _metas(part)]
