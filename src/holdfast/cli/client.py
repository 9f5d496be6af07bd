"""The transport of the typed client: one connection to a plane, on the standard library.

It is small because the command line must start fast. Every wait has a limit, and an error names the
remedy. It never retries a change by itself: `Idempotency-Key` is for callers that do.
"""

from __future__ import annotations

import http.client
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple, Self

from msgspec.structs import replace

from holdfast.kernel.failure import reason
from holdfast.kernel.secret import Secret
from holdfast.plane.plane_key import PlaneKey
from holdfast.wire.address import Base
from holdfast.wire.api.call import Problem
from holdfast.wire.api.client import ApiError, parse, prepare
from holdfast.wire.api.table import by_name
from holdfast.wire.limits import PAGE_ITEMS_MAX

__all__ = ["ApiError", "Client", "Proof", "UnprovenError", "UnreachableError"]

TIMEOUT_S: Final = 30.0
"""Time limit for the plane's answer in seconds; it answers an order within 2 s or with 202."""

ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
"""The largest answer that is read."""


_NONCE_BYTES: Final = 16


class UnreachableError(ApiError):
    """No plane answered at the address; its status is 0."""

    def __str__(self) -> str:
        return self.problem.message


class UnprovenError(UnreachableError):
    """Whoever answers there did not prove to be the plane of this home; no token was sent."""


class Proof(NamedTuple):
    """The key that a plane has to prove it holds; with None no plane can."""

    key: PlaneKey | None


class Client:
    """Calls to one plane, one at a time. Close it, or use it in a `with`."""

    def __init__(
        self,
        base_url: str,
        token: str = "",
        *,
        timeout_s: float = TIMEOUT_S,
        proof: Proof | None = None,
    ) -> None:
        """Raise ValueError for a URL that is not http or https with a host, or no such token.

        With a `proof`, each new connection requires it before the token is sent on it.
        """
        self._base = Base.parse(base_url)
        self._token = Secret.read(token, "the token")
        self._proof = proof
        connect = (
            http.client.HTTPSConnection  # it verifies certificates by default
            if self._base.scheme == "https"
            else http.client.HTTPConnection
        )
        self._connection = connect(*self._base.address, timeout=timeout_s)
        self._connection.auto_open = 0  # a connection that is new has to prove itself first

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
        if self._connection.sock is None:
            with self._reaching():
                self._connection.connect()
            if self._proof is not None and self._token and not self._is_proven(self._proof.key):
                self.close()
                raise UnprovenError(0, self._unproven())
        if self._token:
            headers["authorization"] = f"Bearer {self._token.reveal()}"
        status, content = self._exchange(request.method, request.target, request.body, headers)
        return parse(endpoint, status, content)

    def every(
        self,
        name: str,
        *,
        path: Mapping[str, str] | None = None,
        query: Mapping[str, str] | None = None,
    ) -> Any:
        """Return every page of a list as one answer; raises as `call` does."""
        asked = {key: value for key, value in (query or {}).items() if value}
        asked["limit"] = str(PAGE_ITEMS_MAX)
        whole = self.call(name, path=path, query=asked)
        while whole.next:
            page = self.call(name, path=path, query={**asked, "after": whole.next})
            whole = replace(whole, items=(*whole.items, *page.items), next=page.next)
        return whole

    def _exchange(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        with self._reaching():
            self._connection.request(method, self._base.target(target), body or None, headers)
            answer = self._connection.getresponse()
            content = answer.read(ANSWER_BYTES_MAX + 1)
        if len(content) > ANSWER_BYTES_MAX:
            self.close()
            problem = Problem(code="answer_too_large", message="the answer is too large to read")
            raise ApiError(answer.status, problem)
        return answer.status, content

    def _is_proven(self, key: PlaneKey | None) -> bool:
        """Return whether the server of this connection proves that it holds the key."""
        if key is None:
            return False
        host, port = self._connection.sock.getpeername()[:2]
        nonce, proof = os.urandom(_NONCE_BYTES).hex(), ""
        endpoint = by_name["plane.prove"]
        request = prepare(endpoint, query={"nonce": nonce})
        with suppress(ApiError):
            answer = self._exchange(request.method, request.target, b"", request.headers)
            proof = parse(endpoint, *answer).proof
        return key.proves(proof, nonce, host, port) and self._connection.sock is not None

    def _unproven(self) -> Problem:
        return Problem(
            code="not_this_plane",
            message=f"what answers at {self._at} did not prove to be the plane of this data folder;"
            " the token was not sent",
            fix="see what listens there (holdfast doctor); a plane of an older version must be"
            " started again; through a tunnel see docs/guide/operating.md",
        )

    @property
    def _at(self) -> str:
        """Return where the plane is, without the path, which may hold anything."""
        return self._base._replace(prefix="").url()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn connection failures into an error that names the remedy."""
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            self.close()
            problem = Problem(
                code="unreachable",
                message=f"no answer from {self._at}: {reason(error)}",
                fix="start the plane with `holdfast up`, or set HOLDFAST_URL",
            )
            raise UnreachableError(0, problem) from None
