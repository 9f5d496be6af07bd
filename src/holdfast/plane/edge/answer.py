"""Responses: a reply or a problem as HTTP, with the headers of every response."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import html
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

import msgspec
from starlette.types import Receive, Send

from holdfast.wire.api.call import Problem, Refusal, Reply
from holdfast.wire.api.clawmetry import NodeProblem

SECURITY: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
"""Headers of every response."""

PAGE_SECURITY: Final = (
    (
        b"content-security-policy",
        (
            b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            b"font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
            b"frame-ancestors 'none'"
        ),
    ),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
)
"""Headers of every page: only our own files run, and framing is forbidden."""

_STRICT_CSP: Final = ((b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),)
_NO_STORE: Final = (b"cache-control", b"no-store")
_ENCODER: Final = msgspec.json.Encoder()
_HTML: Final = "text/html; charset=utf-8"
TOO_MANY_WRONG_PROOFS: Final = "too_many_wrong_proofs"
_BODILESS: Final = frozenset({204, 304})


def encode_body(reply: Reply) -> bytes:
    """Return the bytes of a reply's body."""
    if reply.body is None:
        return b""
    if isinstance(reply.body, bytes):
        return reply.body
    if isinstance(reply.body, str) and reply.content_type != "application/json":
        return reply.body.encode()
    return _ENCODER.encode(reply.body)


def _head(
    content_type: str, extra: Mapping[str, str], *, cookies: tuple[str, ...] = ()
) -> list[tuple[bytes, bytes]]:
    """Return the headers of a response; a handler's own take precedence over ours."""
    headers = [(name.lower().encode("latin-1"), v.encode("latin-1")) for name, v in extra.items()]
    given = {name for name, _ in headers}
    is_page = content_type.startswith("text/html")
    ours = (*SECURITY, *(PAGE_SECURITY if is_page else _STRICT_CSP), _NO_STORE)
    headers += [pair for pair in ours if pair[0] not in given]
    headers += [(b"set-cookie", cookie.encode("latin-1")) for cookie in cookies]
    if content_type:
        headers.append((b"content-type", content_type.encode("latin-1")))
    return headers


async def send_reply(send: Send, reply: Reply, body: bytes, request_id: str, *, bare: bool) -> None:
    """Send a reply that is not a stream; a `bare` one (HEAD) without its body."""
    bodiless = reply.status in _BODILESS
    headers = _head("" if bodiless else reply.content_type, reply.headers, cookies=reply.cookies)
    headers.append((b"x-request-id", request_id.encode("latin-1")))
    if not bodiless:
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if bare or bodiless else body})


def problem_reply(refusal: Refusal, request_id: str) -> Reply:
    """Return a refusal as an answer for programs."""
    headers = {}
    if refusal.retry_after_s is not None:
        headers["retry-after"] = str(refusal.retry_after_s)
    if refusal.status == 401:  # noqa: PLR2004  HTTP
        headers["www-authenticate"] = 'Bearer realm="holdfast"'
    if refusal.status == 408 or refusal.problem.code == TOO_MANY_WRONG_PROOFS:  # noqa: PLR2004  HTTP
        headers["connection"] = "close"
    problem = refusal.problem
    if refusal.status >= 500 and not problem.operation:  # noqa: PLR2004  HTTP
        problem = msgspec.structs.replace(problem, operation=f"request {request_id}")
    return Reply(problem, status=refusal.status, headers=headers)


def with_detail(reply: Reply) -> Reply:
    """Return a refusal with its message under the name that the SDKs of brains read as well."""
    problem: Problem = reply.body
    told = msgspec.structs.replace(problem, detail=problem.message)
    return dataclasses.replace(reply, body=told)


def for_node(reply: Reply) -> Reply:
    """Return a refusal also in the words that the ClawMetry daemon reads."""
    problem: Problem = reply.body
    told = NodeProblem(
        code=problem.code,
        message=problem.message,
        error=problem.code,
        field=problem.field,
        fix=problem.fix,
        operation=problem.operation,
    )
    return dataclasses.replace(reply, body=told)


def problem_page(status: int, problem: Problem) -> bytes:
    """Return a refusal as a plain page for people."""
    lines = [problem.message, *([problem.fix] if problem.fix else [])]
    text = "".join(f"<p>{html.escape(line)}</p>" for line in lines)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<link rel="icon" href="data:,">'  # as on every page: else browsers request an icon
        f"<title>{status}</title></head><body><main><h1>{status}</h1>{text}"
        '<p><a href="/">Back to the fleet</a></p></main></body></html>'
    ).encode()


def page_reply(body: bytes, status: int, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a page as an answer."""
    return Reply(body, status=status, content_type=_HTML, headers=headers or {})


async def send_stream(
    send: Send,
    receive: Receive,
    reply: Reply,
    request_id: str,
    closing: asyncio.Event,
    *,
    bare: bool,
) -> None:
    """Send a stream until it ends, the caller is gone, or we close; its iterator is closed too."""
    stream = reply.stream
    assert stream is not None
    headers = _head(reply.content_type, reply.headers, cookies=reply.cookies)
    headers += [(b"x-request-id", request_id.encode()), (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    ends: list[asyncio.Task[Any]] = [
        asyncio.ensure_future(_gone(receive)),
        asyncio.ensure_future(closing.wait()),
    ]
    try:
        if not bare:
            await _pump(send, stream, ends)
        await send({"type": "http.response.body", "body": b""})
    finally:
        for end in ends:
            end.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


async def _gone(receive: Receive) -> bool:
    """Return when the caller has disconnected."""
    while (await receive())["type"] != "http.disconnect":
        pass
    return True


async def _pump(send: Send, stream: AsyncIterator[bytes], ends: list[asyncio.Task[Any]]) -> None:
    """Send chunk after chunk until one of the ends comes first."""
    chunks = aiter(stream)
    while True:
        waiting: asyncio.Task[Any] = asyncio.ensure_future(_next(chunks))
        try:
            await asyncio.wait([waiting, *ends], return_when=asyncio.FIRST_COMPLETED)
            if any(end.done() for end in ends):
                return
            chunk = waiting.result()
        except StopAsyncIteration:
            return
        finally:
            if not waiting.done():
                waiting.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await waiting
        await send({"type": "http.response.body", "body": chunk, "more_body": True})


async def _next(chunks: AsyncIterator[bytes]) -> bytes:
    """Return the next chunk."""
    return await anext(chunks)
