"""Counts the alerts of the fleet, and logs when one begins and ends.

Pages show the alerts of one instance; this is for alerting on the fleet. It follows the committed
views, the same data as pages, and a restarted plane logs current alerts again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, Literal, NamedTuple, Protocol, TypeAlias, get_args

from holdfast.instances.index import Page, Query
from holdfast.kernel import metrics
from holdfast.kernel.failure import brief
from holdfast.kernel.log import Log
from holdfast.kernel.metrics import Meter
from holdfast.wire.api.instances import InstanceView, Status
from holdfast.wire.health import DOWN, RANKS, HealthCode

_NOT_READY: Final = (DOWN - {"silent"}) | {"starting", "agent-stopped"}
"""Statuses of an agent that cannot work although its machine runs and is heard."""

WATCH_S: Final = 15.0
"""Between two checks: a scrape interval of Prometheus."""

SPAN: Final = 500
"""Changed instances looked at before the loop gets a turn: about 1 ms."""

AlertCode: TypeAlias = Literal[
    "attention", "down", "silent", "parked", "port_taken", "held", "budget", "paused"
]


_NO_LOOK: Final[frozenset[AlertCode]] = frozenset({"budget"})
"""Alerts for which nobody has to look; of a used up budget or a pause there is `attention` too."""


class Fleet(Protocol):
    """The index of the fleet."""

    def listen(self, saw: Callable[[str, InstanceView | None], None]) -> None:
        """Call `saw` with each instance that is read or changed."""
        ...

    async def page(self, query: Query) -> Page:
        """Return a page with the numbers of instances by status."""
        ...

    async def agents(self) -> frozenset[str]:
        """Return the agents of all instances."""
        ...


class _Noted(NamedTuple):
    """An instance that is not well, or cannot work now."""

    view: InstanceView
    codes: tuple[AlertCode, ...]
    not_ready: bool


class Watch:
    """The alerts of instances, as of the last check.

    Only instances that are not well are kept, and a check looks at those that changed since the
    one before; it reads no row.
    """

    def __init__(self, fleet: Fleet, *, meter: Meter, log: Log) -> None:
        """Follow the rows of `fleet`."""
        self._fleet = fleet
        self._meter = meter
        self._log = log
        self._noted: dict[str, _Noted] = {}
        self._changed: dict[str, _Noted | None] = {}
        self._counted: Counter[AlertCode] = Counter()
        self._one_at_a_time = asyncio.Lock()
        self.count = self.not_ready = self.wrong_count = 0
        self.agents: frozenset[str] = frozenset()
        self.healths: dict[HealthCode, int] = {}
        fleet.listen(self._saw)

    def wrong(self) -> Iterator[tuple[InstanceView, AlertCode]]:
        """Yield what is wrong, and with which instance."""
        for noted in self._noted.values():
            for code in noted.codes:
                if code not in _NO_LOOK:
                    yield noted.view, code

    async def run(self) -> None:
        """Check periodically, for ever; a failure is logged."""
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001  logged, and tried again
                self._log.error("instances.watch_failed", reason=brief(error), exc_info=error)
            await asyncio.sleep(WATCH_S)

    async def look(self) -> None:
        """Check every instance that changed; raise Refusal while the index is being filled."""
        async with self._one_at_a_time:
            page = await self._fleet.page(Query(account=None, limit=1))
            statuses = page.counts
            self.agents = await self._fleet.agents()
            await self._settle_all()
            self.count = sum(statuses.values())
            for status in get_args(Status):
                self._meter.gauge(metrics.INSTANCES, statuses.get(status, 0), status=status)
            self.healths = {code: page.healths.get(rank, 0) for code, rank in RANKS.items()}
            for code, many in self.healths.items():
                self._meter.gauge(metrics.INSTANCE_HEALTH, many, health=code)
            self._meter.gauge(metrics.AGENTS_NOT_READY, self.not_ready)
            for alert in get_args(AlertCode):
                self._meter.gauge(metrics.INSTANCE_ALERTS, self._counted[alert], code=alert)

    def _saw(self, key: str, view: InstanceView | None) -> None:
        """Note an instance for the next check, unless it is and was well."""
        noted = None if view is None else _judge(view)
        if noted is not None or key in self._noted or key in self._changed:
            self._changed[key] = noted

    async def _settle_all(self) -> None:
        """Count what changed, as of now, one by one: `_saw` looks into both dicts in between."""
        for number, key in enumerate(list(self._changed), 1):
            self._settle(key, self._changed.pop(key))
            if number % SPAN == 0:
                await asyncio.sleep(0)

    def _settle(self, key: str, noted: _Noted | None) -> None:
        """Count an instance, and log its alerts that began or ended."""
        before = self._noted.pop(key, None)
        was, now = before.codes if before else (), noted.codes if noted else ()
        if before is not None:
            self._counted.subtract(was)
            self.not_ready -= before.not_ready
            self.wrong_count -= bool({*was} - _NO_LOOK)
            for code in was:
                if code not in now:
                    self._log.info("instance.alert_ended", **_about(before.view, code))
        if noted is not None:
            self._noted[key] = noted
            self._counted.update(now)
            self.not_ready += noted.not_ready
            self.wrong_count += bool({*now} - _NO_LOOK)
            for code in now:
                if code not in was:
                    self._log.warning("instance.alert_began", **_about(noted.view, code))


def _judge(view: InstanceView) -> _Noted | None:
    """Return an instance with what is wrong, or None if it is well."""
    codes = tuple(find_wrong(view))
    not_ready = view.status == "running" and view.health.code in _NOT_READY
    return _Noted(view, codes, not_ready) if codes or not_ready else None


def find_wrong(view: InstanceView) -> Iterator[AlertCode]:
    """Return the alerts of an instance; one that is not to run is neither down nor parked."""
    if view.attention:
        yield "attention"
    if view.budget:
        yield "budget"
    if view.paused:
        yield "paused"
    if view.desired == "running":
        yield from _of_machine(view)


def _of_machine(view: InstanceView) -> Iterator[AlertCode]:
    if view.health.code in DOWN:
        yield "down"
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
    why = (
        view.attention
        or (view.health.text if code == "down" else "")
        or view.budget
        or (view.recovery.reason if view.recovery else "")
    )
    return {"instance": view.id, "account": view.account, "code": code, "because": why}
