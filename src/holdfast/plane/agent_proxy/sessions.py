"""Sessions at agents' hosts, and the one-time codes that begin them.

Both are kept in memory, by their hashes: after a restart of the plane the dashboard signs a
person over again without their noticing. What is kept names the dashboard's session, which is
looked up at every request, so signing out there, or not having used either for long, ends it here.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from holdfast.kernel.clock import HOUR_MS, SECOND_MS, Clock

CODE_MS: Final = 60 * SECOND_MS
"""Lifetime of a code: the browser follows the redirect at once."""

SESSION_MS: Final = 12 * HOUR_MS
"""Lifetime of a session at an agent's host; then the dashboard issues a new code."""

KEPT_MAX: Final = 10_000
"""Codes, and sessions, kept in memory; the oldest are dropped first."""

_SECRET_CHARS: Final = 43


class Signed(NamedTuple):
    """A browser at one agent's host: `session` is the hash of the dashboard's own.

    `bound` is a hash of the kind of browser and of whether it uses https (`BrowserSessions.bound`).
    """

    instance: str
    session: str
    until_ms: int
    dashboard: str
    bound: str = ""


class SignOvers:
    """The codes and the sessions."""

    def __init__(self, clock: Clock, draw: Callable[[], str]) -> None:
        """Start empty; `draw` returns 256 random bits as URL-safe text."""
        self._clock = clock
        self._draw = draw
        self._codes: OrderedDict[str, Signed] = OrderedDict()
        self._sessions: OrderedDict[str, Signed] = OrderedDict()

    def offer(self, instance: str, session: str, dashboard: str) -> str:
        """Return a one-time code for this dashboard session and an agent."""
        until_ms = self._clock.now_ms() + CODE_MS
        return self._keep(self._codes, Signed(instance, session, until_ms, dashboard))

    def redeem(self, code: str, instance: str, bound: str) -> str:
        """Return the secret of a new session for a code, or nothing if it is not good here.

        The session stays with the browser that `bound` stands for.
        """
        signed = self._codes.pop(_hash(code), None)
        if signed is None or signed.instance != instance or self._over(signed):
            return ""
        until_ms = self._clock.now_ms() + SESSION_MS
        return self._keep(self._sessions, signed._replace(until_ms=until_ms, bound=bound))

    def find(self, secret: str, instance: str, bound: str) -> Signed | None:
        """Return whose secret this is, if it is good for this agent and this kind of browser."""
        if len(secret) != _SECRET_CHARS:
            return None
        signed = self._sessions.get(_hash(secret))
        if signed is None or self._over(signed):
            return None
        return signed if (signed.instance, signed.bound) == (instance, bound) else None

    def _over(self, signed: Signed) -> bool:
        return self._clock.now_ms() >= signed.until_ms

    def _keep(self, where: OrderedDict[str, Signed], signed: Signed) -> str:
        secret = self._draw()
        where[_hash(secret)] = signed
        while len(where) > KEPT_MAX:
            where.popitem(last=False)
        return secret


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()
