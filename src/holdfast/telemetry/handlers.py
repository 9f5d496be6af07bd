"""The calls that telemetry answers: check-in, long poll, charts.

The constructors take all dependencies; the edge has bounded the body. The check-in takes the raw
body or the decoded message: a missing credential is always refused before a malformed message
(compat/check-in.md), also where the edge has decoded the body. All decisions that `accept` can make
are made there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from holdfast.actors import calls
from holdfast.kernel.clock import Clock
from holdfast.letters.topics import CONTACT, Publish
from holdfast.telemetry import ticks, views
from holdfast.telemetry.accept import NO_CREDENTIALS, Rejected, admit, credentials, prove
from holdfast.telemetry.checkins import Telemetry
from holdfast.telemetry.limits import INTERVAL_DEFAULT_MS, PANEL_TIMEOUT_S, WAKE_WAIT_S
from holdfast.telemetry.long_poll import FullError
from holdfast.telemetry.ports import Analytics, Machines, Span
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.api.instances import Chart, ChartSet
from holdfast.wire.limits import WAKE_WAIT_S_MAX
from holdfast.wire.times import time_text

_NOTHING: Final = Reply(status=204)


class ControllerCalls:
    """What controllers call."""

    def __init__(
        self,
        telemetry: Telemetry,
        machines: Machines,
        *,
        clock: Clock,
        secret: str,
        publish: Publish,
    ) -> None:
        """Answer from `telemetry`; `secret` is what gateway tokens derive from, empty for none.

        Each check-in that is taken is published, so that open pages show its time.
        """
        self._telemetry = telemetry
        self._machines = machines
        self._clock = clock
        self._secret = secret
        self._publish = publish

    async def checkin(self, call: Call) -> Reply:
        """Take a check-in: 204, or 200 with a directive where the sender can read one."""
        admitted = admit(
            call.header,
            call.body,
            secret=self._secret,
            find=self._machines.lookup,
            now_ms=self._clock.now_ms(),
            trusted_proxy=call.trusted_proxy,
        )
        if isinstance(admitted, Rejected):
            raise _refusal(admitted)
        wait_ms = self._telemetry.receive(admitted)
        if wait_ms:
            raise Refusal(
                429,
                "checkin_too_soon",
                "This machine checks in more often than the plane allows.",
                fix=f"Wait {wait_ms} ms.",
                retry_after_s=-(-wait_ms // 1_000),
            )
        self._publish(CONTACT, admitted.facts.instance, admitted.facts.account)
        if not admitted.ours:
            return _NOTHING
        return Reply(body=self._telemetry.directive(admitted.facts))

    async def wake(self, call: Call) -> Reply:
        """Hold the call until there is a directive newer than `revision`; else answer 204."""
        shown = credentials(call.header)
        if shown is None:
            raise _refusal(NO_CREDENTIALS)
        sandbox = call.query.get("sandbox", "")
        facts = prove(
            shown,
            sandbox,
            secret=self._secret,
            find=self._machines.lookup,
            now_ms=self._clock.now_ms(),
        )
        if isinstance(facts, Rejected):
            raise _refusal(facts)
        wait_s = min(call.number("wait_s", WAKE_WAIT_S), WAKE_WAIT_S_MAX)
        try:
            directive = await self._telemetry.directive_after(
                sandbox, call.number("revision", 0), wait_s=wait_s
            )
        except FullError as error:
            raise Refusal(
                503, "long_polls_full", f"{error}; the plane holds no more.", retry_after_s=5
            ) from error
        return _NOTHING if directive is None else Reply(body=directive)


class ChartCalls:
    """What pages call for their charts."""

    def __init__(
        self,
        analytics: Analytics,
        *,
        clock: Clock,
        account_of: Callable[[str], str | None],
        interval_ms: int = INTERVAL_DEFAULT_MS,
    ) -> None:
        """Answer from `analytics`; `account_of` returns an instance's account, None if unknown.

        `interval_ms` is the fleet's usual check-in interval, below which no chart is drawn.
        """
        self._analytics = analytics
        self._clock = clock
        self._account_of = account_of
        self._interval_ms = interval_ms

    async def fleet(self, call: Call) -> Reply:
        """Return the five charts of all machines that the caller may see."""
        account = call.principal.account
        if account is None:
            account = call.query.get("account", "")
        span = self._span(call)
        async with asyncio.timeout(PANEL_TIMEOUT_S):
            buckets = await self._analytics.fleet(span, account)
        return _charts(span, views.fleet_charts(span, buckets))

    async def instance(self, call: Call) -> Reply:
        """Return the charts of one instance; one that the caller may not see does not exist."""
        instance = call.path["id"]
        owner = self._account_of(instance)
        if owner is None or call.principal.account not in {None, owner}:
            raise calls.missing("instance")
        span = self._span(call)
        async with asyncio.timeout(PANEL_TIMEOUT_S):
            buckets = await self._analytics.machine(span, instance)
        return _charts(span, views.machine_charts(span, buckets))

    def _span(self, call: Call) -> Span:
        return views.span(_window(call), now_ms=self._clock.now_ms(), interval_ms=self._interval_ms)


class PanelCalls:
    """What pages of towns call for their panels."""

    def __init__(
        self,
        store: ticks.Ticks,
        *,
        clock: Clock,
        look: Callable[[Call], Awaitable[str]],
    ) -> None:
        """Answer from `store`; `look` returns the id of the path's town, or refuses the call."""
        self._store = store
        self._clock = clock
        self._look = look

    async def town(self, call: Call) -> Reply:
        """Return the six panels of one town."""
        town = await self._look(call)
        span = ticks.span_of(views.WINDOWS_S[_window(call)], now_ms=self._clock.now_ms())
        async with asyncio.timeout(PANEL_TIMEOUT_S):
            buckets = await self._store.buckets(span, town=town)
            types = await self._store.types(span, town=town)
        return _charts(span, ticks.panels(span, buckets, types))


def _window(call: Call) -> str:
    """Return the window that is asked for; refuse (400) one that there is not."""
    window = call.query.get("window") or views.WINDOW_DEFAULT
    if window not in views.WINDOWS_S:
        raise Refusal(
            400,
            "window_unknown",
            f"There is no window {window!r}.",
            field="window",
            fix=f"Ask for one of {', '.join(views.WINDOWS_S)}.",
        )
    return window


def _charts(span: Span, charts: tuple[Chart, ...]) -> Reply:
    return Reply(
        body=ChartSet(
            since=time_text(span.since_s * 1_000),
            until=time_text(span.until_s * 1_000),
            step_s=span.step_s,
            charts=charts,
        )
    )


def _refusal(rejected: Rejected) -> Refusal:
    return Refusal(
        rejected.status,
        rejected.code,
        rejected.message,
        field=rejected.field,
        fix=rejected.fix,
    )
