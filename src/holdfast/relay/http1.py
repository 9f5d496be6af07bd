"""Heads of HTTP/1.1 messages as bytes: parsed strictly, framed without ambiguity. Pure.

A relay must see the end of a message where the next reader sees it, or a request can be hidden in
another's body (request smuggling). So whatever two readers may parse differently is refused here: a
length beside `chunked`, two lengths, a folded line, a space before a colon, a bare carriage return.
Bodies are never decoded; their bytes are passed on as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, NamedTuple, TypeAlias

Headers: TypeAlias = list[tuple[bytes, bytes]]
"""Names in lower case and values without surrounding blanks, in order."""

CHUNKED: Final = -1
"""A body framed by chunks."""
UNTIL_CLOSE: Final = -2
"""A body that ends with its connection."""

LENGTH_DIGITS_MAX: Final = 18
"""Digits of a length: any of them fit in 63 bits."""
CHUNK_LINE_MAX: Final = 1_024
"""Bytes of the line before a chunk, with its extensions."""
TRAILER_BYTES_MAX: Final = 8_192
"""Bytes of all trailers of one body."""

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_FIELDS: Final = re.compile(rb"(?:" + _TOKEN + rb":[^\x00-\x08\x0a-\x1f\x7f]*\r\n)*")
_REQUEST: Final = re.compile(rb"(" + _TOKEN + rb") ([!-\"$-~\x80-\xff]+) HTTP/1\.([01])")
"""A target has no fragment: some readers cut it off, and others treat it as part of the path."""

_RESPONSE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: ([^\x00-\x08\x0a-\x1f\x7f]*))?")
_ABSOLUTE: Final = re.compile(rb"(?i)https?://[^/?#]*")
_CHUNK: Final = re.compile(rb"([0-9A-Fa-f]{1,15})(?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?")

_LINE_MAX: Final = {"size": CHUNK_LINE_MAX, "after": 2, "trailers": TRAILER_BYTES_MAX}

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"upgrade",
    }
)
"""Headers of one connection, not passed on; `transfer-encoding` is, as the body is not decoded."""

FORWARDED: Final = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-prefix",
        b"x-forwarded-proto",
        b"x-forwarded-scheme",
        b"x-forwarded-server",
        b"x-real-ip",
    }
)
"""Headers in which proxies describe the caller: trusted by one side only, so not passed on."""


class MalformedError(ValueError):
    """A message that two readers may parse differently; the text gives the reason."""


class Request(NamedTuple):
    """The head of a request. `minor` is the x of HTTP/1.x; `length` that of its body, or CHUNKED.

    `target` is in origin form, whatever was sent.
    """

    method: bytes
    target: bytes
    minor: int
    headers: Headers
    length: int

    @property
    def path(self) -> bytes:
        """Return the target without its query."""
        return self.target.partition(b"?")[0]


class Response(NamedTuple):
    """The head of a response; `length` is that of its body, CHUNKED or UNTIL_CLOSE."""

    status: int
    reason: bytes
    minor: int
    headers: Headers
    length: int


def parse_request(head: bytes) -> Request:
    """Return the head of a request, given with the empty line at its end; raise MalformedError."""
    line, _, fields = head.partition(b"\r\n")
    found = _REQUEST.fullmatch(line)
    if found is None:
        raise MalformedError("the request line is malformed")
    method, target, minor = found[1], found[2], int(found[3])
    absolute = _ABSOLUTE.match(target)
    if absolute is not None:
        rest = target[absolute.end() :]
        target = rest if rest[:1] == b"/" else b"/" + rest
    elif target[:1] != b"/" and not (target == b"*" and method == b"OPTIONS"):
        raise MalformedError("the request's target must be a path")
    headers = _parse_fields(fields)
    hosts = values(headers, b"host")
    if len(hosts) > 1 or (minor and not hosts):
        raise MalformedError("a request has exactly one host")
    length = _declared(headers, minor)
    return Request(method, target, minor, headers, 0 if length is None else length)


def parse_response(head: bytes, *, method: bytes) -> Response:
    """Return the head of the response to a request of this method; raise MalformedError."""
    line, _, fields = head.partition(b"\r\n")
    found = _RESPONSE.fullmatch(line)
    if found is None:
        raise MalformedError("the status line is malformed")
    minor, status, reason = int(found[1]), int(found[2]), found[3] or b""
    headers = _parse_fields(fields)
    length = _declared(headers, minor)
    if status < 200 or status in {204, 304} or method == b"HEAD":  # noqa: PLR2004  no body in HTTP
        length = 0
    return Response(status, reason, minor, headers, UNTIL_CLOSE if length is None else length)


def _parse_fields(fields: bytes) -> Headers:
    """Return the headers of a block that ends in an empty line."""
    if fields[-2:] != b"\r\n" or not _FIELDS.fullmatch(fields, 0, len(fields) - 2):
        raise MalformedError("a header is malformed: folded, unnamed, or with a control character")
    headers = []
    for line in fields[:-4].split(b"\r\n") if len(fields) > 2 else ():  # noqa: PLR2004  CR LF
        name, _, value = line.partition(b":")
        headers.append((name.lower(), value.strip(b" \t")))
    return headers


def _declared(headers: Headers, minor: int) -> int | None:
    """Return the declared length, CHUNKED, or None if none is declared."""
    codings = values(headers, b"transfer-encoding")
    lengths = values(headers, b"content-length")
    if codings:
        if lengths:
            raise MalformedError("a body has a length or is chunked, not both")
        if minor == 0 or len(codings) > 1 or codings[0].lower() != b"chunked":
            raise MalformedError("the only transfer encoding that is passed on is chunked")
        return CHUNKED
    if not lengths:
        return None
    text = lengths[0]
    if len(lengths) > 1 or not text.isdigit() or len(text) > LENGTH_DIGITS_MAX:
        raise MalformedError("a body has one length, in digits")
    return int(text)


def values(headers: Headers, name: bytes) -> list[bytes]:
    """Return every value of a header; `name` is in lower case."""
    return [value for known, value in headers if known == name]


def first(headers: Headers, name: bytes) -> bytes:
    """Return the first value of a header, or an empty string."""
    return next((value for known, value in headers if known == name), b"")


def tokens(headers: Headers, name: bytes) -> frozenset[bytes]:
    """Return the comma-separated words of a header, in lower case."""
    found = values(headers, name)
    if not found:
        return frozenset()
    return frozenset(word.strip(b" \t").lower() for word in b",".join(found).split(b","))


def keeps_alive(minor: int, headers: Headers) -> bool:
    """Return whether the sender of a message keeps its connection open."""
    words = tokens(headers, b"connection")
    return b"close" not in words if minor else b"keep-alive" in words


def is_websocket(request: Request) -> bool:
    """Return whether a request is an upgrade to WebSocket."""
    return (
        request.method == b"GET"
        and request.minor == 1
        and b"websocket" in tokens(request.headers, b"upgrade")
        and b"upgrade" in tokens(request.headers, b"connection")
    )


def end_to_end(headers: Headers, *, without: Iterable[bytes] = ()) -> Headers:
    """Return the end-to-end headers, without those named."""
    named = tokens(headers, b"connection") - {b"transfer-encoding", b"content-length", b"host"}
    out = HOP_BY_HOP.union(named, without)
    return [pair for pair in headers if pair[0] not in out]


def write_head(line: bytes, headers: Headers) -> bytes:
    """Return a head as bytes."""
    fields = b"".join(b"%b: %b\r\n" % pair for pair in headers)
    return b"%b\r\n%b\r\n" % (line, fields)


def write_request(request: Request, headers: Headers) -> bytes:
    """Return the head of a request as it is relayed, with these headers in place of its own."""
    line = b"%b %b HTTP/1.%d" % (request.method, request.target, request.minor)
    return write_head(line, headers)


def move_host(headers: Headers, host: bytes) -> Headers:
    """Return a request's headers for another host.

    An origin equal to the request's own host becomes the new host's, and a foreign one stays
    foreign: so the receiver's check of the two is unchanged.
    """
    old = first(headers, b"host").lower()
    moved: Headers = [(b"host", host)]
    for name, value in headers:
        if name == b"origin" and old and value.lower() in (b"http://" + old, b"https://" + old):
            moved.append((name, b"http://" + host))
        elif name != b"host":
            moved.append((name, value))
    return moved


def payload(length: int, body: bytes) -> bytes:
    """Return a body's content: the data of whole chunks, or all of it.

    `body` is well formed; if it is truncated, so is the result.
    """
    if length != CHUNKED:
        return body
    parts: list[bytes] = []
    at = 0
    while (end := body.find(b"\r\n", at)) >= 0:
        found = _CHUNK.fullmatch(body, at, end)
        size = 0 if found is None else int(found[1], 16)
        if not size:
            break
        parts.append(body[end + 2 : end + 2 + size])
        at = end + 4 + size
    return b"".join(parts)


class Body:
    """Finds the end of one body in a stream, without keeping or changing its bytes."""

    __slots__ = ("_left", "_line", "_state", "ended", "taken")

    def __init__(self, length: int) -> None:
        """Expect a body of this length, CHUNKED or UNTIL_CLOSE."""
        self._left = max(length, 0)
        self._line = b""
        self._state = {CHUNKED: "size", UNTIL_CLOSE: "open"}.get(length, "fixed")
        self.ended = length == 0
        self.taken = 0

    @property
    def until_close(self) -> bool:
        """Return whether the end of the connection ends this body."""
        return self._state == "open"

    def take(self, data: bytes) -> int:
        """Return how many of these bytes are the body's; raise MalformedError for a bad chunk."""
        if self._state == "open":
            used = len(data)
        elif self._state == "fixed":
            used = min(self._left, len(data))
            self._left -= used
            self.ended = self._left == 0
        else:
            used = self._take_chunks(data)
        self.taken += used
        return used

    def _take_chunks(self, data: bytes) -> int:
        at, size = 0, len(data)
        while at < size and not self.ended:
            if self._state == "data":
                step = min(self._left, size - at)
                self._left -= step
                at += step
                if self._left == 0:
                    self._state = "after"
                continue
            end = data.find(b"\n", at)
            piece = data[at : size if end < 0 else end + 1]
            at += len(piece)
            self._line += piece
            if len(self._line) > _LINE_MAX[self._state]:
                raise MalformedError("the line of a chunk, or the trailers, are too long")
            if end >= 0:
                self._end_line()
        return at

    def _end_line(self) -> None:
        """Parse the line before a chunk or after it, or one more trailer."""
        line = self._line
        if self._state == "trailers":
            if line == b"\r\n" or line.endswith(b"\r\n\r\n"):
                if not _FIELDS.fullmatch(line, 0, len(line) - 2):
                    raise MalformedError("a trailer is malformed")
                self.ended = True
            return
        self._line = b""
        if self._state == "after":
            if line != b"\r\n":
                raise MalformedError("a chunk is longer than its size says")
            self._state = "size"
            return
        found = _CHUNK.fullmatch(line[:-2])
        if found is None or line[-2:] != b"\r\n":
            raise MalformedError("the size of a chunk is malformed")
        self._left = int(found[1], 16)
        self._state = "data" if self._left else "trailers"
