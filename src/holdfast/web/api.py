"""How pages get their data: from the API's own handlers, with their reader's rights.

The edge checks scopes before a handler runs; here the same rows of the table are looked at, so a
page can show nothing that its reader could not have asked for. Pages never change anything:
orders go to the API from the browser, with its protections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from holdfast.wire.api.call import Call, Handler, Problem, Refusal
from holdfast.wire.api.table import by_name

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Missing:
    """A part of a page that could not be had, and why."""

    problem: Problem


class Asking:
    """The API as pages see it."""

    def __init__(self, handlers: Mapping[str, Handler]) -> None:
        self._handlers = handlers

    async def ask(
        self,
        call: Call,
        endpoint: str,
        expected: type[T],
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> T:
        """Return the answer of an endpoint to the caller of a page.

        Raise Refusal where the endpoint refuses. ValueError tells of a page that would change
        something, or leave out an audit row that the endpoint's own route would have written.
        """
        row = by_name[endpoint]
        if row.mutates or (row.audited and not by_name[call.endpoint].audited):
            raise ValueError(f"{call.endpoint} must not call {endpoint}: it is not its to call")
        if row.scope == "operator" and call.principal.scope != "operator":
            raise Refusal(
                403, "scope_too_narrow", "this needs the scope operator", fix="ask an operator"
            )
        asked = replace(
            call,
            endpoint=endpoint,
            path=path or {},
            query=query or {},
            body=body,
            idempotency_key="",
        )
        reply = await self._handlers[endpoint](asked)
        if not isinstance(reply.body, expected):
            raise TypeError(f"{endpoint} answered {type(reply.body).__name__}")
        return reply.body

    async def attempt(
        self,
        call: Call,
        endpoint: str,
        expected: type[T],
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> T | Missing:
        """Return the answer, or why a part of the page has to be left out."""
        try:
            return await self.ask(call, endpoint, expected, path=path, query=query, body=body)
        except Refusal as refusal:
            return Missing(refusal.problem)
