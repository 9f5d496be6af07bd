"""Requests made from a seed: a valid one of some row of an endpoint table, then bent.

One seed is one request, for ever: what fails is run again by its number. Most of a request stays
valid, so that what is bent is reached: nothing behind a door is fuzzed by knocking on it alone.
"""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import inspect

from holdfast.wire.api.endpoint import Endpoint, Param
from tests.fuzz import agent
from tests.support.samples import sample_param

WEIGHTY_ONE_IN = 50
"""How often a row is taken whose success costs much or stays: makes a thing, starts a process."""

TEXTS: Sequence[bytes] = (
    b"", b" ", b"0", b"-1", b"+1", b"1_0", b" 5 ", b"5 ", b"\t5", b"1e9", b"0x10", b"1.0", b"NaN",
    b"Infinity", b"-Infinity", b"9" * 15, b"9" * 19, b"9" * 20, b"9" * 200, b"9" * 5_000,
    b"18446744073709551616", b"9223372036854775807", b"9223372036854775808", b"00000000000001",
    b"%", b"%0", b"%zz", b"%ff", b"%00", b"%0d%0aset-cookie:a=b", b"%c0%af", b"%ed%a0%80",
    b"%f0%9f%98%80", b"\xff\xfe", b"\xc3\xa9", b"\xed\xa0\x80", b"\xb2\xb3", b"\xd9\xa3", b"'",
    b'"', b"\\", b"..", b"../../etc/passwd", b"/", b"//", b"a" * 300, b"a" * 9_000, b"null",
    b"true", b"[]", b"{}", b"<script>", b"' OR 1=1 --", b"*", b"o", b"o-1", b"o" + b"9" * 21,
    b"1-2", b"1-2-3", b"-", b"9" * 19 + b"-" + b"9" * 19, b"2026-11-21T09:30:00.000Z",
    b"2026-02-30T00:00:00", b"9999-12-31T23:59:59-23:59", b"0001-01-01T00:00:00+23:59", b"\x7f",
    b"http://[::1", b"http://[", b"http://a:b", b"http://plane.test:99999", b"http://\xbd.test",
    b"http://[fe80::1%25eth0]", b"null://", b"http://a@b", b"//", b":", b"@", b"[", b"]", b"::1",
    b"[::1]:80", b"1.2.3.4:5", b"fe80::1%a/b", b"999.1.1.1", b"xn--a", b"a..b", b",,,,", b";;;=;",
    b"a=b=c", b'hf_session="\\400\\377"', b"hf_session=", b"hf_session=hfs_x; hf_session=y",
    b"Bearer", b"Bearer ", b"bearer  x", b"Basic Og==", b"Bearer \xff", b"Bearer " + b"a" * 5_000,
    b"gzip", b"chunked, chunked", b"identity", b"multipart/form-data; boundary=",
    b"application/x-www-form-urlencoded", b"application/json; charset=utf-16", b"text/plain",
)  # fmt: skip
"""What stands where a header, parameter or field is expected."""

JSONS: Sequence[bytes] = (
    b"", b"{", b"}", b"[]", b"null", b'"a"', b"NaN", b"{}{}", b'{"a":1,"a":2}', b'{"":0}',
    b"[" * 900, b"[" * 100_000, b'{"a":' * 900 + b"1" + b"}" * 900, b'{"a":' * 5_000,
    b"[" * 480 + b"]" * 480, b'{"a":"\\ud800"}', b'{"a":"\\u0000"}', b'{"\\udfff":1}',
    b'{"a":' + b"9" * 400 + b"}", b'{"a":1e400}', b'{"a":-0.0}', b'{"a":\xff}', b"\xef\xbb\xbf{}",
    b'{"a":"\xed\xa0\x80"}', b"{\x00}", b"\x00" * 64, b" " * 70_000, b'"' + b"a" * 70_000 + b'"',
)  # fmt: skip
"""Bodies that are not what is expected, each in a way of its own."""

VALUES: Sequence[Any] = (
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30,
    10**308, 10**309, 10**400, 0.5, -0.0, 1e308, 5e-324, "", "a", "\x00", "\n", "a\nb", "a" * 129,
    "a" * 70_000, "\ufffe", "\U0001f600" * 40, "9" * 400, "../..", "http://[", "c" + "9" * 30,
    "2026-02-30T00:00:00Z", "9999-12-31T23:59:59-23:59", [], {}, [[]], [None], [{}], {"": ""},
    {"a": {"a": {"a": []}}}, [0] * 600, {"a\x00": 1}, "instance", "o1", "c1", "l1",
)  # fmt: skip
"""What stands where a field of a body is expected."""

HEADERS: Sequence[bytes] = (
    b"host", b"origin", b"referer", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest",
    b"cookie", b"authorization", b"content-type", b"content-length", b"transfer-encoding",
    b"content-encoding", b"expect", b"connection", b"upgrade", b"accept", b"accept-encoding",
    b"accept-language", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"forwarded",
    b"idempotency-key", b"x-csrf-token", b"if-none-match", b"if-match", b"last-event-id", b"range",
    b"x-holdfast-gateway-token", b"x-kiloclaw-gateway-token", b"x-holdfast-proxy-token", b"te",
    b"x-holdfast-region", b"fly-region", b"user-agent", b"hx-request", b"x-http-method-override",
)  # fmt: skip


@dataclass(frozen=True)
class Door:
    """A table of routes and who may pass: the credentials of a row are headers."""

    name: str
    host: bytes
    rows: Sequence[Endpoint]
    credentials: Callable[[random.Random, Endpoint], list[tuple[bytes, bytes]]]
    values: Mapping[str, Sequence[str]]
    weighty: frozenset[str] = frozenset()
    path_of: Callable[[random.Random, Endpoint], str] = lambda _draw, row: row.path
    finish: Callable[[random.Random, Case], None] = lambda _draw, _case: None
    """Completes a valid request before it is bent; it may frame the body itself (`framed`)."""


@dataclass
class Case:
    """A request in its parts, and whether what is sent may leave the server waiting for more."""

    door: str
    row: str
    method: bytes
    target: bytes
    headers: list[tuple[bytes, bytes]]
    body: bytes
    bent: list[str] = field(default_factory=list)
    prefix: bytes = b""
    pieces: int = 1
    may_wait: bool = False
    framed: bool = False
    """Whether the head says how long the body is, or that there are frames of a WebSocket."""

    def raw(self) -> bytes:
        """Return the request as it is sent."""
        head = b"".join(b"%b: %b\r\n" % pair for pair in self.headers)
        return b"%b%b %b HTTP/1.1\r\n%b\r\n%b" % (
            self.prefix, self.method, self.target, head, self.body
        )  # fmt: skip

    def parts(self) -> list[bytes]:
        """Return it in as many pieces as it is sent in."""
        raw = self.raw()
        step = max(1, -(-len(raw) // self.pieces))
        return [raw[at : at + step] for at in range(0, len(raw), step)]


def make(seed: int, doors: Sequence[Door]) -> Case:
    """Return the request of a seed."""
    draw = random.Random(seed)
    door = draw.choice(doors)
    row = draw.choice(door.rows)
    while row.name in door.weighty and draw.randrange(WEIGHTY_ONE_IN):
        row = draw.choice(door.rows)
    case = _valid(draw, door, row)
    door.finish(draw, case)
    for _ in range(draw.choice((0, 1, 1, 1, 2, 2, 3))):
        bend = draw.choice(_BENDS)
        bend(draw, case, row)
        case.bent.append(bend.__name__.strip("_"))
    _frame(draw, case)
    return case


def relayed(draw: random.Random, case: Case) -> None:
    """Make a request that an agent may get: of any method and body, or for a WebSocket."""
    origin = (b"origin", b"http://" + case.headers[0][1])
    case.headers.append((agent.ANSWER, b"%d" % draw.randrange(2**31)))
    case.framed = True
    if draw.random() < 0.4:
        case.headers.append((b"accept", b"text/html"))
    kind = draw.random()
    if kind < 0.25:
        case.headers += [
            origin, (b"connection", b"Upgrade"), (b"upgrade", b"websocket"),
            (b"sec-websocket-version", b"13"),
            (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
        ]  # fmt: skip
        case.body = b"".join(draw.choice(agent.FRAMES) for _ in range(draw.randrange(4)))
    elif kind < 0.55:
        case.method = draw.choice((b"GET", b"GET", b"HEAD", b"OPTIONS"))
    else:
        case.method = draw.choice((b"POST", b"PUT", b"PATCH", b"DELETE", b"GET"))
        case.headers.append(origin)
        if draw.random() < 0.5:
            case.headers.append((b"transfer-encoding", b"chunked"))
            bad = draw.random() < 0.3
            case.body = draw.choice(agent.BAD_CHUNKS if bad else agent.CHUNKS)
            case.bent += ["bad_chunks"] if bad else []
        else:
            case.body = b"a" * draw.choice((0, 1, 5, 70_000))
            case.headers.append((b"content-length", b"%d" % len(case.body)))


def _valid(draw: random.Random, door: Door, row: Endpoint) -> Case:
    path, query = door.path_of(draw, row), []
    for param in row.params:
        value = _param(draw, param, door)
        if f"{{{param.name}}}" in path:
            path = path.replace(f"{{{param.name}}}", quote(value, safe="/:@"))
        elif param.required or draw.random() < 0.4:
            query.append(f"{param.name}={quote(value)}")
    body = b""
    headers = [(b"host", door.host), *door.credentials(draw, row)]
    if row.request is not None:
        body = msgspec.json.encode(_value(draw, _described(row.request), nasty=0.0))
        headers.append((b"content-type", b"application/json"))
    target = path + ("?" + "&".join(query) if query else "")
    return Case(door.name, row.name, row.method.encode(), target.encode(), headers, body)


def _param(draw: random.Random, param: Param, door: Door) -> str:
    known = [
        value for value in door.values.get(param.name, ()) if re.fullmatch(param.pattern, value)
    ]
    return draw.choice(known) if known else sample_param(param.name, param.pattern)


# -- what is bent


def _bend_path(draw: random.Random, case: Case, row: Endpoint) -> None:
    del row
    parts = case.target.split(b"/")
    parts[draw.randrange(len(parts))] = _text(draw).replace(b" ", b"%20")
    case.target = b"/".join(parts) if draw.random() < 0.8 else _text(draw)


def _bend_query(draw: random.Random, case: Case, row: Endpoint) -> None:
    names = [param.name.encode() for param in row.params] or [b"limit", b"after"]
    name = draw.choice(names) if draw.random() < 0.9 else _text(draw)
    path, _, query = case.target.partition(b"?")
    kept = [pair for pair in query.split(b"&") if pair and pair.split(b"=")[0] != name]
    case.target = path + b"?" + b"&".join([*kept, name + b"=" + _text(draw)])


def _bend_header(draw: random.Random, case: Case, row: Endpoint) -> None:
    del row
    name = draw.choice(HEADERS)
    if draw.random() < 0.7:
        case.headers = [pair for pair in case.headers if pair[0] != name]
    case.headers.insert(draw.randrange(len(case.headers) + 1), (name, _text(draw)))


def _drop_header(draw: random.Random, case: Case, row: Endpoint) -> None:
    del row
    if case.headers:
        case.headers.pop(draw.randrange(len(case.headers)))


def _bend_cookie(draw: random.Random, case: Case, row: Endpoint) -> None:
    del row
    name = draw.choice((b"hf_session", b"hf_agent", b"$Version", b"a", _text(draw)))
    case.headers.append((b"cookie", name + b"=" + _text(draw)))


def _bend_method(draw: random.Random, case: Case, row: Endpoint) -> None:
    del row
    case.method = draw.choice(
        (b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT",
         b"get", b"G T", b"\xff", b"A" * 300)
    )  # fmt: skip


def _bend_field(draw: random.Random, case: Case, row: Endpoint) -> None:
    """Put something else into the fields of the body."""
    if row.request is None:
        _bend_body(draw, case, row)
        return
    case.body = _encode(_value(draw, _described(row.request), nasty=0.25))


def _bend_body(draw: random.Random, case: Case, row: Endpoint) -> None:
    del row
    case.body = draw.choice(JSONS)


def _bend_bytes(draw: random.Random, case: Case, row: Endpoint) -> None:
    """Cut the body, or change a byte of it."""
    del row
    if case.body:
        at = draw.randrange(len(case.body))
        case.body = case.body[:at] + draw.choice((b"", bytes([draw.randrange(256)])))
        case.body += b"" if draw.random() < 0.5 else case.body[at:]


def _send_form(draw: random.Random, case: Case, row: Endpoint) -> None:
    """Send a form in place of JSON."""
    names = ["csrf", "next", "name", "a[]"]
    described = None if row.request is None else _described(row.request)
    if isinstance(described, inspect.StructType):
        names += [found.encode_name for found in described.fields]
    fields = [draw.choice(names).encode() + b"=" + _text(draw) for _ in range(draw.randrange(6))]
    case.body = b"&".join(fields)
    case.headers = [pair for pair in case.headers if pair[0] != b"content-type"]
    case.headers.append((b"content-type", b"application/x-www-form-urlencoded"))


def _bend_line(draw: random.Random, case: Case, row: Endpoint) -> None:
    """Put something before the request, or send it in pieces."""
    del row
    case.prefix = draw.choice((b"", b"\r\n", b"\r\n\r\n", b"\n", b"\r\n" * 9, b" ", b"\x00"))
    case.pieces = draw.choice((1, 2, 7, 50))
    case.may_wait = True


_BENDS = (
    _bend_path, _bend_query, _bend_query, _bend_header, _bend_header, _bend_header, _drop_header,
    _bend_cookie, _bend_method, _bend_field, _bend_field, _bend_field, _bend_body, _bend_bytes,
    _send_form, _bend_line,
)  # fmt: skip

_KEEPS_FRAMING = frozenset({"bend_path", "bend_query", "bend_cookie"})


def _frame(draw: random.Random, case: Case) -> None:
    """Say how long the body is, mostly so that it is true."""
    if case.framed:
        case.may_wait = not set(case.bent) <= _KEEPS_FRAMING
        return
    told = {name.lower() for name, _ in case.headers}
    if told & {b"content-length", b"transfer-encoding", b"expect", b"upgrade", b"connection"}:
        case.may_wait = True
    if case.method in {b"CONNECT", b"HEAD"} or case.target[:1] != b"/":
        case.may_wait = True
    if told & {b"content-length", b"transfer-encoding"}:
        return
    if draw.random() < 0.05:
        case.may_wait = True
        size = draw.choice((b"%x" % len(case.body), b"0", b"ffffffffffffffffff", b"-1", b"z"))
        case.headers.append((b"transfer-encoding", b"chunked"))
        case.body = size + b"\r\n" + case.body + b"\r\n0\r\n\r\n"
    elif draw.random() < 0.03:
        case.may_wait = True
        case.headers.append((b"content-length", _text(draw)))
    elif case.body:
        case.headers.append((b"content-length", b"%d" % len(case.body)))


def _text(draw: random.Random) -> bytes:
    text = draw.choice(TEXTS)
    if draw.random() < 0.15:
        text = bytes(draw.randrange(1, 256) for _ in range(draw.randrange(12)))
    return text.replace(b"\r", b"").replace(b"\n", b"")


# -- bodies


@functools.cache
def _described(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _value(draw: random.Random, kind: inspect.Type, *, nasty: float) -> Any:
    """Return a value of a described type; with the chance `nasty` each part is something else."""
    if draw.random() < nasty:
        return draw.choice(VALUES)
    match kind:
        case inspect.StructType():
            return _fields(draw, kind, nasty=nasty)
        case inspect.VarTupleType() | inspect.ListType():
            most = min(kind.max_length or 3, 3)
            size = max(kind.min_length or 0, draw.randrange(most + 1))
            return [_value(draw, kind.item_type, nasty=nasty) for _ in range(size)]
        case inspect.DictType():
            return {
                f"k{number}": _value(draw, kind.value_type, nasty=nasty)
                for number in range(draw.randrange(3))
            }
        case inspect.UnionType():
            return _value(draw, draw.choice(kind.types), nasty=nasty)
        case inspect.LiteralType():
            return draw.choice(kind.values)
        case inspect.IntType() | inspect.FloatType():
            return draw.choice((int(kind.ge or 0), int(kind.le or 1)))
        case _:
            return draw.choice(_PLAIN.get(type(kind), VALUES))


def _fields(draw: random.Random, kind: inspect.StructType, *, nasty: float) -> dict[str, Any]:
    fields = [each for each in kind.fields if each.required or draw.random() < 0.5]
    if fields and draw.random() < nasty / 2:
        fields.pop(draw.randrange(len(fields)))
    found = {each.encode_name: _value(draw, each.type, nasty=nasty) for each in fields}
    if draw.random() < nasty / 2:
        found[draw.choice(("no_such", "", "a\x00"))] = draw.choice(VALUES)
    return found


_PLAIN: Mapping[type[inspect.Type], Sequence[Any]] = {
    inspect.StrType: ("a1", "a", "local", "c1", "2026-11-21T09:30:00.000Z"),
    inspect.BoolType: (True, False),
    inspect.NoneType: (None,),
}


def _encode(value: Any) -> bytes:
    try:
        return msgspec.json.encode(value)
    except (OverflowError, ValueError):  # numbers beyond 64 bits are what others can write
        import json  # noqa: PLC0415

        return json.dumps(value, default=str).encode("utf-8", "surrogatepass")
