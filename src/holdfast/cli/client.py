"""The transport of the typed client: one connection to a plane, on the standard library.

It is small because the command line must start fast. Every wait has a limit, and an error names the
remedy. It never retries a change by itself: `Idempotency-Key` is for callers that do.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Self

from holdfast.wire.address import Base
from holdfast.wire.api.call import Problem
from holdfast.wire.api.client import ApiError, parse, prepare
from holdfast.wire.api.table import by_name

__all__ = ["ApiError", "Client", "UnreachableError"]

TIMEOUT_S: Final = 30.0
"""Time limit for the plane's answer in seconds; it answers an order within 2 s or with 202."""

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest answer that is read."""


class UnreachableError(ApiError):
    """No plane answered at the address; its status is 0."""

    def __str__(self) -> str:
        return self.problem.message


class Client:
    """Calls to one plane, one at a time. Close it, or use it in a `with`."""

    def __init__(self, base_url: str, token: str = "", *, timeout_s: float = TIMEOUT_S) -> None:
        """Raise ValueError for a URL that is not http or https with a host."""
        self._base = Base.parse(base_url)
        self._token = token
        connect = (
            http.client.HTTPSConnection  # it verifies certificates by default
            if self._base.scheme == "https"
            else http.client.HTTPConnection
        )
        self._connection = connect(*self._base.address, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def call(
        self,
        name: str,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        idempotency_key: str = "",
    ) -> Any:
        """Return the answer of the endpoint called `name`, in its declared type.

        Raise ApiError if the plane refuses, UnreachableError if no plane answers, ValueError if an
        argument does not fit the endpoint.
        """
        endpoint = by_name[name]
        request = prepare(
            endpoint, path=path, query=query, body=body, idempotency_key=idempotency_key
        )
        headers = dict(request.headers)
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        with self._reaching():
            self._connection.request(
                request.method, self._base.target(request.target), request.body or None, headers
            )
            answer = self._connection.getresponse()
            content = answer.read(ANSWER_BYTES_MAX + 1)
        if len(content) > ANSWER_BYTES_MAX:
            self.close()
            problem = Problem(code="answer_too_large", message="the answer is too large to read")
            raise ApiError(answer.status, problem)
        return parse(endpoint, answer.status, content)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn connection failures into an error that names the remedy."""
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            self.close()
            problem = Problem(
                code="unreachable",
                message=f"no answer from {self._base.url()}: {error}",
                fix="start the plane with `holdfast up`, or set HOLDFAST_URL",
            )
            raise UnreachableError(0, problem) from error
