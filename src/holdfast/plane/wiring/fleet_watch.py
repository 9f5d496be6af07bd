"""Counts the alerts of the fleet, and logs when one begins and ends.

Pages show the alerts of one instance; this is for alerting on the fleet. It reads the committed
views, the same data as pages, and a restarted plane logs current alerts again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Final, Literal, Protocol, TypeAlias, get_args

from holdfast.instances.views import INSTANCE_VIEW, read_instance
from holdfast.kernel import metrics
from holdfast.kernel.log import Log
from holdfast.kernel.metrics import Meter
from holdfast.wire.api.instances import InstanceView, Status

WATCH_S: Final = 15.0
"""Between two checks: a scrape interval of Prometheus."""

_CHUNK: Final = 100
"""Views that are read before yielding to the event loop: some 2 ms."""

AlertCode: TypeAlias = Literal["attention", "silent", "parked", "port_taken", "held"]


class Views(Protocol):
    """The committed views."""

    async def views(
        self, view: str, *, account: str | None, after: str = "", limit: int = 1_000
    ) -> list[tuple[str, bytes, int]]:
        """Return rows after a key, in the order of their keys."""
        ...


class Watch:
    """The alerts of instances, as of the last check."""

    def __init__(self, views: Views, *, meter: Meter, log: Log) -> None:
        """Look at `views`."""
        self._views = views
        self._meter = meter
        self._log = log
        self._wrong: dict[tuple[str, AlertCode], InstanceView] = {}
        self.count = self.not_ready = 0
        self.agents: frozenset[str] = frozenset()

    def wrong(self) -> Iterator[tuple[InstanceView, AlertCode]]:
        """Yield what is wrong, and with which instance."""
        for (_, code), view in self._wrong.items():
            yield view, code

    async def run(self) -> None:
        """Check periodically, for ever; a failure is logged."""
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001  logged, and tried again
                self._log.error("instances.watch_failed", reason=str(error), exc_info=error)
            await asyncio.sleep(WATCH_S)

    async def look(self) -> None:
        """Check every instance once."""
        statuses: Counter[str] = Counter()
        not_ready = 0
        agents: set[str] = set()
        wrong: dict[tuple[str, AlertCode], InstanceView] = {}
        async for view in self._all():
            statuses[view.status] += 1
            agents.add(view.agent)
            not_ready += view.status == "running" and view.agent_ready is False
            wrong |= {(view.id, code): view for code in find_wrong(view)}
        for (instance, code), view in wrong.items():
            if (instance, code) not in self._wrong:
                self._log.warning("instance.alert_began", **_about(view, code))
        for (instance, code), view in self._wrong.items():
            if (instance, code) not in wrong:
                self._log.info("instance.alert_ended", **_about(view, code))
        self._wrong, self.agents = wrong, frozenset(agents)
        self.count, self.not_ready = statuses.total(), not_ready
        for status in get_args(Status):
            self._meter.gauge(metrics.INSTANCES, statuses[status], status=status)
        self._meter.gauge(metrics.AGENTS_NOT_READY, not_ready)
        counted = Counter(code for _, code in wrong)
        for code in get_args(AlertCode):
            self._meter.gauge(metrics.INSTANCE_ALERTS, counted[code], code=code)

    async def _all(self) -> AsyncIterator[InstanceView]:
        after = ""
        while True:
            chunk = await self._views.views(INSTANCE_VIEW, account=None, after=after, limit=_CHUNK)
            for key, body, _ in chunk:
                yield read_instance(key, body)
            if len(chunk) < _CHUNK:
                return
            after = chunk[-1][0]
            await asyncio.sleep(0)


def find_wrong(view: InstanceView) -> Iterator[AlertCode]:
    """Return the alerts of an instance; one that is not to run is neither silent nor parked."""
    if view.attention:
        yield "attention"
    if view.desired != "running":
        return
    if view.contact == "lost":
        yield "silent"
    recovery = view.recovery
    if recovery is None:
        return
    if recovery.rung == "parked":
        yield "parked"
    if recovery.blocked:
        yield "port_taken"
    if recovery.held:
        yield "held"


def _about(view: InstanceView, code: AlertCode) -> dict[str, str]:
    """Return the fields of a log line: the instance, and the reason if it is known."""
    why = view.attention or (view.recovery.reason if view.recovery else "")
    return {"instance": view.id, "account": view.account, "code": code, "because": why}
