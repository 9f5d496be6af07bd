"""One request to the agent and its answer, both on their way through.

A request that may be repeated without harm takes a spare connection, and another one if the spare
turns out to be dead; any other gets a connection of its own, so that it is never sent twice.
"""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from holdfast.machine.controller.proxy import answers, limits
from holdfast.machine.controller.proxy.ports import Caller, Totals
from holdfast.machine.controller.proxy.upstream import AgentSide, AgentSides
from holdfast.relay import http1

_REPEATABLE: Final = frozenset({b"GET", b"HEAD", b"OPTIONS"})
_WITHOUT: Final = http1.FORWARDED | answers.TOKEN_HEADERS
_CONTINUE: Final = 100
_FINAL: Final = 200
_SWITCHING: Final = 101


class Shared(Protocol):
    """What the exchanges of all callers share."""

    host: bytes
    totals: Totals
    agents: AgentSides
    closing: bool


class Exchange:
    """A job of a caller's connection: answered by the agent."""

    __slots__ = (
        "_answer", "_asked", "_complete", "_dialling", "_early", "_front", "_head", "_proxy",
        "_side", "_spare", "over", "request",
    )  # fmt: skip

    def __init__(self, proxy: Shared, front: Caller, request: http1.Request) -> None:
        """Answer this request of this caller."""
        self._proxy = proxy
        self._front = front
        self.request = request
        self._head = self._write_head()
        self._side: AgentSide | None = None
        self._spare = False
        self._dialling: asyncio.Task[None] | None = None
        self._early = b""
        self._answer: http1.Body | None = None
        self._asked = False
        self._complete = False
        self.over = False

    def _write_head(self) -> bytes:
        request = self.request
        headers = http1.end_to_end(request.headers, without=_WITHOUT)
        headers = http1.move_host(headers, self._proxy.host)
        if not request.minor:
            headers.append((b"connection", b"close"))
        line = b"%b %b HTTP/1.%d" % (request.method, request.target, request.minor)
        return http1.write_head(line, headers)

    def begin(self) -> None:
        """Send the head, over a spare connection or a new one."""
        self._proxy.totals.requests += 1
        request = self.request
        if request.method in _REPEATABLE and not request.length:
            spare = self._proxy.agents.take()
            if spare is not None:
                self._spare = True
                self.connected(spare)
                return
        self._dial()

    def _dial(self) -> None:
        self._spare = False
        if self._proxy.agents.full:
            self._over()
            self._front.write(answers.problem(503, "Too many requests", "busy", close=True))
            self._front.answered(keep=False)
            return
        self._front.block()
        self._dialling = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(limits.CONNECT_S):
                side = await self._proxy.agents.dial()
        except OSError:  # which a timeout is too
            self._dialling = None
            self.failed()
            return
        self._dialling = None
        if self.over:
            side.abort()
            return
        self.connected(side)
        self._front.unblock()

    def connected(self, side: AgentSide) -> None:
        """Send what there is of the request."""
        self._side = side
        side.carry(self)
        if self._front.slow:
            side.pause()
        side.write(self._head + self._early if self._early else self._head)
        self._early = b""
        self._front.touch(limits.ANSWER_S)

    # ---------------------------------------------------------------- what the caller sends

    def body(self, data: bytes) -> None:
        """Pass on a piece of the body, or keep it until there is a connection."""
        if self._side is None:
            self._early += data
        else:
            self._side.write(data)
        self._front.touch(limits.ANSWER_S)

    def body_ended(self) -> None:
        """Take note that the request is complete."""
        self._asked = True

    def lost(self) -> None:
        """Stop the agent's work: nobody waits for it."""
        self._over()

    def overdue(self) -> None:
        """Give up an agent, or a caller, that does nothing."""
        begun = self._answer is not None
        self._over()
        if begun:
            self._front.abort()
        else:
            self._front.refuse(504)

    def pause_writing(self) -> None:
        """Read no more of the answer: the caller is slow."""
        if self._side is not None:
            self._side.pause()

    def resume_writing(self) -> None:
        """Read on."""
        if self._side is not None:
            self._side.resume()

    # ---------------------------------------------------------------- what the agent sends

    def slow(self, *, agent_is: bool) -> None:
        """Pass on that the agent reads slowly, or has caught up."""
        if agent_is:
            self._front.block()
        else:
            self._front.unblock()

    def head(self, response: http1.Response) -> None:
        """Pass on the head of an answer; raise MalformedError for one that makes no sense here."""
        headers = http1.end_to_end(response.headers)
        line = b"HTTP/1.1 %d %b" % (response.status, response.reason)
        if response.status < _FINAL:
            if response.status == _SWITCHING:
                raise http1.MalformedError("the agent switched protocols unasked")
            if self.request.minor:
                self._front.write(http1.write_head(line, headers))
            return
        if response.length == http1.CHUNKED and not self.request.minor:
            raise http1.MalformedError("the caller cannot read a chunked answer")
        self._answer = http1.Body(response.length)
        kept = http1.keeps_alive(self.request.minor, self.request.headers)
        if self._answer.until_close or not kept or self._proxy.closing:
            headers.append((b"connection", b"close"))
        elif not self.request.minor:
            headers.append((b"connection", b"keep-alive"))
        self._front.write(http1.write_head(line, headers))
        self._front.touch(limits.SILENCE_S)

    @property
    def answer(self) -> http1.Body | None:
        """Return the body that is under way, or None before the head."""
        return self._answer

    def data(self, data: bytes) -> None:
        """Pass on a piece of the answer's body."""
        self._front.write(data)
        self._front.touch(limits.SILENCE_S)

    def ended(self, *, reusable: bool) -> None:
        """Take note that the answer is complete."""
        side, answer = self._side, self._answer
        assert side is not None
        assert answer is not None
        self._side, self.over = None, True
        self._proxy.agents.give_back(side, reusable=reusable and self._asked)
        self._front.answered(keep=not answer.until_close)

    def failed(self, *, unheard: bool = False) -> None:
        """Take note that the agent's connection is gone, or talks nonsense.

        `unheard` says that it went without a word, as a spare one does that was too old.
        """
        if self.over:
            return
        begun = self._answer is not None
        if self._spare and unheard and not begun:
            self._side = None
            self._dial()
            return
        self._over()
        if begun:
            self._front.abort()
        else:
            self._front.refuse(502)

    def _over(self) -> None:
        self.over = True
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        side, self._side = self._side, None
        if side is not None:
            self._proxy.agents.give_back(side, reusable=False)
