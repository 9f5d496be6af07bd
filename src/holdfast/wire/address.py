"""The address and the target of a request, as two values that are never joined to a URL. Pure.

A URL made by joining text has its host wherever the text says: `*@127.0.0.1:1/x` behind
`http://10.0.0.1:80` names another host. So the host and port that are connected to, the `Host`
header and the request line are each made from these, and nothing reads a host out of a target.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple, Self
from urllib.parse import urlsplit

LOOPBACK: Final = "127.0.0.1"
PORT_MAX: Final = 65_535
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_NAME: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_.])?")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_TARGET: Final = re.compile(r"/[!-~]*")


class Address(NamedTuple):
    """A host, by name or number (IPv6 without brackets), and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the address in `host:port` or `[v6]:port`; raise ValueError for anything else."""
        host, colon, port = text.rpartition(":")
        if not colon or not _PORT.fullmatch(port) or not 0 < int(port) <= PORT_MAX:
            raise ValueError(f"address: want host:port, with a port from 1 to {PORT_MAX}")
        if host[:1] == "[" and host[-1:] == "]" and _is_v6(host[1:-1]):
            return cls(host[1:-1], int(port))
        if not _NAME.fullmatch(host):
            raise ValueError("address: want a host's name or number before the port")
        return cls(host, int(port))

    def __str__(self) -> str:
        """Return it as a `Host` header carries it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Place(NamedTuple):
    """The parts of an absolute http or https URL: scheme, address and request target."""

    scheme: str
    address: Address
    target: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return the parts of a URL; raise ValueError for any other text.

        Refused are a name and password, and a fragment: neither is ever sent.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise _no_url() from None
        host = parts.hostname or ""
        default = _DEFAULT_PORTS.get(parts.scheme)
        if default is None or "@" in parts.netloc or port == 0 or not is_host(host):
            raise _no_url()
        # What was split is looked for again: urlsplit drops some characters without a word.
        rest = url[len(parts.scheme) :].removeprefix("://")
        if not rest.startswith(parts.netloc):
            raise _no_url()
        rest = rest[len(parts.netloc) :]
        target = origin_form(rest if rest[:1] == "/" else "/" + rest)
        return cls(parts.scheme, Address(host, default if port is None else port), target)


class Base(NamedTuple):
    """Where a whole plane answers: scheme, address, and what stands before each path."""

    scheme: str
    address: Address
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return the parts of an http or https URL without a query; raise ValueError."""
        place = Place.parse(url)
        if "?" in place.target:
            raise _no_url()
        return cls(place.scheme, place.address, place.target.rstrip("/"))

    def target(self, target: str) -> str:
        """Return a request target below this base; raise ValueError where it is no path."""
        return self.prefix + origin_form(target)

    def url(self, target: str = "") -> str:
        """Return the URL of a target below this base, without a port that its scheme implies."""
        text = str(self.address)
        if self.address.port == _DEFAULT_PORTS[self.scheme]:
            text = text.rpartition(":")[0]
        return f"{self.scheme}://{text}{self.target(target) if target else self.prefix}"


def origin_form(target: str) -> str:
    """Return a target as it is when it is a path with or without a query; raise ValueError.

    A blank, a control character or anything beyond ASCII must be percent-encoded, and a fragment
    is never sent.
    """
    if not _TARGET.fullmatch(target) or "#" in target:
        raise ValueError("request target: want a path that begins with /")
    return target


def is_host(text: str) -> bool:
    """Return whether a text is a host's name or number, an IPv6 one without brackets."""
    return bool(_NAME.fullmatch(text)) or _is_v6(text)


def _is_v6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6  # noqa: PLR2004  the version's number
    except ValueError:
        return False


def _no_url() -> ValueError:
    """Return the error of a text that is no URL; it may hold a password, so it is not quoted."""
    return ValueError("want a URL like http://127.0.0.1:8700, without a name and password")
