"""The API as pages call it: its own handlers, in this process, with the rights of the reader.

The edge checks scopes before a handler runs; here the same rows of the table are checked, so a
page can show nothing that its reader could not have asked for. Pages never change anything:
orders go to the API from the browser, with its protections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypedDict, TypeVar, Unpack

from holdfast.wire.api.call import Call, Handler, Problem, Refusal
from holdfast.wire.api.endpoint import Endpoint
from holdfast.wire.api.table import by_name
from holdfast.wire.salvage import damages

T = TypeVar("T")
M = TypeVar("M")


@dataclass(frozen=True, slots=True)
class Missing:
    """A part of a page that could not be had, and why."""

    problem: Problem


class Request(TypedDict, total=False):
    """What is sent to an endpoint; nothing where a field is left out."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any


class Api:
    """The handlers by the names of their endpoints."""

    def __init__(self, handlers: Mapping[str, Handler], noted: list[str] | None = None) -> None:
        """Call `handlers`; lines about damaged rows of their answers are appended to `noted`."""
        self._handlers = handlers
        self._noted = noted

    def noting(self, noted: list[str]) -> Api:
        """Return the same API, which appends lines about damaged rows to `noted`."""
        return Api(self._handlers, noted)

    async def ask(
        self, call: Call, endpoint: str, expected: type[T], **request: Unpack[Request]
    ) -> T:
        """Return the answer of an endpoint to the caller of a page.

        Raise Refusal where the endpoint refuses, and ValueError for a page that would change
        something or leave out an audit row that the endpoint's own route would have written.
        """
        row = by_name[endpoint]
        if row.mutates or (row.audited and not by_name[call.endpoint].audited):
            raise ValueError(f"{call.endpoint} must not call {endpoint}: it is not its to call")
        if row.scope == "operator":
            operators_only(call)
        _only_choices(row, request.get("query", {}))
        asked = replace(
            call,
            endpoint=endpoint,
            path=request.get("path", {}),
            query=request.get("query", {}),
            body=request.get("body"),
            idempotency_key="",
        )
        reply = await self._handlers[endpoint](asked)
        if not isinstance(reply.body, expected):
            raise TypeError(f"{endpoint} answered {type(reply.body).__name__}")
        if self._noted is not None:
            self._noted += damages(reply.body)
        return reply.body

    async def attempt(
        self, call: Call, endpoint: str, expected: type[T], **request: Unpack[Request]
    ) -> T | Missing:
        """Return the answer, or why a part of the page has to be left out."""
        try:
            return await self.ask(call, endpoint, expected, **request)
        except Refusal as refusal:
            return Missing(refusal.problem)

    async def ask_or(
        self, call: Call, endpoint: str, otherwise: T, **request: Unpack[Request]
    ) -> T:
        """Return the answer, or `otherwise` where the endpoint refuses."""
        found = await self.attempt(call, endpoint, type(otherwise), **request)
        return otherwise if isinstance(found, Missing) else found


def _only_choices(row: Endpoint, query: Mapping[str, str]) -> None:
    """Raise Refusal (400) for a value that its parameter does not offer, as the edge does."""
    for param in row.params:
        unknown = param.unknown(query[param.name]) if param.name in query else None
        if unknown is not None:
            said, fix = unknown
            raise Refusal(400, "unknown_value", said, field=param.name, fix=fix)


def operators_only(call: Call) -> None:
    """Raise Refusal (403) unless an operator calls."""
    if call.principal.scope != "operator":
        raise Refusal(
            403, "scope_too_narrow", "this needs the scope operator", fix="ask an operator"
        )


def unless_missing(found: T | Missing, make: Callable[[T], M]) -> M | Missing:
    """Return what `make` makes of an answer; what is missing stays missing."""
    return found if isinstance(found, Missing) else make(found)
