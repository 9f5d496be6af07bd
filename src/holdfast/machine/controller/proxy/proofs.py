"""Checks the tokens of callers of the machine's port, and limits the wrong ones of each peer.

An agent on the same host has the plane's address, so an address that showed wrong tokens must not
be refused as a whole. All right tokens are in memory, and comparing takes a microsecond: a token is
compared first, and only a wrong one is counted. So no caller can lock out another. What the limit
saves is the work behind a wrong token: the routes' HTTP library, and lines of the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from holdfast.kernel.clock import Clock
from holdfast.machine.controller.credentials import bearer
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.proxy.answers import TOKEN_HEADERS
from holdfast.relay import http1
from holdfast.relay.downstream import Downstream
from holdfast.relay.refusal_lines import RefusalLines
from holdfast.relay.wrong_proofs import WrongProofs
from holdfast.wire import parsers
from holdfast.wire.controller.calls import TOO_MANY_WRONG_PROOFS

Knows: TypeAlias = Callable[[bytes], bool]

HELD_BACK_MAX: Final = 64
"""Refusals delayed at the same time: a sixth of the connections that one address may have."""

_WRONG: Final = "unauthorised"


class Proofs:
    """Checks tokens, and counts the wrong ones of each peer."""

    def __init__(
        self, control: Knows, proxy: Knows, *, public: frozenset[str], clock: Clock, log: Log
    ) -> None:
        """Begin with none; the paths of `public` need no token."""
        self._control = control
        self._proxy = proxy
        self._public = frozenset(path.encode() for path in public)
        self._clock = clock
        self._log = log
        self._wrong = WrongProofs(clock, held_back_max=HELD_BACK_MAX)
        self._lines = RefusalLines(log.emit)

    def admits(self, headers: http1.Headers) -> bool:
        """Return whether a request carries the proxy token."""
        return any(self._proxy(value) for name, value in headers if name in TOKEN_HEADERS)

    def doubt_control(self, peer: str, request: http1.Request) -> int:
        """Return 0 if a control request may be looked at, else the seconds to wait."""
        shown = http1.values(request.headers, b"authorization")
        if request.path in self._public or any(self._control(bearer(value)) for value in shown):
            return 0
        return self._doubt(peer, shown)

    def doubt_proxied(self, peer: str, request: http1.Request) -> int:
        """Return 0 if a request for the agent may be looked at, else the seconds to wait."""
        shown = [value for name, value in request.headers if name in TOKEN_HEADERS]
        if any(self._proxy(value) for value in shown):
            return 0
        return self._doubt(peer, shown)

    async def hold_back(self) -> None:
        """Delay a refusal."""
        await self._wrong.hold_back()

    def tick(self) -> None:
        """Log the count of refusals without a line of their own, once a minute."""
        self._lines.tick(self._clock.steady_ms())

    def close(self) -> None:
        """Log that count now."""
        self._lines.flush()

    def _doubt(self, peer: str, shown: list[bytes]) -> int:
        """Count wrong tokens; a request without any is refused (401) without being counted."""
        if not shown:
            return 0
        peer, proof = parsers.network(peer), shown[0].decode("latin-1")
        wait_s = self._wrong.wait_s(peer, proof)
        if not wait_s:
            self._wrong.wrong(peer, proof)
        code = TOO_MANY_WRONG_PROOFS if wait_s else _WRONG
        if self._lines.admit(peer, code, self._clock.steady_ms()):
            self._log.emit("call.refused", peer=peer, code=code)
        return wait_s


class HeldBack:
    """Answers a request after a delay, and closes its connection; a body is not read until then."""

    def __init__(
        self, downstream: Downstream, answer: bytes, delay: Callable[[], Awaitable[None]]
    ) -> None:
        """Wait for `delay()`, then send `answer`."""
        self._downstream = downstream
        self._task = asyncio.get_running_loop().create_task(self._refuse(answer, delay))

    async def _refuse(self, answer: bytes, delay: Callable[[], Awaitable[None]]) -> None:
        await delay()
        self._downstream.write(answer)
        self._downstream.answered(keep=False)

    def body(self, data: bytes) -> None:
        """Ignore it."""

    def body_ended(self) -> None:
        """Ignore it."""

    def overdue(self) -> None:
        """Abort the connection."""
        self._downstream.abort()

    def lost(self) -> None:
        """Answer no more."""
        self._task.cancel()

    def pause_writing(self) -> None:
        """Ignore it: the answer is short."""

    def resume_writing(self) -> None:
        """Ignore it."""
