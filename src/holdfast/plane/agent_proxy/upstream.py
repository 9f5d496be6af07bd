"""HTTP between a browser and its agent, as an ASGI application for agents' hosts."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

import aiohttp
from starlette.types import Receive, Scope, Send
from yarl import URL

from holdfast.kernel.log import Log
from holdfast.plane.agent_proxy import headers, pages
from holdfast.plane.agent_proxy.access import AGAIN, ENTER, RESERVED, Door, Passage
from holdfast.plane.agent_proxy.open_sockets import Live, Shares, Tally
from holdfast.plane.agent_proxy.pages import Notice
from holdfast.plane.edge.auth import Caller, Network, find_caller
from holdfast.relay import http1

CONNECT_S: Final = 5.0
"""How long a controller may take to accept."""

SILENCE_S: Final = 330.0
"""How long it may be silent: a little longer than it waits for its agent."""

SHARES: Final = Shares(each=64, account=256, total=512)
"""Requests that are passed on at once."""

NOT_READY_BYTES_MAX: Final = 4_096
_NOT_READY: Final = 503
_UNAUTHORISED: Final = 401
_OURS_ALONE: Final = frozenset({"User-Agent", "Accept", "Accept-Encoding", "Content-Type"})


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: bytes
    query: bytes
    headers: http1.Headers
    header: Mapping[str, str]
    caller: Caller

    @property
    def has_body(self) -> bool:
        return "content-length" in self.header or "transfer-encoding" in self.header

    @property
    def origin(self) -> str:
        return f"{'https' if self.caller.secure else 'http'}://{self.caller.host.lower()}"


class AgentHttp:
    """The ASGI application; it answers on agents' hosts and never on the dashboard's."""

    def __init__(self, door: Door, live: Live, *, trusted: Sequence[Network], log: Log) -> None:
        """Decide by `door`, and have `live` end what may not stay."""
        self._door = door
        self._live = live
        self._trusted = tuple(trusted)
        self._log = log
        self._tally = Tally(SHARES)
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections to controllers."""
        if self._session is not None:
            await self._session.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = self._read(scope)
        instance_id = self._door.hosts.instance(request.caller.host)
        if not instance_id:
            await _show(send, request, pages.missing(("", "")))
        elif request.path in {ENTER.encode(), AGAIN.encode()}:
            await self._sign_over(instance_id, request, send)
        elif request.path.startswith(RESERVED):
            await _show(send, request, pages.reserved())
        elif not headers.is_own(request.method, request.header, origin=request.origin):
            await _show(send, request, pages.foreign())
        else:
            passage = await self._door.admit(instance_id, request.header)
            if isinstance(passage, Notice):
                await _show(send, request, passage)
            else:
                await self._pass(passage, request, receive, send)

    def host_of(self, scope: Scope) -> str:
        """Return the host that a browser asked for, as a trusted proxy tells it or as it came."""
        if self._trusted:
            return self._read(scope).caller.host
        host: bytes = next((value for name, value in scope["headers"] if name == b"host"), b"")
        return host.decode("latin-1")

    def _read(self, scope: Scope) -> _Request:
        found = [(name.lower(), value) for name, value in scope["headers"]]
        header: dict[str, str] = {}
        for raw_name, raw_value in found:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            joint = "; " if name == "cookie" else ", "
            header[name] = f"{header[name]}{joint}{value}" if name in header else value
        client = scope.get("client")
        peer, scheme = client[0] if client else "", scope.get("scheme", "http")
        caller = find_caller(peer, scheme, header, self._trusted)
        path = scope.get("raw_path") or scope["path"].encode()
        return _Request(scope["method"], path, scope["query_string"], found, header, caller)

    async def _sign_over(self, instance_id: str, request: _Request, send: Send) -> None:
        """Take a code, or lead back to where one is given."""
        back = self._door.way_back(instance_id)
        if request.method not in {"GET", "HEAD"}:
            await _show(send, request, pages.reserved())
        elif request.path == AGAIN.encode():
            await _lead(send, back)
        else:
            code = parse_qs(request.query.decode("latin-1")).get("code", [""])[0]
            secret, where = await self._door.enter(instance_id, code)
            if not secret:
                await _show(send, request, pages.signed_out((back, "Open it from the dashboard")))
                return
            secure = "; Secure" if request.caller.secure else ""
            cookie = f"{headers.COOKIE}={secret}; Path=/; HttpOnly; SameSite=Lax{secure}"
            await _lead(send, where, cookie)

    async def _pass(
        self, passage: Passage, request: _Request, receive: Receive, send: Send
    ) -> None:
        """Pass a request on until it is answered, its caller gone, or its leave withdrawn."""
        tally = self._tally
        if of := tally.full(passage):
            text = f"Too many requests {of} are under way."
            await _show(send, request, Notice(503, "busy", "Too busy", text, again_s=1))
            return
        tally.enter(passage)
        try:
            await self._work(passage, request, receive, send)
        finally:
            tally.leave(passage)

    async def _work(
        self, passage: Passage, request: _Request, receive: Receive, send: Send
    ) -> None:
        """Have the exchange done, and end it with whatever ends first."""
        body = _Body(receive, comes=request.has_body)
        work = asyncio.ensure_future(self._exchange(passage, request, body, send))
        gone = asyncio.ensure_future(body.gone.wait())

        def end() -> None:
            work.cancel()

        forget = self._live.add(passage.signed, end)
        try:
            await asyncio.wait([work, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            forget()
            body.close()
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        if not work.cancelled() and (error := work.exception()) is not None:
            self._log.error("agent_door.failed", exc_info=error)

    async def _exchange(self, passage: Passage, request: _Request, body: _Body, send: Send) -> None:
        """Ask the controller and pass its answer on."""
        try:
            async with self._ask(passage, request, body) as answer:
                body.watch()
                notice = await self._notice(passage, request, answer)
                if notice is not None:
                    await _show(send, request, notice)
                    return
                await _start(send, answer)
                async for piece in answer.content.iter_any():
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            await _show(send, request, pages.no_route(("", "")))
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            # Once an answer has begun, ending here without its last piece shows that it was cut.
            self._log.warning("agent_door.broken", error=type(error).__name__)
            if not body.answered:
                await _show(send, request, pages.no_route(("", "")))

    def _ask(self, passage: Passage, request: _Request, body: _Body) -> Any:
        host = passage.place.address.encode()
        sent = headers.to_agent(request.headers, host=host, token=passage.place.token.encode())
        pairs = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in sent
            if name != b"transfer-encoding"
        ]
        target = request.path + (b"?" + request.query if request.query else b"")
        return self._open().request(
            request.method,
            URL(f"http://{passage.place.address}{target.decode('latin-1')}", encoded=True),
            headers=pairs,
            data=body.pieces() if request.has_body else None,
            allow_redirects=False,
            skip_auto_headers=_OURS_ALONE,
        )

    async def _notice(
        self, passage: Passage, request: _Request, answer: aiohttp.ClientResponse
    ) -> Notice | None:
        """Return the page to show in place of the controller's own refusal, or None."""
        if answer.content_type != "application/json":
            return None
        if answer.status not in {_NOT_READY, _UNAUTHORISED} or "text/html" not in (
            request.header.get("accept", "")
        ):
            return None
        said = await answer.content.read(NOT_READY_BYTES_MAX)
        code = _object(said).get("code", "")
        if answer.status == _NOT_READY and code in {"gateway_not_ready", ""}:
            return await self._door.why(passage)
        if answer.status == _UNAUTHORISED and said == b'{"error": "Unauthorized"}':
            return pages.no_route(("", ""))
        return Notice(answer.status, str(code) or "refused", "The agent refused", "")

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=SHARES.total),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_S, sock_read=SILENCE_S
                ),
                max_line_size=65_536,
                max_field_size=65_536,
            )
        return self._session


class _Body:
    """A request's body as it comes, and whether its caller is still there.

    Only one of the two listens at a time, or each would take what is meant for the other.
    """

    def __init__(self, receive: Receive, *, comes: bool) -> None:
        self._receive = receive
        self._read = not comes
        self._over = False
        self._watching: asyncio.Task[None] | None = None
        self.gone = asyncio.Event()
        self.answered = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body."""
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self.gone.set()
                return
            more = message.get("more_body", False)
            if message.get("body"):
                yield message["body"]
        self._read = True
        self._watch_if_due()

    def watch(self) -> None:
        """Notice when the caller goes, from now on or from the end of the body that comes yet."""
        self.answered = True
        self._watch_if_due()

    def close(self) -> None:
        """Listen no more."""
        self._over = True
        if self._watching is not None:
            self._watching.cancel()

    def _watch_if_due(self) -> None:
        if self.answered and self._read and not self._over and self._watching is None:
            self._watching = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.gone.set()


async def _start(send: Send, answer: aiohttp.ClientResponse) -> None:
    found = [(name.lower(), value) for name, value in answer.raw_headers]
    passed = [
        pair
        for pair in headers.from_agent(http1.end_to_end(found))
        if pair[0] != b"transfer-encoding"
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": passed})


async def _show(send: Send, request: _Request, notice: Notice) -> None:
    status, found, body = pages.answer(notice, request.header)
    await send({"type": "http.response.start", "status": status, "headers": found})
    bare = request.method == "HEAD"
    await send({"type": "http.response.body", "body": b"" if bare else body})


async def _lead(send: Send, where: str, cookie: str = "") -> None:
    found = [*pages.SECURITY, (b"location", where.encode("latin-1")), (b"content-length", b"0")]
    if cookie:
        found.append((b"set-cookie", cookie.encode("latin-1")))
    await send({"type": "http.response.start", "status": 303, "headers": found})
    await send({"type": "http.response.body", "body": b""})


def _object(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
