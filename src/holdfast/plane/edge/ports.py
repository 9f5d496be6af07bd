"""What the edge is given: handlers, identities, the audit, a log, limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from holdfast.accounts.records import AuditEntry, AuditRow
from holdfast.wire.api.call import Principal, Problem

Gate: TypeAlias = Callable[[Principal, str], bool]
"""Whether a principal's account holds an entitlement."""
KeyOwner: TypeAlias = Callable[[str], Principal | None]
"""Whose brain key a text is; None for a key that is unknown or revoked."""
Observer: TypeAlias = Callable[[str, int, float], None]
"""Told of every answered call: endpoint, status, milliseconds."""
ProblemPage: TypeAlias = Callable[[int, Problem], bytes]
"""Makes the HTML that a browser sees of a refusal."""

BODY_READ_S: Final = 10.0
"""How long a caller may take to send a body, in seconds; a slow one holds no memory for longer."""


class Authenticator(Protocol):
    """Who is calling."""

    async def by_token(self, text: str) -> Principal | None:
        """Return whose API token this is."""
        ...

    async def by_session(self, text: str, bound: str) -> Principal | None:
        """Return whose session this is, if this kind of browser began it."""
        ...


class AuditTrail(Protocol):
    """Where calls are written down."""

    async def append_audit(self, entry: AuditEntry) -> AuditRow:
        """Return the row, once it is durable."""
        ...


class RateLimiter(Protocol):
    """How often somebody may call."""

    def wait_s(self, key: str, *, strict: bool) -> int:
        """Count a call; return 0, or how many seconds to wait. Signing in is `strict`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLimits:
    """What one edge allows."""

    body_read_s: float = BODY_READ_S
    form_bytes: int = 65_536
    query_chars: int = 8_192
    query_fields: int = 100
    streams: int = 256
    streams_each: int = 16
