"""One row of the endpoint table.

The table is the one place where a route exists: dispatch, checks, OpenAPI, the typed client, the
documentation and the tests that walk every route all come from it. A row holds no handler;
`plane/build` binds exactly one to each.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from holdfast.wire.call import Scope
from holdfast.wire.limits import BODY_BYTES_MAX

Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Kind = Literal["json", "page", "stream", "asset"]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter in the path or query: `pattern` must match the whole text."""

    name: str
    pattern: str
    summary: str
    required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One route.

    `gate` names an entitlement that the caller's account must hold, or is empty. `since` is the
    version that first had the route. `statuses` are the codes it may answer besides the refusals
    that every route shares (400, 401, 403, 404, 413, 415, 429, 500). `body_bytes_max` bounds the
    request. A `mutates` row wants CSRF protection from a browser, takes `Idempotency-Key`, and is
    audited. `audited` rows leave an audit row even though they change nothing. A `linked` row may
    be followed from pages elsewhere. `pending` is the type of a 202 answer. A `page` row takes its
    request as a form.
    """

    name: str
    method: Method
    path: str
    summary: str
    scope: Scope
    request: Any = None
    response: Any = None
    pending: Any = None
    params: tuple[Param, ...] = ()
    gate: str = ""
    since: str = "0.1"
    kind: Kind = "json"
    statuses: tuple[int, ...] = (200,)
    body_bytes_max: int = BODY_BYTES_MAX
    mutates: bool = False
    audited: bool = False
    linked: bool = False
    hot: bool = False
