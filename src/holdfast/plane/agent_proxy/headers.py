"""Headers between a browser and an agent, without those of the plane. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from holdfast.accounts.browser import OUR_COOKIE
from holdfast.relay import http1

PROXY_TOKEN: Final = b"x-holdfast-proxy-token"

_OUR_TOKENS: Final = (b"hf_", b"hfm_", b"hfs_")
_WITHOUT: Final = http1.FORWARDED | {
    PROXY_TOKEN,
    b"x-kiloclaw-proxy-token",
    b"x-holdfast-gateway-token",
    b"x-kiloclaw-gateway-token",
    b"x-csrf-token",
}
_NOT_FROM_AGENTS: Final = frozenset({b"set-cookie2", b"server", b"alt-svc"})
_UNSAFE: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})


def to_agent(headers: http1.Headers, *, host: bytes, token: bytes) -> http1.Headers:
    """Return a request's headers for the controller at `host`."""
    kept: http1.Headers = []
    for name, value in http1.end_to_end(headers, without=_WITHOUT):
        if name == b"cookie":
            value = _agents_cookies(value)  # noqa: PLW2901  the remaining cookies
            if not value:
                continue
        if name == b"authorization" and _is_ours(value):
            continue
        kept.append((name, value))
    return [*http1.move_host(kept, host), (PROXY_TOKEN, token)]


def _agents_cookies(value: bytes) -> bytes:
    parts = [part.strip() for part in value.split(b";")]
    return b"; ".join(part for part in parts if part and not _is_our_cookie(part))


def _is_our_cookie(pair: bytes) -> bool:
    """Return whether a cookie is a plane's, whichever: agents neither see one nor set it."""
    name = pair.partition(b"=")[0].strip()
    return OUR_COOKIE.fullmatch(name.decode("latin-1")) is not None


def _is_ours(value: bytes) -> bool:
    """Return whether an Authorization carries a token of this plane's."""
    return value.rpartition(b" ")[2].startswith(_OUR_TOKENS)


def from_agent(headers: http1.Headers) -> http1.Headers:
    """Return a response's headers for the browser; cookies are for this host only."""
    kept: http1.Headers = []
    for name, value in headers:
        if name in _NOT_FROM_AGENTS:
            continue
        if name == b"set-cookie":
            cookie = _host_only(value)
            if cookie:
                kept.append((name, cookie))
        else:
            kept.append((name, value))
    return kept


def _host_only(value: bytes) -> bytes:
    """Return a cookie without its domain, so that no other host gets it; empty for ours."""
    first, *attributes = value.split(b";")
    if _is_our_cookie(first):
        return b""
    kept = [one for one in attributes if one.partition(b"=")[0].strip().lower() != b"domain"]
    return b";".join([first, *kept])


def is_own(method: str, header: Mapping[str, str], *, origin: str, socket: bool = False) -> bool:
    """Return whether a request comes from the agent's own pages, or is a navigation to them.

    Another agent's page counts as the same site to a browser, so it must be the same origin.
    A WebSocket must have an Origin, because browsers let any page open one.
    """
    said = header.get("origin")
    if socket:
        return said is not None and said.lower() == origin
    if said is not None and said.lower() != origin:
        return False
    site = header.get("sec-fetch-site", "none" if method not in _UNSAFE or said else "unknown")
    if site in {"same-origin", "none"}:
        return True
    walks_in = header.get("sec-fetch-mode") == "navigate"
    alone = header.get("sec-fetch-dest", "document") == "document"
    return method in {"GET", "HEAD"} and walks_in and alone
