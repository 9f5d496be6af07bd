"""One connection that posts a body and reads the answer, in a minimal HTTP/1.1.

The standard library's client reads headers with its mail package, which costs two megabytes in
other people's programs. TLS is loaded when an address needs it. Every wait for the other side and
every answer has a limit.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO, Final, NamedTuple, cast

if TYPE_CHECKING:
    import ssl

LINE_BYTES_MAX: Final = 65_536
HEADERS_MAX: Final = 200
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024
"""An answer beyond this is cut; the connection is not reused then."""

_STATUS: Final = re.compile(rb"HTTP/1\.([01]) (\d{3})(?: .*)?\r?\n")
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.[0-9]")
_FIELD: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_HOST: Final = re.compile(r"[\w](?:[\w.-]*[\w.])?")
"""A host's name in any alphabet, or its number."""
_IPV6: Final = re.compile(r"[0-9a-f]*:[0-9a-f:.]+(?:%[\w.-]+)?")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_PATH: Final = re.compile(r"/[!-~]*")
PORT_MAX: Final = 65_535
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
_EMPTY: Final = (204, 304)
_INTERIM: Final = 200


class ExchangeError(ValueError):
    """What came or was to be sent is no HTTP; the text is fixed, and quotes neither."""


class HungUpError(ConnectionResetError):
    """The other side closed the connection; the text is fixed."""


_Stamp = tuple[tuple[str, int, int], tuple[str, int, int]]
_TRUSTING: Final[dict[_Stamp, ssl.SSLContext]] = {}


class Address(NamedTuple):
    """The parts of an http or https address; `port` is None if it names none."""

    scheme: str
    host: str
    port: int | None
    path: str

    @property
    def origin(self) -> tuple[str, str, int | None]:
        """Return the key of a connection."""
        return self[:3]


def address_of(url: str) -> Address:
    """Return the parts of an address; raise ValueError if it is invalid.

    The standard library's own parser loads modules for every form of address there is.
    """
    scheme, found, rest = url.partition("://")
    end = min((at for mark in "/?#" if (at := rest.find(mark)) >= 0), default=len(rest))
    place = rest[:end].rpartition("@")[2]
    host, colon, port = place.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = place, ""
    bare = host.strip("[]").lower()
    pattern = _IPV6 if host.startswith("[") else _HOST
    path = rest[end:].partition("#")[0]
    if not path.startswith("/"):
        path = f"/{path}"
    if "\\" in rest[:end] or not found or not pattern.fullmatch(bare) or not _PATH.fullmatch(path):
        raise ValueError("address: want https://host, with a port and a path if need be")
    if port and (not _PORT.fullmatch(port) or not 0 < int(port) <= PORT_MAX):
        raise ValueError(f"address: want a port from 1 to {PORT_MAX}")
    return Address(scheme.lower(), bare, int(port) if port else None, path)


def unsafe(address: Address) -> str:
    """Return why a key must not be sent to an address, empty if it may be."""
    if address.scheme == "https" or (address.scheme == "http" and address.host in _LOOPBACK):
        return ""
    return "address: want https for a host that is not this machine"


class Response(NamedTuple):
    """The answer; header names are in lower case. `reusable` is whether the connection still is."""

    status: int
    headers: dict[str, str]
    body: bytes
    reusable: bool


class HttpConnection:
    """A connection to one origin; a socket is opened with the first post."""

    def __init__(self, scheme: str, host: str, port: int | None, *, timeout_s: float) -> None:
        """`timeout_s` limits each wait for the other side."""
        self._secure = scheme == "https"
        self._host = host
        self._port = port or (443 if self._secure else 80)
        self._shown = f"[{host}]" if ":" in host else host
        if port is not None:
            self._shown += f":{port}"
        self._timeout_s = timeout_s
        self._socket: socket.socket | None = None
        self._answers: BinaryIO | None = None

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Response:
        """Send the body by POST; see `exchange`."""
        return self.exchange("POST", path, body, headers)

    def exchange(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Response:
        """Send the body and return the answer.

        Raise ConnectionResetError if the other side had closed the connection, another OSError for
        network errors, ValueError for an answer that is not HTTP and for headers that cannot be
        sent.
        """
        wanted = {"Host": self._shown, **headers, "Content-Length": str(len(body))}
        for name, value in wanted.items():
            if not _FIELD.fullmatch(value):
                raise ExchangeError(f"header {name}: has a character that cannot be sent")
        lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {text}" for name, text in wanted.items())]
        head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
        if self._socket is None:
            self._open()
        assert self._socket is not None
        assert self._answers is not None
        self._socket.sendall(head + body)
        return _read(self._answers)

    def _open(self) -> None:
        # As bytes an ASCII name is not put through the tables for other alphabets.
        host = self._host.encode() if self._host.isascii() else self._host.encode("idna")
        plain = socket.create_connection(
            (host, self._port),  # type: ignore[arg-type]  # bytes are taken, and not documented
            self._timeout_s,
        )
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._secure:
                plain = trusting().wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise
        self._socket = plain
        self._answers = cast("BinaryIO", plain.makefile("rb"))

    def close(self) -> None:
        """Close the connection; the next post opens a socket again."""
        answers, self._answers = self._answers, None
        held, self._socket = self._socket, None
        if answers is not None:
            answers.close()
        if held is not None:
            held.close()


def trusting() -> ssl.SSLContext:
    """Return a TLS context that trusts this machine's certificates.

    If they are in a folder by their hashes, OpenSSL looks up the one it needs; reading them all
    from one file takes two megabytes. So two connections share the first one's, until the
    certificates change.
    """
    import ssl  # noqa: PLC0415  # four megabytes; a plane on this machine needs none

    paths = ssl.get_default_verify_paths()
    stamp = (_changed(paths.cafile), _changed(paths.capath))
    known = _TRUSTING.get(stamp)
    if known is not None:
        return known
    chosen = paths.cafile not in {None, paths.openssl_cafile}
    if chosen or not _hashed(paths.capath):
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(capath=paths.capath)
    _TRUSTING.clear()
    _TRUSTING[stamp] = context
    return context


def _changed(path: str | None) -> tuple[str, int, int]:
    """Return what changes when a file or a folder does."""
    try:
        about = os.stat(path or "")
    except OSError:
        return path or "", 0, 0
    return path or "", about.st_ino, about.st_mtime_ns


def _hashed(folder: str | None) -> bool:
    try:
        return folder is not None and any(map(_HASHED.fullmatch, os.listdir(folder)))
    except OSError:
        return False


def _read(answers: BinaryIO) -> Response:
    while True:
        first = answers.readline(LINE_BYTES_MAX)
        if not first:
            raise HungUpError("the other side hung up before it answered")
        found = _STATUS.fullmatch(first)
        if found is None:
            raise ExchangeError("the answer is not HTTP")
        status = int(found[2])
        headers = _headers(answers)
        if status >= _INTERIM:
            break
    kept = found[1] == b"1" and "close" not in headers.get("connection", "").lower()
    if status in _EMPTY:
        return Response(status, headers, b"", kept)
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body, whole = _chunks(answers)
    elif headers.get("content-length", "").isdigit():
        size = int(headers["content-length"][:18])
        body = answers.read(min(size, ANSWER_BYTES_MAX))
        whole = len(body) == size
        if len(body) < min(size, ANSWER_BYTES_MAX):
            raise HungUpError("the other side hung up in the middle of its answer")
    else:
        body, whole = answers.read(ANSWER_BYTES_MAX), False
    return Response(status, headers, body, kept and whole)


def _headers(answers: BinaryIO) -> dict[str, str]:
    headers: dict[str, str] = {}
    for _ in range(HEADERS_MAX):
        line = answers.readline(LINE_BYTES_MAX)
        if line in {b"\r\n", b"\n"}:
            return headers
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not line.endswith(b"\n"):
            raise ExchangeError("the answer has a line that is not a header")
        headers[name.strip().lower()] = value.strip()
    raise ExchangeError(f"the answer has more than {HEADERS_MAX} headers")


def _chunks(answers: BinaryIO) -> tuple[bytes, bool]:
    """Return a chunked body, and whether it was complete."""
    parts: list[bytes] = []
    left = ANSWER_BYTES_MAX
    while True:
        line = answers.readline(LINE_BYTES_MAX).partition(b";")[0].strip()
        try:
            size = int(line, 16)
        except ValueError:
            raise ExchangeError("the answer has a piece that does not tell its size") from None
        if size == 0:
            _headers(answers)
            return b"".join(parts), True
        piece = answers.read(min(size, left))
        parts.append(piece)
        left -= len(piece)
        if len(piece) < size:
            return b"".join(parts), False
        answers.readline(LINE_BYTES_MAX)
