"""The listening side of a relay: all connections, their totals, and shutdown."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable

from holdfast.relay import http1
from holdfast.relay.downstream import Downstream, Totals
from holdfast.relay.limits import Limits
from holdfast.relay.peers import Peers, Slot


class Server(ABC):
    """Makes a protocol for each incoming connection; a subclass dispatches requests."""

    def __init__(self, limits: Limits, peers: Peers | None = None) -> None:
        """Begin with no connection; `peers` counts them, with those of others that share it."""
        self.limits = limits
        self.time = asyncio.get_running_loop().time
        self.closing = False
        self.totals = Totals()
        self.peers = Peers(limits.callers, limits.callers_each) if peers is None else peers
        self._open: dict[Downstream, Slot] = {}
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
        """Count a connection; return False when it is one too many."""
        if self.closing:
            return False
        name = downstream.peer_info("peername", None)
        peer = str(name[0]) if isinstance(name, tuple) else ""
        slot = self.peers.enter(peer, downstream.give_way)
        if slot is None:
            return False
        self._open[downstream] = slot
        self._empty.clear()
        if self._sweep is None:
            self._arm()
        return True

    def leave(self, downstream: Downstream) -> None:
        """Count a connection no more."""
        slot = self._open.pop(downstream, None)
        if slot is not None:
            self.peers.leave(slot)
        if not self._open:
            self._empty.set()

    def hand_over(
        self, downstream: Downstream
    ) -> tuple[asyncio.Transport, bytes, Callable[[], None]]:
        """Return a connection for a tunnel, what was read ahead, and a function for its end.

        Until that is called the tunnel counts as a connection with a request under way.
        """
        slot = self._open.pop(downstream)
        transport, early = downstream.give_away()
        return transport, early, lambda: self.peers.leave(slot)

    def works(self, downstream: Downstream) -> None:
        """Note that a request is under way on a connection."""
        slot = self._open.get(downstream)
        if slot is not None:
            self.peers.work(slot)

    def rests(self, downstream: Downstream) -> None:
        """Note that none is."""
        slot = self._open.get(downstream)
        if slot is not None:
            self.peers.rest(slot)

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
