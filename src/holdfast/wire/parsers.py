"""Total parsers of untrusted text, one for each kind of text. Pure.

Each returns None for a text that is not of its form, however long, nested or malformed, and raises
nothing. Only `from_json` raises, and only DecodeError. The standard library's own parsers raise on
some texts and accept more than is meant (`int("1_0")`, `int(" 5 ")`, a port of any size), so
requests are parsed only here; a house test lists the few exceptions with their reasons.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any, Final, NamedTuple, Protocol, TypeAlias, TypeVar, cast
from urllib.parse import parse_qsl

import msgspec

WHOLE_MAX: Final = 2**63 - 1
"""The largest integer that SQLite and DuckDB store."""

JSON_DEPTH_MAX: Final = 64
"""Levels of nesting that JSON of any form may have in a body, so that later recursive code does not
exceed the recursion limit at another stack depth. A configuration may have 32."""

HOST_CHARS_MAX: Final = 255
"""Characters of a host with its port: a name has at most 253 (RFC 1035), and longer is no host."""

Ip: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

_DIGITS: Final = re.compile(r"0*([0-9]{1,19})")
_NAMED: Final = re.compile(r"(?P<name>[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?")
_BRACKETED: Final = re.compile(r"\[(?P<name>[0-9A-Fa-f:.]+)\](?::(?P<port>[0-9]{1,5}))?")
_PORT_MAX: Final = 65_535
_PEER_BITS: Final = 64
"""Leading bits of an IPv6 address that identify a peer: one host usually has a whole /64."""
_PEERS_KEPT: Final = 4_096
"""Peers whose key is kept in memory."""


class Decoder(Protocol[T_co]):
    """A decoder of msgspec, made once for its type."""

    def decode(self, _raw: bytes | str, /) -> T_co:
        """Return the value."""
        ...


class Host(NamedTuple):
    """A `Host`: its name in lower case, IPv6 without brackets, and its port if it has one."""

    name: str
    port: int | None


def whole(text: str, *, most: int = WHOLE_MAX) -> int | None:
    """Return a whole number from 0 to `most` in ASCII digits."""
    found = _DIGITS.fullmatch(text)
    number = most + 1 if found is None else int(found[1])
    return number if number <= most else None


def wholes(text: str, count: int) -> tuple[int, ...] | None:
    """Return `count` whole numbers joined by dashes: the form of cursors."""
    parts = text.split("-", count)
    numbers = tuple(number for part in parts if (number := whole(part)) is not None)
    return numbers if len(parts) == len(numbers) == count else None


def ip(text: str) -> Ip | None:
    """Return an address; an IPv4 one that was written as IPv6 is IPv4."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if found.version == 6 else found  # noqa: PLR2004


@lru_cache(maxsize=_PEERS_KEPT)
def network(peer: str) -> str:
    """Return the key of a peer: an IPv4 address, the /64 of an IPv6 one, or any other text.

    Kept for the last peers, because parsing was a third of the work of refusing a wrong token.
    """
    found = ip(peer)
    if found is None:
        return peer
    if found.version == 4:  # noqa: PLR2004  the version's own number
        return str(found)
    return str(ipaddress.IPv6Network((int(found), _PEER_BITS), strict=False))


def host(text: str) -> Host | None:
    """Return a host with or without a port, as the header `Host` carries it."""
    found = _NAMED.fullmatch(text) or _BRACKETED.fullmatch(text)
    if found is None or len(text) > HOST_CHARS_MAX:
        return None
    port = None if found["port"] is None else whole(found["port"], most=_PORT_MAX)
    if found["port"] is not None and port is None:
        return None
    return Host(found["name"].lower(), port)


def origin(text: str) -> str | None:
    """Return the host and port of an `Origin`, in the form of the header `Host`."""
    scheme, mark, named = text.partition("://")
    if scheme.lower() not in {"http", "https"} or not mark or host(named) is None:
        return None
    return named


def pairs(text: str, *, most: int) -> list[tuple[str, str]] | None:
    """Return the fields of a query or form, at most `most`, percent-encoded in UTF-8."""
    try:
        return parse_qsl(
            text, keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=most
        )
    except ValueError:
        return None


def from_json(decoder: Decoder[T_co], raw: bytes | str) -> T_co:
    """Return the decoded JSON; raise msgspec.DecodeError and nothing else.

    Its subclass ValidationError names the place where a value does not fit its type. The depth at
    which JSON is "nested too deeply" depends on the stack of the caller.
    """
    try:
        return decoder.decode(raw)
    except msgspec.DecodeError:
        raise
    except UnicodeDecodeError:
        message = "it is not UTF-8"
    except RecursionError:
        message = "it is nested too deeply"
    raise msgspec.DecodeError(message)


@cache
def _decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def json_as(kind: type[T], raw: bytes | str) -> T:
    """Return JSON decoded as a type; raise msgspec.DecodeError and nothing else."""
    found: T = from_json(_decoder(cast("Any", kind)), raw)
    return found


def is_deep(value: Any, most: int = JSON_DEPTH_MAX) -> bool:
    """Return whether decoded JSON is nested more than `most` deep; a struct is one level."""
    level: list[Any] = [value]
    for _ in range(most + 1):
        level = [child for each in level for child in _children(each)]
        if not level:
            return False
    return True


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | tuple):
        return value
    if isinstance(value, msgspec.Struct):
        return (getattr(value, name) for name in value.__struct_fields__)
    return ()
