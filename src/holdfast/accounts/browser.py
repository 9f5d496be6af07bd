"""Binds a session to one plane, one browser and one origin. Pure.

A browser sends a cookie to every port of its host, so a program that listens on another port of
this machine receives the cookie of any browser that is led there. Therefore a change also needs the
session's *change secret*. It cannot be computed from the cookie and is sent only once, in the
answer to signing in; the page's script keeps it in storage that the browser separates by origin,
port included. No later answer contains it, because a stolen cookie could request that answer too.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterator
from typing import Final

SESSION_COOKIE: Final = "hf_session"
AGENT_COOKIE: Final = "hf_agent"
_HOST_PREFIX: Final = "__Host-"
"""Browsers accept a cookie with this prefix over https only, for one host and all its paths."""

OUR_COOKIE: Final = re.compile(r"(?:__Host-)?hf_(?:session|agent)(?:_[0-9a-f]+)?")
"""The names of cookies that any plane sets, this one or another on the same host."""

PLANE_ID_CHARS: Final = 12
"""Hexadecimal digits of a plane's id: 48 bits, plenty for the planes of one host."""

COOKIES_TRIED: Final = 4
"""Cookies of our name that are looked at: pages of the same host may have added some."""

_VERSIONS: Final = re.compile(r"[0-9._]+")


class BrowserSessions:
    """Names cookies, makes change secrets, and computes which browser a session is bound to."""

    def __init__(self, key: bytes) -> None:
        """Derive everything from `key`, 32 bytes that only this plane has."""
        self._key = key
        self.plane_id = self._derive("plane id")[:PLANE_ID_CHARS]

    def __repr__(self) -> str:
        """Return a form without the key."""
        return f"BrowserSessions(plane_id={self.plane_id!r})"

    def cookie_name(self, kind: str, *, secure: bool) -> str:
        """Return the name of a cookie; it contains the plane's id, so planes on one host differ."""
        return f"{_HOST_PREFIX if secure else ''}{kind}_{self.plane_id}"

    def set_cookie(self, kind: str, secret: str, *, secure: bool, life_s: int | None = None) -> str:
        """Return the `Set-Cookie` text; an empty secret and a life of 0 end the cookie."""
        parts = [f"{self.cookie_name(kind, secure=secure)}={secret}", "Path=/", "HttpOnly"]
        parts.append("SameSite=Lax")
        if life_s is not None:
            parts.append(f"Max-Age={life_s}")
        return "; ".join([*parts, "Secure"] if secure else parts)

    def sent(self, kind: str, header: str, *, secure: bool) -> Iterator[str]:
        """Yield the values that a `Cookie` header has under our name, at most COOKIES_TRIED."""
        name, tried = self.cookie_name(kind, secure=secure), 0
        for part in header.split(";"):
            given, _, value = part.strip().partition("=")
            if given == name and value and tried < COOKIES_TRIED:
                tried += 1
                yield value.strip('"')

    def change_secret(self, session: str) -> str:
        """Return the secret that a change by this session must send."""
        return self._derive(f"change:{session}")

    def bound(self, user_agent: str, *, secure: bool) -> str:
        """Return a hash of the kind of browser and of whether it uses https.

        A session is valid only with the hash it began with. Version numbers are left out, so that
        an updated browser stays signed in. This refuses a cookie copied out of a file or a log, and
        a cookie set over https that is used over http. It does not refuse a program that received
        the browser's whole request, which contains the `User-Agent` too.
        """
        kind = _VERSIONS.sub("", user_agent)
        return hashlib.sha256(f"{secure}:{kind}".encode()).hexdigest()[:32]

    def _derive(self, purpose: str) -> str:
        text = purpose.encode("utf-8", "surrogateescape")
        return hmac.new(self._key, text, hashlib.sha256).hexdigest()
