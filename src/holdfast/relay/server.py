"""The listening side of a relay: all connections, their totals, and shutdown."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod

from holdfast.relay import http1
from holdfast.relay.downstream import Downstream, Totals
from holdfast.relay.limits import Limits


class Server(ABC):
    """Makes a protocol for each incoming connection; a subclass dispatches requests."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.time = asyncio.get_running_loop().time
        self.closing = False
        self.totals = Totals()
        self._open: set[Downstream] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._sweep: asyncio.TimerHandle | None = None

    def __call__(self) -> Downstream:
        """Return the protocol of a new connection."""
        return Downstream(self)

    @abstractmethod
    def begin(self, downstream: Downstream, request: http1.Request) -> None:
        """Answer a request: start a job, reply at once, or hand over the connection."""

    @abstractmethod
    def problem(self, status: int, error: str, code: str, *, bare: bool = False) -> bytes:
        """Return a complete answer, after which the connection is closed; a `bare` one for HEAD."""

    def look(self) -> bool:
        """Check for anything else overdue; return whether another check is needed."""
        return False

    def __len__(self) -> int:
        return len(self._open)

    def enter(self, downstream: Downstream) -> bool:
        """Count a connection; return False if it exceeds the limit."""
        if self.closing or len(self._open) >= self.limits.callers:
            return False
        self._open.add(downstream)
        self._empty.clear()
        if self._sweep is None:
            self._arm()
        return True

    def leave(self, downstream: Downstream) -> None:
        """Remove a connection from the count."""
        self._open.discard(downstream)
        if not self._open:
            self._empty.set()

    async def close(self, grace_s: float) -> None:
        """Close everything within `grace_s`: idle connections at once, busy ones once answered."""
        self.closing = True
        for downstream in list(self._open):
            downstream.rest()
        try:
            async with asyncio.timeout(grace_s):
                await self._empty.wait()
        except TimeoutError:
            for downstream in list(self._open):
                downstream.abort()
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def _arm(self) -> None:
        loop = asyncio.get_running_loop()
        self._sweep = loop.call_later(self.limits.sweep_s, self._look)

    def _look(self) -> None:
        now_s = self.time()
        for downstream in list(self._open):
            downstream.look(now_s)
        self._sweep = None
        if self.look() or self._open:
            self._arm()
