"""One request at an agent's host: authorised, then answered, passed on, or made a tunnel."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec

from holdfast.plane.agent_proxy import headers, pages
from holdfast.plane.agent_proxy.access import AGAIN, ENTER, RESERVED, Passage
from holdfast.plane.agent_proxy.pages import Notice
from holdfast.plane.edge.auth import Caller
from holdfast.relay import http1
from holdfast.relay.exchange import Exchange, Rules
from holdfast.wire import parsers

if TYPE_CHECKING:
    from holdfast.plane.agent_proxy.proxy import AgentProxy
    from holdfast.relay.downstream import Downstream

NOT_READY_BYTES_MAX: Final = 4_096
_FIELDS_MAX: Final = 16
"""Fields of the query that brings a code; ours is one."""
_NOT_READY: Final = 503
_UNAUTHORISED: Final = 401
_TOO_LARGE: Final = Notice(413, "too_large", "Request body too large", "")
_BUSY: Final = Notice(503, "busy", "Too many connections", "Try again later.", again_s=5)
_ENTER, _AGAIN = ENTER.encode(), AGAIN.encode()


class _Refused(msgspec.Struct):
    """A controller's refusal; a form that is none has no code."""

    code: str = ""


_REFUSED: Final = msgspec.json.Decoder(_Refused)


class Visit:
    """A job of a caller's connection until the request is authorised."""

    def __init__(
        self,
        proxy: AgentProxy,
        downstream: Downstream,
        request: http1.Request,
        header: Mapping[str, str],
        caller: Caller,
    ) -> None:
        self._proxy = proxy
        self._down = downstream
        self._request = request
        self._caller = caller
        self._header = header
        self._passage: Passage | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Stop reading until the request is authorised."""
        self._down.start(self, self._request)
        self._down.block()
        self._run(self._decide())

    # ------------------------------------------------------------- called by the connection

    def body(self, data: bytes) -> None:
        """Do nothing: reading is stopped."""

    def body_ended(self) -> None:
        """Do nothing."""

    def lost(self) -> None:
        """Cancel the authorisation."""
        if self._task is not None:
            self._task.cancel()

    def overdue(self) -> None:
        """Give up an authorisation that takes too long."""
        self.lost()
        self._show(pages.no_route(("", "")))

    def pause_writing(self) -> None:
        """Do nothing: the job that answers handles it."""

    def resume_writing(self) -> None:
        """Do nothing."""

    # ---------------------------------------------------------------------------- decisions

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(self._ran)
        self._task = task

    def _ran(self, task: asyncio.Task[None]) -> None:
        """End a connection whose request failed; the error is logged."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._proxy.log.error("agent_door.failed", exc_info=error)
            self._down.abort()

    async def _decide(self) -> None:
        """Answer, pass on, or open a tunnel."""
        request, socket = self._request, http1.is_websocket(self._request)
        instance_id = self._proxy.access.hosts.instance(self._caller.host)
        origin = f"{'https' if self._caller.secure else 'http'}://{self._caller.host.lower()}"
        method = request.method.decode()
        if not instance_id:
            self._show(pages.missing(("", "")))
        elif request.path in {_ENTER, _AGAIN} and not socket:
            await self._sign_over(instance_id)
        elif request.path.startswith(RESERVED):
            self._show(pages.reserved())
        elif not headers.is_own(method, self._header, origin=origin, socket=socket):
            self._show(pages.foreign())
        else:
            passage = await self._proxy.access.admit(
                instance_id, self._header, secure=self._caller.secure
            )
            if isinstance(passage, Notice):
                self._show(passage)
            elif socket:
                self._open_tunnel(passage)
            else:
                self._pass(passage)

    async def _sign_over(self, instance_id: str) -> None:
        """Redeem a code, or redirect to the dashboard for one."""
        access, request = self._proxy.access, self._request
        back = access.way_back(instance_id)
        if request.method not in {b"GET", b"HEAD"}:
            self._show(pages.reserved())
        elif request.path == _AGAIN:
            self._lead(back)
        else:
            query = request.target.partition(b"?")[2].decode("latin-1")
            code = dict(parsers.pairs(query, most=_FIELDS_MAX) or ()).get("code", "")
            cookie, where = await access.enter(
                instance_id, code, self._header, secure=self._caller.secure
            )
            if not cookie:
                self._show(pages.signed_out((back, "Open it from the dashboard")))
                return
            self._lead(where, cookie)

    # -------------------------------------------------------------------------- passing on

    def _pass(self, passage: Passage) -> None:
        """Pass a request on until it is answered, its caller is gone, or it is ended by `Live`."""
        proxy, request = self._proxy, self._request
        if request.length > proxy.limits.body_bytes:
            self._show(_TOO_LARGE)
            return
        if of := proxy.requests.full(passage):
            text = f"Too many requests {of} are under way."
            self._show(Notice(503, "busy", "Too busy", text, again_s=1))
            return
        self._passage = passage
        proxy.totals.requests += 1
        proxy.requests.enter(passage)
        forget = proxy.live.add(passage.signed, self._down.abort)

        def over(failed: str) -> None:
            proxy.requests.leave(passage)
            forget()
            if failed:
                proxy.log.warning("agent_door.broken", error=failed)

        rules = Rules(
            refusal=lambda _status: self._whole(pages.no_route(("", "")), close=True),
            answer=self._from_agent,
            keeps=self._keeps,
            kept=self._kept,
            over=over,
        )
        sent = self._to_agent(passage)
        if not request.minor:
            sent.append((b"connection", b"close"))
        exchange = Exchange(
            self._down,
            proxy.pools.of(passage.place.address),
            request,
            http1.write_request(request, sent),
            rules,
        )
        self._down.hand_on(exchange)
        exchange.begin()

    def _open_tunnel(self, passage: Passage) -> None:
        """Hand the whole connection to a tunnel: it is a WebSocket from here on."""
        proxy = self._proxy
        if proxy.tunnels.full or proxy.sockets.full(passage):
            self._show(_BUSY)
            return
        sent = self._to_agent(passage)
        sent += [(b"connection", b"Upgrade"), (b"upgrade", b"websocket")]
        forgets: list[Callable[[], None]] = []

        def ended() -> None:
            leave()
            proxy.sockets.leave(passage)
            for forget in forgets:
                forget()

        slow = self._down.slow
        client, early, leave = proxy.hand_over(self._down)
        tunnel = proxy.tunnels.start(
            client,
            address=passage.place.address,
            head=http1.write_request(self._request, sent),
            early=early,
            refusal=lambda _status: self._whole(pages.no_route(("", "")), close=True),
            answer=self._from_agent,
            on_end=ended,
            slow=slow,
        )
        proxy.sockets.enter(passage)
        forgets.append(proxy.live.add(passage.signed, tunnel.close))

    def _to_agent(self, passage: Passage) -> http1.Headers:
        place = passage.place
        host, token = str(place.address).encode(), place.token.encode()
        return headers.to_agent(self._request.headers, host=host, token=token)

    def _from_agent(self, response: http1.Response) -> http1.Headers:
        return headers.from_agent(response.headers)

    # ---------------------------------------------------------------- in an answer's place

    def _keeps(self, response: http1.Response) -> int:
        """Return how many bytes to buffer of an answer that is replaced by a page."""
        kind = http1.first(response.headers, b"content-type").partition(b";")[0].strip().lower()
        refused = response.status in {_NOT_READY, _UNAUTHORISED} and kind == b"application/json"
        by_person = "text/html" in self._header.get("accept", "")
        return NOT_READY_BYTES_MAX if refused and by_person else 0

    def _kept(self, response: http1.Response, content: bytes) -> None:
        self._down.hand_on(self)
        self._run(self._explain(response, content))

    async def _explain(self, response: http1.Response, content: bytes) -> None:
        """Send a page in place of the controller's refusal."""
        assert self._passage is not None
        code = _refusal(content).code
        if response.status == _NOT_READY and code in {"gateway_not_ready", ""}:
            self._show(await self._proxy.access.why(self._passage))
        elif response.status == _UNAUTHORISED and content == b'{"error": "Unauthorized"}':
            self._show(pages.no_route(("", "")))
        else:
            self._show(Notice(response.status, code or "refused", "The agent refused", ""))

    def _show(self, notice: Notice) -> None:
        close = self._must_close
        self._down.write(self._whole(notice, close=close))
        self._down.answered(keep=not close)

    def _lead(self, where: str, cookie: str = "") -> None:
        close = self._must_close
        found = [*pages.SECURITY, (b"location", where.encode("latin-1")), (b"content-length", b"0")]
        if cookie:
            found.append((b"set-cookie", cookie.encode("latin-1")))
        self._down.write(write_answer(303, found, close=close))
        self._down.answered(keep=not close)

    @property
    def _must_close(self) -> bool:
        """Return whether the connection must close after this answer."""
        gone = http1.is_websocket(self._request) or not self._request.minor
        return gone or not (self._down.keeps_alive and self._down.asked)

    def _whole(self, notice: Notice, *, close: bool) -> bytes:
        bare = self._request.method == b"HEAD"
        return write_notice(notice, self._header, close=close, bare=bare)


def header_of(headers: http1.Headers) -> dict[str, str]:
    """Return headers by name, in lower case, several of a name joined."""
    header: dict[str, str] = {}
    for raw_name, raw_value in headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        joint = "; " if name == "cookie" else ", "
        header[name] = f"{header[name]}{joint}{value}" if name in header else value
    return header


def write_notice(
    notice: Notice, header: Mapping[str, str], *, close: bool, bare: bool = False
) -> bytes:
    """Return a notice as a whole answer to a request with these headers; a `bare` one for HEAD."""
    status, found, body = pages.answer(notice, header)
    return write_answer(status, found, close=close) + (b"" if bare else body)


def write_answer(status: int, found: http1.Headers, *, close: bool) -> bytes:
    """Return the head of an answer of our own."""
    line = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
    return http1.write_head(line, [*found, (b"connection", b"close")] if close else found)


def _refusal(content: bytes) -> _Refused:
    try:
        return parsers.from_json(_REFUSED, content)
    except msgspec.DecodeError:
        return _Refused()
