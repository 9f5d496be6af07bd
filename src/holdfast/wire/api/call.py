"""A call as a handler sees it, and what it answers: no HTTP library in sight.

The edge turns a request into a `Call` after authentication and decoding, and turns the `Reply` or
the `Problem` back into HTTP. Handlers therefore run the same in the plane, in tests and in the
simulator.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from holdfast.wire import parsers

Scope = Literal["public", "machine", "brain", "node", "attempt", "owner", "operator"]
"""Who may call: anybody, a machine with its two credentials, a brain with its key, an observed
node with its key, an agent of a town with the token of its attempt, a signed-in owner, an
operator.

An operator may do whatever an owner may, for every account.
"""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling: `kind` says how they proved it, `account` whose things they may see.

    `account` is None for an operator, who sees all, and for the public. `expires_at_ms` is when an
    API token ends, None for one that does not and for anything else.
    """

    name: str
    scope: Scope
    account: str | None
    kind: Literal["anonymous", "session", "token", "machine", "key", "local"]
    token_id: str = ""
    expires_at_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """One authenticated and decoded call.

    `body` is of the endpoint's request type, or None where it has none. `query` and `path` hold
    texts that the endpoint's parameter rows have already checked. `header` names are lower case.
    `trusted_proxy` says whether the peer may be believed about forwarded facts. `server` is the
    socket address that was reached. `secure` says whether the browser came by https, so that its
    cookies must too.
    """

    endpoint: str
    principal: Principal
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    header: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    peer: str = ""
    trusted_proxy: bool = False
    idempotency_key: str = ""
    request_id: str = ""
    server: tuple[str, int] = ("", 0)
    secure: bool = False
    now_ms: int = 0

    def number(self, name: str, otherwise: int) -> int:
        """Return a whole number of the query, `otherwise` where it is empty or not given.

        Refuse (400) any other text, whether or not the row's pattern would have.
        """
        text = self.query.get(name, "")
        found = parsers.whole(text) if text else otherwise
        if found is None:
            raise Refusal(
                400, "bad_parameter", f"query parameter: {name} must be a whole number", field=name,
                fix=f"send digits, at most {parsers.WHOLE_MAX}",
            )  # fmt: skip
        return found


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: `body` of the endpoint's response type, bytes for a page, or a stream."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    stream: AsyncIterator[bytes] | None = None
    cookies: tuple[str, ...] = ()


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a call was refused, in words that say what to do.

    `code` is stable and made for programs; `field` names the part of the request that is wrong.
    `detail` repeats the message where a brain calls, under the name that its SDK reads.
    """

    code: str
    message: str
    field: str = ""
    fix: str = ""
    operation: str = ""
    detail: str = ""


class Refusal(Exception):  # noqa: N818  it is an answer, not a fault
    """Raised by a handler to answer with a problem instead of a reply."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str = "",
        fix: str = "",
        retry_after_s: int | None = None,
    ) -> None:
        """Refuse with HTTP `status`; see `Problem` for the rest."""
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.problem = Problem(code=code, message=message, field=field, fix=fix)
        self.retry_after_s = retry_after_s


Handler: TypeAlias = Callable[[Call], Awaitable[Reply]]
"""What answers one endpoint."""
