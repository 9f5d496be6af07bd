"""One row of the endpoint table.

The table is the one place where a route exists: dispatch, checks, OpenAPI, the typed client, the
documentation and the tests that walk every route all come from it. A row holds no handler;
`plane/wiring` binds exactly one to each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.call import Scope
from holdfast.wire.limits import (
    BODY_BYTES_MAX,
    COUNTER_MAX,
    ENV_NAME_MAX,
    ENV_VALUE_MAX,
    ENV_VARIABLES_MAX,
    REASON_MAX,
    TEXT_MAX,
    TIME_TEXT_MAX,
)

ID_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9_.:@-]{0,127}"
"""An id in a path or query, whole."""

NAME_PATTERN: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
"""A name people give: a DNS label, so that any cloud can carry it."""

_END: Final = r"$(?!\n)"
"""The end of a text, for a pattern that is searched for: to Python, `$` is before a last newline
too, and a name with one looks like another's."""

Id = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX, pattern=rf"^{ID_PATTERN}{_END}")]
Given = Annotated[str, Meta(min_length=1, max_length=63, pattern=rf"^{NAME_PATTERN}{_END}")]
Label = Annotated[str, Meta(max_length=TEXT_MAX)]
Reason = Annotated[str, Meta(max_length=REASON_MAX)]
Time = Annotated[str, Meta(max_length=TIME_TEXT_MAX)]
"""ISO 8601 in UTC with milliseconds, `2026-11-21T09:30:00.000Z`."""
Counter = Annotated[int, Meta(ge=0, le=COUNTER_MAX)]
Cursor = Annotated[str, Meta(max_length=256)]
"""Where the next page begins; opaque, empty on the last page."""

EnvName = Annotated[
    str, Meta(min_length=1, max_length=ENV_NAME_MAX, pattern=rf"^[A-Za-z_][A-Za-z0-9_]*{_END}")
]
EnvValue = Annotated[str, Meta(max_length=ENV_VALUE_MAX)]
Env = Annotated[dict[EnvName, EnvValue], Meta(max_length=ENV_VARIABLES_MAX)]
EnvPatch = Annotated[dict[EnvName, EnvValue | None], Meta(max_length=ENV_VARIABLES_MAX)]
"""Changes of variables: a value sets, null removes, a name not given stays."""

Outcome = Literal["applied", "ignored", "refused", "quarantined", "pending"]
"""What became of an event."""


class Detail(Struct, frozen=True, kw_only=True):
    """One named fact beside an entry, for people to read; never a secret, never content."""

    name: Label
    value: Reason


class Empty(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request that says nothing beyond its path: `{}`."""


Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]
Kind = Literal["json", "page", "stream", "asset"]


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter in the path or query: `pattern` must match the whole text.

    One with `choices` takes only these words; see `one_of` and `some_of`.
    """

    name: str
    pattern: str
    summary: str
    required: bool = False
    choices: tuple[str, ...] = ()

    def unknown(self, value: str) -> tuple[str, str] | None:
        """Return what is wrong with a value that is none of the choices, and what to use."""
        unknown = [one for one in value.split(",") if one not in self.choices]
        if not self.choices or not unknown:
            return None
        known = ", ".join(one for one in self.choices if not one.startswith("-"))
        return f"there is no {unknown[0][:64]!r}", f"use {known}"


def one_of(name: str, choices: Sequence[str], summary: str) -> Param:
    """Return a parameter that takes one of these words."""
    return Param(name, "|".join(choices), summary, choices=tuple(choices))


def some_of(name: str, choices: Sequence[str], summary: str) -> Param:
    """Return a parameter that takes some of these words, comma-separated."""
    one = "|".join(choices)
    pattern = f"(?:{one})(?:,(?:{one})){{0,{len(choices) - 1}}}"
    return Param(name, pattern, summary, choices=tuple(choices))


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One route.

    `gate` names an entitlement that the caller's account must hold, or is empty. `since` is the
    version that first had the route. `statuses` are the codes it may answer besides the refusals
    that every route shares (400, 401, 403, 404, 413, 415, 429, 500). `body_bytes_max` bounds the
    request. A `mutates` row wants CSRF protection from a browser, takes `Idempotency-Key`, and is
    audited. `audited` rows leave an audit row even though they change nothing. `pending` is the
    type of a 202 answer. A `page` row takes its request as a form. A `proves` row hands the
    credentials on to its handler, which checks them itself, as every row for machines does.
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
    hot: bool = False
    proves: bool = False


ID: Final = Param("id", ID_PATTERN, "The id of the object.", required=True)
EVENT: Final = Param("event", ID_PATTERN, "The id of the event.", required=True)
KIND: Final = Param("kind", r"[a-z][a-z0-9-]{0,31}", "The kind of actor.", required=True)
ACCOUNT: Final = Param("account", NAME_PATTERN, "Only this account's; operators only.")
LIMIT: Final = Param("limit", r"[1-9][0-9]{0,2}", "Items in a page, 1 to 500 (default 100).")
AFTER: Final = Param("after", r"[A-Za-z0-9_.:@=/+-]{1,256}", "`next` of the page before.")
PAGING: Final = (LIMIT, AFTER)


def look(
    name: str,
    path: str,
    response: Any,
    summary: str,
    *params: Param,
    scope: Scope = "owner",
    kind: Kind = "json",
    statuses: tuple[int, ...] = (200,),
    audited: bool = False,
    hot: bool = False,
) -> Endpoint:
    """Return the row of a question: a GET, of one thing or of a page of them.

    `params` are those beside `KIND`, `ID` and `EVENT`, which follow from the path.
    """
    return Endpoint(
        name=name, method="GET", path=path, summary=summary, scope=scope, response=response,
        params=_with_holes(path, params), kind=kind, statuses=statuses, audited=audited,
        hot=hot,
    )  # fmt: skip


def order(
    name: str,
    path: str,
    request: Any,
    response: Any,
    summary: str,
    *,
    method: Method = "POST",
    params: tuple[Param, ...] = (),
    scope: Scope = "owner",
    pending: Any = None,
    statuses: tuple[int, ...] = (200,),
    body_bytes_max: int = BODY_BYTES_MAX,
    mutates: bool = True,
    audited: bool = False,
    hot: bool = False,
    proves: bool = False,
) -> Endpoint:
    """Return the row of what is sent: it changes something, unless `mutates` says otherwise."""
    return Endpoint(
        name=name, method=method, path=path, summary=summary, scope=scope, request=request,
        response=response, pending=pending, params=_with_holes(path, params), statuses=statuses,
        body_bytes_max=body_bytes_max, mutates=mutates, audited=audited, hot=hot, proves=proves,
    )  # fmt: skip


def _with_holes(path: str, params: tuple[Param, ...] = ()) -> tuple[Param, ...]:
    """Return KIND, ID and EVENT where the path has them, then `params`, which may declare anew."""
    own = {param.name for param in params}
    shared = [param for param in (KIND, ID, EVENT) if param.name not in own]
    return (*(param for param in shared if f"{{{param.name}}}" in path), *params)
