"""The proxy's own answers: short, JSON, and complete to the byte."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final

from holdfast.wire.controller.calls import TOO_MANY_WRONG_PROOFS

RETRY_S: Final = 5
"""Retry-After while the agent starts (compat/controller.md)."""

TOKEN_HEADERS: Final = frozenset({b"x-holdfast-proxy-token", b"x-kiloclaw-proxy-token"})
"""Headers with the proxy token; neither is passed on to the agent."""


def problem(
    status: int,
    error: str,
    code: str = "",
    *,
    close: bool,
    bare: bool = False,
    again_s: int = 0,
) -> bytes:
    """Return a complete answer `{error, code}`; a `bare` one (HEAD) without its body."""
    body = json.dumps({"error": error, "code": code} if code else {"error": error}).encode()
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
        f"Cache-Control: no-store\r\n"
    )
    if again_s or status == HTTPStatus.SERVICE_UNAVAILABLE:
        head += f"Retry-After: {again_s or RETRY_S}\r\n"
    if close:
        head += "Connection: close\r\n"
    return f"{head}\r\n".encode() + (b"" if bare else body)


def unauthorised(*, close: bool, bare: bool = False) -> bytes:
    """Return the answer to a caller without the proxy token."""
    return problem(401, "Unauthorized", close=close, bare=bare)


def too_many_wrong_proofs(again_s: int, *, bare: bool = False) -> bytes:
    """Return the answer to a wrong token of a peer that showed too many."""
    text = "Too many wrong tokens came from this address"
    return problem(429, text, TOO_MANY_WRONG_PROOFS, close=True, bare=bare, again_s=again_s)


def not_ready(*, close: bool, bare: bool = False) -> bytes:
    """Return the answer while the agent is not ready."""
    return problem(503, "Gateway not ready", "gateway_not_ready", close=close, bare=bare)


def bad_gateway(status: int, *, close: bool = True, bare: bool = False) -> bytes:
    """Return the answer if the agent is unreachable (502) or too slow (504)."""
    if status == HTTPStatus.GATEWAY_TIMEOUT:
        return problem(504, "Gateway Timeout", "agent_timeout", close=close, bare=bare)
    return problem(502, "Bad Gateway", "agent_unreachable", close=close, bare=bare)
