"""One row of the controller's endpoint table.

A controller serves each row below both prefixes; the plane calls the row's own path. Both sides
take method, path, body and answer from the row, and the reference and OpenAPI are made of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, Literal, TypeAlias, TypeVar

from msgspec import Meta, Struct

from holdfast.wire.api.call import Scope
from holdfast.wire.api.endpoint import Endpoint, Param
from holdfast.wire.limits import BODY_BYTES_MAX

CONTRACT: Final = "/_kilo/"
OURS: Final = "/_holdfast/"
PREFIXES: Final = (CONTRACT, OURS)
"""The prefix of compat/controller.md, and ours. Every route is served below both."""

Fault: TypeAlias = Literal["missing", "type", "length", "form"]
"""What may be wrong with a field: it is missing, of another type, too long, or not of its form."""

IfMatch: TypeAlias = Literal["", "body", "query"]

B = TypeVar("B")
A = TypeVar("A")

_HOLE: Final = re.compile(r"\{([a-z_]+)\}")


class ControllerProblem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why a controller refused: `field` names the part of the request that is wrong.

    Some refusals carry further facts beside these. A 401 or a route that is not there has no code
    where existing clients want none.
    """

    error: str
    code: str = ""
    field: str = ""


def wanted(want: str = "", *, limits: Mapping[str, Any] | None = None, **said: str) -> Meta:
    """Return what is wanted of a field, in words that refusals and the reference repeat.

    `said` has the words of one `Fault` where they differ; `limits` are those of `msgspec.Meta`.
    """
    return Meta(description=want or None, extra=dict(said) or None, **(limits or {}))


@dataclass(frozen=True, slots=True, kw_only=True)
class ControllerEndpoint(Endpoint, Generic[B, A]):
    """A route of the controller: takes a body of type `B`, answers with one of type `A`.

    `capability` is the name that announces it, empty for what needs no announcement. `codes` are
    those of the refusals that are its own. `if_match` says that its etag may come as `If-Match`,
    for a field of the body or a parameter. `may_be_empty` takes an empty body for `{}`.
    """

    request: type[B] | None = None
    response: type[A]  # pyright: ignore[reportGeneralTypeIssues]  keyword only, so it may
    capability: str = ""
    codes: tuple[str, ...] = ()
    if_match: IfMatch = ""
    may_be_empty: bool = False

    @property
    def tail(self) -> str:
        """Return the path below either prefix."""
        return self.path.removeprefix(CONTRACT).removeprefix(OURS)

    def target(self, path: Mapping[str, str] | None = None) -> str:
        """Return the path with its holes filled; KeyError names one that is not given."""
        given = path or {}
        return _HOLE.sub(lambda hole: given[hole[1]], self.path)


def look(
    path: str,
    response: type[A],
    summary: str,
    *params: Param,
    capability: str = "",
    codes: Sequence[str] = (),
    statuses: tuple[int, ...] = (200,),
    scope: Scope = "machine",
    prefix: str = CONTRACT,
) -> ControllerEndpoint[None, A]:
    """Return the row of a question; its name is its path with dots."""
    return ControllerEndpoint(
        name=_name(path), method="GET", path=prefix + path, summary=summary, scope=scope,
        response=response, params=params, capability=capability, codes=tuple(codes),
        statuses=statuses,
    )  # fmt: skip


def act(
    path: str,
    response: type[A],
    summary: str,
    *params: Param,
    capability: str = "",
    codes: Sequence[str] = (),
    statuses: tuple[int, ...] = (200, 409),
) -> ControllerEndpoint[None, A]:
    """Return the row of an order that says nothing beyond its path and parameters."""
    return ControllerEndpoint(
        name=_name(path), method="POST", path=CONTRACT + path, summary=summary, scope="machine",
        response=response, params=params, capability=capability, codes=tuple(codes),
        statuses=statuses,
    )  # fmt: skip


def order(
    path: str,
    request: type[B],
    response: type[A],
    summary: str,
    *params: Param,
    capability: str = "",
    codes: Sequence[str] = (),
    statuses: tuple[int, ...] = (200,),
    body_bytes_max: int = BODY_BYTES_MAX,
    if_match: IfMatch = "",
    may_be_empty: bool = False,
    prefix: str = CONTRACT,
) -> ControllerEndpoint[B, A]:
    """Return the row of an order with a body."""
    return ControllerEndpoint(
        name=_name(path), method="POST", path=prefix + path, summary=summary, scope="machine",
        request=request, response=response, params=params, capability=capability,
        codes=tuple(codes), statuses=statuses, body_bytes_max=body_bytes_max, if_match=if_match,
        may_be_empty=may_be_empty,
    )  # fmt: skip


def _name(path: str) -> str:
    return ".".join(part for part in path.split("/") if not part.startswith("{"))
