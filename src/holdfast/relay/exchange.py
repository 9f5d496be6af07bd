"""One request to a server and its answer, both relayed.

An idempotent request uses a spare connection, and another one if the spare turns out to be dead;
any other gets a connection of its own, so that it is never sent twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from holdfast.relay import http1
from holdfast.relay.downstream import Downstream
from holdfast.relay.upstream import Pool, Upstream

_REPEATABLE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_FINAL: Final = 200
_SWITCHING: Final = 101
_NO_CONTENT: Final = 204
_LENGTHS: Final = frozenset({b"content-length", b"transfer-encoding"})


def _as_it_is(response: http1.Response) -> http1.Headers:
    return response.headers


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The differences between the two relays.

    `refusal` makes the complete answer for 502, 503 and 504, after which the connection is closed.
    `answer` returns the headers of an answer for the caller. `keeps` returns how many bytes of an
    answer's body to pass to `kept`, which then answers the caller instead. `over` is called once at
    the end of the exchange, with the failure if there was one.
    """

    refusal: Callable[[int], bytes]
    answer: Callable[[http1.Response], http1.Headers] = _as_it_is
    keeps: Callable[[http1.Response], int] = lambda _response: 0
    kept: Callable[[http1.Response, bytes], None] = lambda _response, _content: None
    over: Callable[[str], None] = lambda _failed: None


class Exchange:
    """A job of a caller's connection: answered by a server."""

    __slots__ = (
        "_answer", "_dialling", "_down", "_head", "_kept", "_pool", "_response", "_room", "_rules",
        "_spare", "_up", "over", "request",
    )  # fmt: skip

    def __init__(
        self, downstream: Downstream, pool: Pool, request: http1.Request, head: bytes, rules: Rules
    ) -> None:
        """Relay the request of this caller; `head` is what the server is sent."""
        self._down = downstream
        self._pool = pool
        self.request = request
        self._head = head
        self._rules = rules
        self._up: Upstream | None = None
        self._spare = False
        self._dialling: asyncio.Task[None] | None = None
        self._answer: http1.Body | None = None
        self._response: http1.Response | None = None
        self._kept: bytes | None = None
        self._room = 0
        self.over = False

    def begin(self) -> None:
        """Send the head, over a spare connection or a new one."""
        if self.request.method in _REPEATABLE and not self.request.length:
            spare = self._pool.take()
            if spare is not None:
                self._spare = True
                self._connected(spare)
                return
        self._dial()

    def _dial(self) -> None:
        self._spare = False
        if self._pool.full:
            self._refuse(503, "busy")
            return
        self._down.block()
        self._dialling = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(self._pool.limits.connect_s):
                up = await self._pool.dial()
        except OSError:  # which includes a timeout
            self._dialling = None
            self.failed(word="unreachable")
            return
        self._dialling = None
        if self.over:
            up.abort()
            return
        self._connected(up)
        self._down.unblock()

    def _connected(self, up: Upstream) -> None:
        """Send the head; the body follows as it comes."""
        self._up = up
        up.carry(self)
        if self._down.slow:
            up.pause()
        up.write(self._head)
        self._down.touch(self._pool.limits.answer_s)

    # ---------------------------------------------------------------- what the caller sends

    def body(self, data: bytes) -> None:
        """Pass on a piece of the body; none comes before there is a connection."""
        if self._up is not None:
            self._up.write(data)
        self._down.touch(self._pool.limits.answer_s)

    def body_ended(self) -> None:
        """Do nothing: the connection detects the end of the request."""

    def lost(self) -> None:
        """Stop the server's work: the caller is gone."""
        self._finish("")

    def overdue(self) -> None:
        """Give up a server, or a caller, that stalls."""
        self._give_up(504, "timeout")

    def pause_writing(self) -> None:
        """Pause reading the answer: the caller is slow."""
        if self._up is not None:
            self._up.pause()

    def resume_writing(self) -> None:
        """Resume reading."""
        if self._up is not None:
            self._up.resume()

    # ---------------------------------------------------------------- what the server sends

    def slow(self, *, server_is: bool) -> None:
        """Pass on the server's back pressure, or its end."""
        if server_is:
            self._down.block()
        else:
            self._down.unblock()

    def head(self, response: http1.Response) -> None:
        """Pass on the head of an answer; raise MalformedError if it is not valid here."""
        request = self.request
        if response.status < _FINAL:
            if response.status == _SWITCHING:
                raise http1.MalformedError("the server switched protocols unasked")
            if request.minor:
                self._write_head(response, http1.end_to_end(self._rules.answer(response)))
            return
        if response.length == http1.CHUNKED and not request.minor:
            raise http1.MalformedError("the caller cannot read a chunked answer")
        self._answer, self._response = http1.Body(response.length), response
        self._room = self._rules.keeps(response)
        if self._room:
            self._kept = b""
            return
        headers = http1.end_to_end(self._rules.answer(response))
        if response.status == _NO_CONTENT:
            headers = [pair for pair in headers if pair[0] not in _LENGTHS]
        if self._answer.until_close or not self._down.keeps_alive:
            headers.append((b"connection", b"close"))
        elif not request.minor:
            headers.append((b"connection", b"keep-alive"))
        self._write_head(response, headers)
        self._down.touch(self._pool.limits.silence_s)

    def _write_head(self, response: http1.Response, headers: http1.Headers) -> None:
        line = b"HTTP/1.1 %d %b" % (response.status, response.reason)
        self._down.write(http1.write_head(line, headers))

    @property
    def answer(self) -> http1.Body | None:
        """Return the body under way, None before the head."""
        return self._answer

    def data(self, data: bytes) -> None:
        """Pass on a piece of the answer's body."""
        if self._kept is None:
            self._down.write(data)
            self._down.touch(self._pool.limits.silence_s)
            return
        self._kept += data
        if len(self._kept) >= self._room:
            self._give_kept()

    def ended(self, *, reusable: bool) -> None:
        """Handle the end of the answer."""
        if self.over:
            return
        assert self._answer is not None
        if self._kept is not None:
            self._give_kept(reusable=reusable)
            return
        self._finish("", reusable=reusable and self._down.asked)
        self._down.answered(keep=not self._answer.until_close)

    def failed(self, *, unheard: bool = False, word: str = "broken") -> None:
        """Handle a server's connection that is gone, or violated the protocol.

        `unheard` means that it closed without any data, as a spare one does that was too old.
        """
        if self.over:
            return
        if self._spare and unheard and self._answer is None:
            self._up = None
            self._dial()
            return
        self._give_up(502, word)

    def _give_kept(self, *, reusable: bool = False) -> None:
        """Let `kept` answer the caller."""
        response, kept = self._response, self._kept
        assert response is not None
        assert kept is not None
        self._finish("", reusable=reusable and self._down.asked)
        self._rules.kept(response, http1.payload(response.length, kept[: self._room]))

    def _give_up(self, status: int, word: str) -> None:
        begun = self._answer is not None and self._kept is None
        if begun:
            self._finish(word)
            self._down.abort()
        else:
            self._refuse(status, word)

    def _refuse(self, status: int, word: str) -> None:
        self._finish(word)
        self._down.write(self._rules.refusal(status))
        self._down.answered(keep=False)

    def _finish(self, word: str, *, reusable: bool = False) -> None:
        """Release the server's connection, once."""
        if self.over:
            return
        self.over = True
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        up, self._up = self._up, None
        if up is not None:
            self._pool.give_back(up, reusable=reusable)
        self._rules.over(word)
