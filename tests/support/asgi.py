"""Calls an ASGI application in memory, without a server or a socket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import msgspec

App = Callable[[Any, Any, Any], Any]


@dataclass(frozen=True)
class Answer:
    """What the application answered."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """Return the first header of this name, or nothing."""
        return next((value for found, value in self.headers if found == name), "")

    def json(self) -> Any:
        """Return the decoded body."""
        return msgspec.json.decode(self.body)


def scope_of(method: str, target: str, headers: dict[str, str], peer: str) -> dict[str, Any]:
    """Return the ASGI scope of a request."""
    path, _, query = target.partition("?")
    named = {"host": "plane.test", **headers}
    return {
        "type": "http",
        "http_version": "1.1",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "scheme": "http",
        "client": (peer, 50_000),
        "headers": [(k.lower().encode(), v.encode("latin-1")) for k, v in named.items()],
    }


async def call(
    app: App,
    method: str,
    target: str,
    *,
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    chunks: Iterable[bytes] | None = None,
    peer: str = "192.0.2.1",
) -> Answer:
    """Return the answer to one request; `chunks` sends the body in parts, without a length."""
    given = dict(headers or {})
    if body and chunks is None:
        given.setdefault("content-length", str(len(body)))
    if chunks is not None:
        given.setdefault("transfer-encoding", "chunked")
    parts = list(chunks) if chunks is not None else [body]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if parts:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope_of(method, target, given, peer), receive, send)
    start = sent[0]
    return Answer(
        status=start["status"],
        headers=tuple((k.decode(), v.decode()) for k, v in start["headers"]),
        body=b"".join(message.get("body", b"") for message in sent[1:]),
    )


def json_headers(token: str = "") -> dict[str, str]:
    """Return the headers of a program that sends JSON."""
    headers = {"content-type": "application/json"}
    return {**headers, "authorization": f"Bearer {token}"} if token else headers
