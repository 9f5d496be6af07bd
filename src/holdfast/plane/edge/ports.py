"""Ports of the edge: handlers, identities, the audit, limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from holdfast.accounts.records import AuditEntry, AuditRow
from holdfast.plane.edge.limits import NODE_BODIES_BYTES_MAX, NODE_BODIES_EACH_BYTES_MAX
from holdfast.wire.api.call import Call, Principal, Problem
from holdfast.wire.api.endpoint import Endpoint

Gate: TypeAlias = Callable[[Principal, str], bool]
"""Returns whether a principal's account has an entitlement."""
KeyOwner: TypeAlias = Callable[[str], Principal | None]
"""Returns the principal of a brain key; None for an unknown or revoked one."""
Observer: TypeAlias = Callable[[str, int, float], None]
"""Called for every answered call: endpoint, status, milliseconds."""
ProblemPage: TypeAlias = Callable[[int, Problem], bytes]
"""Makes the HTML page of a refusal."""
Resolve: TypeAlias = Callable[[Endpoint, Call], tuple[Call, str]]
"""Returns the call with ids where names stood, and the name of what its path is about, if any."""

BODY_READ_S: Final = 10.0
"""Time of each body in seconds, which bounds how long a slow one holds memory; a large one has more
by its size (`BODY_BYTES_PER_S`)."""


class Authenticator(Protocol):
    """Looks up principals."""

    async def by_token(self, text: str) -> Principal | None:
        """Return the principal of an API token, or None."""
        ...

    async def by_session(self, text: str, bound: str) -> Principal | None:
        """Return the principal of a session, None if another kind of browser began it."""
        ...


class AuditTrail(Protocol):
    """Writes audit entries."""

    async def append_audit(self, entry: AuditEntry) -> AuditRow:
        """Return the row, once it is durable."""
        ...


class RateLimiter(Protocol):
    """Limits the rate of calls."""

    def wait_s(self, key: str, *, strict: bool) -> int:
        """Count a call; return 0, or how many seconds to wait. Signing in is `strict`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeLimits:
    """Limits of one edge; `node_bodies` are bytes of large bodies of nodes in memory at once."""

    node_bodies: int = NODE_BODIES_BYTES_MAX
    node_bodies_each: int = NODE_BODIES_EACH_BYTES_MAX
    body_read_s: float = BODY_READ_S
    form_bytes: int = 65_536
    query_chars: int = 8_192
    query_fields: int = 100
    streams: int = 256
    streams_each: int = 16
