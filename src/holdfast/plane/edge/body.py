"""Read and decode a request, within bounds.

Size and time are measured while reading; no header is trusted. An error names the field and the
fix, and never repeats a value, which might be a password in the wrong field.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from starlette.types import Receive

from holdfast.plane.edge.limits import BODY_BYTES_PER_S
from holdfast.plane.edge.ports import EdgeLimits
from holdfast.plane.edge.routes import Route
from holdfast.wire import forms, parsers
from holdfast.wire.api.call import Refusal

JSON: Final = "application/json"
FORM: Final = "application/x-www-form-urlencoded"

_AT: Final = re.compile(r" - at (?:`key` in )?`\$\.?(?P<field>[^`]*)`$")
_FIELD: Final = re.compile(r"field `(?P<field>[^`]*)`")
_VALUE: Final = re.compile(r"'[^']*'|\"[^\"]*\"")
_NAME_SHOWN_MAX: Final = 64
_LONE: Final = re.compile(
    rb"\\u[dD](?:[89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD])[c-fC-F][0-9a-fA-F]{2})"
)
"""An escape of half a surrogate pair, where no escaped backslash is before it."""
_NOT_FINITE: Final = re.compile(rb"-?Infinity|NaN")
_BEYOND: Final = b"1e999"
_BACKSLASH: Final = rb"\\"
_QUOTE: Final = rb"\""
_HIDDEN: Final = b"\0\0"
_HIDDEN_QUOTE: Final = b"\0\1"
"""These stand for an escaped backslash and quote meanwhile; JSON has no such bytes."""
_UNKNOWN: Final = rb"\ufffd"


class ClientGoneError(Exception):
    """The caller disconnected before its body was complete."""


async def read_body(
    receive: Receive, header: Mapping[str, str], *, bytes_max: int, limits: EdgeLimits
) -> bytes:
    """Return the body; refuse (413) a larger one, (408) a slow one."""
    declared = parsers.whole(header.get("content-length", "0"))
    if declared is None:
        raise Refusal(
            400, "bad_content_length", "the header is not one number", field="content-length",
            fix="send the number of the body's bytes, in digits",
        )  # fmt: skip
    if declared > bytes_max:
        _refuse_size(bytes_max)
    size = bytes_max if "transfer-encoding" in header else declared
    time_s = limits.body_read_s + size // BODY_BYTES_PER_S
    try:
        async with asyncio.timeout(time_s):
            return await _read(receive, bytes_max)
    except TimeoutError as error:
        raise Refusal(
            408, "body_too_slow", f"the body did not arrive within {time_s:g} s",
            fix="send it again over a better connection",
        ) from error  # fmt: skip


async def _read(receive: Receive, bytes_max: int) -> bytes:
    """Return the body, counting its bytes as they arrive."""
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > bytes_max:
            _refuse_size(bytes_max)
        chunks.append(chunk)
        if not message.get("more_body", False):
            return b"".join(chunks) if len(chunks) > 1 else chunk


def _refuse_size(bytes_max: int) -> None:
    raise Refusal(
        413, "body_too_large", f"the body has more than {bytes_max} bytes",
        fix=f"send at most {bytes_max} bytes",
    )  # fmt: skip


def body_kind(header: Mapping[str, str], route: Route) -> str:
    """Return JSON or FORM; refuse (415) anything else. Controllers may leave the type out."""
    given = header.get("content-type", "").partition(";")[0].strip().lower()
    if route.row.scope == "machine":
        return JSON
    if given not in {JSON, FORM}:
        raise Refusal(
            415, "wrong_content_type", "the body must be JSON or a form", field="content-type",
            fix=f"send the header `content-type: {JSON}`",
        )  # fmt: skip
    return given


def decode_json(route: Route, body: bytes) -> Any:
    """Return the decoded request; refuse (400) an invalid one, naming the field."""
    if route.decoder is None:
        return None
    try:
        found = parsers.from_json(route.decoder, body)
    except msgspec.ValidationError as error:
        raise refused_field(str(error), route) from None
    except msgspec.DecodeError:
        mended = mend(body) if route.row.scope in {"brain", "node"} else body
        if mended != body:
            return decode_json(route, mended)
        raise Refusal(
            400, "not_json", "the body is not valid JSON", fix=_see(route)
        ) from None  # fmt: skip
    if route.takes_any and parsers.is_deep(found):
        raise Refusal(
            400, "too_deep", "the body is nested too deeply",
            fix=f"nest objects and lists at most {parsers.JSON_DEPTH_MAX} deep",
        )  # fmt: skip
    return found


def mend(body: bytes) -> bytes:
    """Return JSON of an encoder that is not strict, Python's own among them, as strict JSON."""
    return mend_surrogates(mend_numbers(body))


def mend_numbers(body: bytes) -> bytes:
    """Return JSON in which each NaN and Infinity is a number that no decoder accepts as a value.

    The body is then JSON, and the row that holds such a number is refused alone.
    """
    if b"\0" in body or not _NOT_FINITE.search(body):
        return body
    hidden = body.replace(_BACKSLASH, _HIDDEN).replace(_QUOTE, _HIDDEN_QUOTE)
    parts = hidden.split(b'"')
    parts[::2] = [_NOT_FINITE.sub(_BEYOND, outside) for outside in parts[::2]]
    return b'"'.join(parts).replace(_HIDDEN_QUOTE, _QUOTE).replace(_HIDDEN, _BACKSLASH)


def mend_surrogates(body: bytes) -> bytes:
    """Return JSON in which each escape of a lone surrogate is replaced by U+FFFD.

    Other JSON encoders, Python's own among them, emit lone surrogates, and a brain must not lose
    a row because of one.
    """
    if b"\0" in body:
        return body
    hidden = body.replace(_BACKSLASH, _HIDDEN)
    return _LONE.sub(_UNKNOWN.replace(b"\\", rb"\\"), hidden).replace(_HIDDEN, _BACKSLASH)


def read_form(body: bytes, limits: EdgeLimits) -> dict[str, Any]:
    """Return the fields of a form; `name[]` collects its values. Refuse (400) a malformed one."""
    fields: dict[str, Any] = {}
    for name, value in split_query(body.decode("latin-1"), limits):
        if name.endswith("[]"):
            fields.setdefault(name[:-2], []).append(value)
        elif name in fields:
            raise Refusal(
                400, "bad_field", "a field is given twice", field=name[:_NAME_SHOWN_MAX],
                fix="give it once, or name it with [] where it takes many",
            )  # fmt: skip
        else:
            fields[name] = value
    return fields


def decode_form(route: Route, fields: dict[str, Any]) -> Any:
    """Return the request made of a form's fields; refuse (400) an invalid one."""
    if route.row.request is None:
        return None
    try:
        return msgspec.convert(fields, route.row.request, strict=False)
    except msgspec.ValidationError as error:
        raise refused_field(str(error), route) from None


def split_query(text: str, limits: EdgeLimits) -> list[tuple[str, str]]:
    """Return the pairs of a query string or form; refuse (400) one that is malformed or huge."""
    found = parsers.pairs(text, most=limits.query_fields)
    if found is None:
        raise Refusal(
            400, "bad_encoding", "the query or form is not valid URL encoding in UTF-8",
            fix=f"send at most {limits.query_fields} fields, percent-encoded",
        )  # fmt: skip
    return found


def read_query(route: Route, text: str, limits: EdgeLimits) -> dict[str, str]:
    """Return the validated query parameters; refuse (400) undeclared ones.

    Browsers add parameters of their own to pages, which therefore ignore unknown ones.
    """
    if len(text) > limits.query_chars:
        raise Refusal(
            400, "query_too_long", f"the query has more than {limits.query_chars} characters",
            fix="shorten it",
        )  # fmt: skip
    values: dict[str, str] = {}
    for name, value in split_query(text, limits) if text else ():
        pattern = route.query.get(name)
        if pattern is None:
            if route.row.kind == "json":
                _refuse_parameter(route, name, "there is no such parameter")
            continue
        if name in values or pattern.fullmatch(value) is None:
            _refuse_choice(route, name, value)
            form = forms.form_of(pattern.pattern)
            _refuse_parameter(route, name, f"{form or pattern.pattern}, given once")
        values[name] = value
    missing = sorted(route.required - values.keys())
    if missing:
        _refuse_parameter(route, missing[0], "it is required")
    return values


def _refuse_choice(route: Route, name: str, value: str) -> None:
    """Refuse a value that is not one of the parameter's choices; return if it has none."""
    found = next((p.unknown(value) for p in route.row.params if p.name == name), None)
    if found is not None:
        raise Refusal(400, "unknown_value", found[0], field=name, fix=found[1])


def _refuse_parameter(route: Route, name: str, why: str) -> None:
    known = ", ".join(sorted(route.query)) or "none"
    raise Refusal(
        400, "bad_parameter", f"query parameter: {why}", field=name[:_NAME_SHOWN_MAX],
        fix=f"parameters of {route.row.name}: {known}",
    )  # fmt: skip


def refused_field(text: str, route: Route) -> Refusal:
    """Return the refusal of a msgspec error, without any value."""
    at = _AT.search(text)
    bare = _AT.sub("", text)
    formed = forms.in_words(bare)
    what = _VALUE.sub("…", bare) if formed == bare else formed
    named = _FIELD.search(what)
    places = [at["field"] if at else "", named["field"] if named else ""]
    where = ".".join(place for place in places if place)[:128]
    return Refusal(400, "bad_field", what[:512], field=where, fix=_see(route))


def _see(route: Route) -> str:
    """Return the reference to the documentation of a request."""
    name = getattr(route.row.request, "__name__", "nothing")
    return f"send {name} as described in /api/openapi.json"
