"""Approving and dismissing, once per request however many callers ask at the same time.

A decision is stored before it is answered, so that neither a slow read nor a restart of the
controller shows the request again. Backends are tried in the order of the plan; one that cannot be
used now is skipped, and the first usable one gives the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from holdfast.kernel.clock import Clock
from holdfast.machine.agents.pairing import Means, Plan
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.apply import make_verdict
from holdfast.machine.controller.pairing.cache import Cache
from holdfast.machine.controller.pairing.decisions import Order, already, check, done, find, refuse
from holdfast.machine.controller.pairing.state import Row, Verdict
from holdfast.wire.controller import pairing as wire
from holdfast.wire.controller.pairing import Kind, PairingAnswer

_UNSURE: Final = "It could not be looked at anew, so nothing was done"


@dataclass(frozen=True, slots=True)
class Refused:
    """The agent refused: `code` and `message` for the caller, `detail` for the log.

    `unable` means that this backend could not be tried, so that another one may be.
    """

    code: str
    message: str
    detail: str = ""
    unable: bool = False


class Backend(Protocol):
    """One way to have the agent decide."""

    async def decide(self, order: Order, row: Row | None) -> Refused | None:
        """Execute the decision; return None on success. `row` is None if not listed."""
        ...


class Decider:
    """Executes orders."""

    def __init__(
        self,
        cache: Cache,
        backends: Mapping[Means, Backend],
        *,
        plan: Callable[[], Plan],
        refresh: Callable[[Kind], Awaitable[bool]],
        hint: Callable[[Kind], None],
        keep: Callable[[], Awaitable[None]],
        is_running: Callable[[], bool],
        is_closing: Callable[[], bool],
        clock: Clock,
        log: Log,
    ) -> None:
        """Decide what `cache` lists; `keep` returns once its verdicts are on disk."""
        self._cache = cache
        self._backends = backends
        self._plan = plan
        self._refresh = refresh
        self._hint = hint
        self._keep = keep
        self._is_running = is_running
        self._is_closing = is_closing
        self._clock = clock
        self._log = log
        self._deciding: dict[str, tuple[Order, asyncio.Task[PairingAnswer]]] = {}

    async def decide(self, order: Order) -> PairingAnswer:
        """Return the result of the order; it is executed even if the caller is gone."""
        if self._is_closing():
            return refuse(wire.SHUTTING_DOWN, "Cache is shutting down")
        wrong = check(order)
        if wrong is not None:
            return wrong
        if not self._is_running():
            return refuse(wire.AGENT_NOT_RUNNING, "The agent is not running")
        row, looked = await self._locate(order)
        if order.fingerprint and not looked:
            return refuse(wire.PAIRING_UNKNOWN, _UNSURE)
        mark = order.mark if row is None else row.key
        while (running := self._deciding.get(mark)) is not None:
            answer = await asyncio.shield(running[1])
            if running[0].ruling == order.ruling:
                return answer
        if self._is_closing():
            return refuse(wire.SHUTTING_DOWN, "Cache is shutting down")
        task = asyncio.create_task(self._carry_out(order, row), name="pairing-decide")
        self._deciding[mark] = (order, task)
        task.add_done_callback(lambda _: self._deciding.pop(mark, None))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel running decisions; `lifecycle` refuses new ones."""
        tasks = [task for _, task in self._deciding.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _locate(self, order: Order) -> tuple[Row | None, bool]:
        """Return the request, and whether a needed read has ended.

        A read is needed if the request is not listed, or must be unchanged.
        """
        row = self._find(order)
        if row is not None and not order.fingerprint:
            return row, True
        if row is None and self._decided(order) is not None:
            return None, True
        try:
            async with asyncio.timeout(limits.FORCED_WAIT_S):
                await self._refresh(order.kind)
        except TimeoutError:
            return row, False
        return self._find(order), True

    async def _carry_out(self, order: Order, row: Row | None) -> PairingAnswer:
        began_ms = self._clock.steady_ms()
        row = self._find(order) or row
        verdict = self._decided(order) if row is None else self._cache.verdicts.get(row.key)
        if verdict is not None:
            return already(verdict)
        refusal = self._refusal(order, row)
        if refusal is not None:
            return refusal
        means, refused = await self._try_backends(order, row)
        if refused is None:
            self._cache.judge(self._verdict(order, row))
            await self._keep()
        self._hint(order.kind)
        self._log.emit(
            "pairing.decided", kind=order.kind, channel=order.channel, ruling=order.ruling,
            request=order.request_id if row is None else row.key, means=means,
            code="" if refused is None else refused.code,
            detail="" if refused is None else refused.detail,
            took_ms=round(self._clock.steady_ms() - began_ms),
        )  # fmt: skip
        return done(order) if refused is None else refuse(refused.code, refused.message)

    def _verdict(self, order: Order, row: Row | None) -> Verdict:
        return make_verdict(
            row, kind=order.kind, channel=order.channel, code=order.code, ruling=order.ruling,
            now_ms=self._clock.now_ms(),
        )  # fmt: skip

    def _refusal(self, order: Order, row: Row | None) -> PairingAnswer | None:
        """Return the answer if the agent need not be called."""
        if row is not None:
            if order.fingerprint and self._is_stale(order.kind, row):
                return refuse(wire.PAIRING_UNKNOWN, _UNSURE)
            if order.fingerprint in {"", row.fingerprint}:
                return None
            return refuse(wire.PAIRING_CHANGED, "The request is not what it was; look again")
        if order.ruling == "dismissed" or order.fingerprint or not self._is_doubtful(order):
            return refuse(wire.PAIRING_NOT_FOUND, "There is no such request; it may have expired")
        return None

    def _is_stale(self, kind: Kind, row: Row) -> bool:
        """Return whether the last read of the request failed, so that it may have changed."""
        snapshot = self._cache.snapshot(kind)
        part = snapshot.parts.get(row.channel)
        return snapshot.failure is not None or part is None or part.failure is not None

    def _is_doubtful(self, order: Order) -> bool:
        """Return whether the agent may have a request that we do not list."""
        if order.kind == "channels" and not order.code:
            return False
        listing = self._cache.listing(order.kind)
        uncoded = order.kind == "channels" and any(
            row.channel == order.channel and not row.code for row in listing.rows
        )
        return uncoded or bool(listing.body["state"] != "known")

    async def _try_backends(self, order: Order, row: Row | None) -> tuple[str, Refused | None]:
        """Return which backend was used and its result."""
        plan = self._plan()
        ways = plan.decide_channels if order.kind == "channels" else plan.decide_devices
        if order.ruling == "dismissed":
            ways = plan.dismiss_channels if order.kind == "channels" else plan.dismiss_devices
            if not ways:
                return "hidden", None  # this release cannot delete it before it expires
        last = Refused(wire.PAIRING_FAILED, "The agent offers no way to decide this")
        for means in ways:
            backend = self._backends.get(means)
            if backend is None:
                continue
            refused = await backend.decide(order, row)
            if refused is None or not refused.unable:
                return means, refused
            last = refused
        return "", last

    def _find(self, order: Order) -> Row | None:
        return find(order, self._cache.listing(order.kind).rows)

    def _decided(self, order: Order) -> Verdict | None:
        return self._cache.decided(order.kind, order.channel, key=order.request_id, code=order.code)
