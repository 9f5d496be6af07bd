"""Checks brains for alerts periodically; logs each alert's begin and end once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Final, get_args

from holdfast.corrections.alerts import Wrong, find_wrong
from holdfast.corrections.directory import Directory
from holdfast.corrections.limits import WATCH_S
from holdfast.corrections.records import Brain
from holdfast.kernel import metrics
from holdfast.kernel.clock import Clock
from holdfast.kernel.log import Log
from holdfast.kernel.metrics import Meter
from holdfast.letters.topics import BRAIN, Publish
from holdfast.wire.api.brains import AlertCode, BrainAlert
from holdfast.wire.times import time_text

_CHUNK: Final = 100
"""Brains checked before yielding to the event loop: about a millisecond."""


async def _yielding(brains: Sequence[Brain]) -> AsyncIterator[Brain]:
    """Yield brains, yielding to the event loop now and then."""
    for at, brain in enumerate(brains, 1):
        yield brain
        if at % _CHUNK == 0:
            await asyncio.sleep(0)


class Watch:
    """The current alerts, and since when this process has seen them."""

    def __init__(
        self, directory: Directory, *, clock: Clock, log: Log, meter: Meter, publish: Publish
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._log = log
        self._meter = meter
        self._publish = publish
        self._since: dict[tuple[int, AlertCode], int] = {}

    async def run(self) -> None:
        """Check periodically, for ever."""
        while True:
            await self.look()
            await asyncio.sleep(WATCH_S)

    async def look(self) -> None:
        """Check every brain once, yielding to the event loop in between."""
        now_ms = self._clock.now_ms()
        found: dict[tuple[int, AlertCode], Wrong] = {}
        brains = self._directory.brains_of(None)
        backlog = 0
        async for brain in _yielding(brains):
            backlog += sum(one.depth for one in self._directory.standings_of(brain.no))
            for wrong in self._wrong(brain, now_ms):
                found[brain.no, wrong.code] = wrong
        for (no, code), wrong in found.items():
            if (no, code) not in self._since:
                self._since[no, code] = now_ms
                self._report("intake.alert_began", no, code, wrong.value)
        for no, code in [key for key in self._since if key not in found]:
            del self._since[no, code]
            self._report("intake.alert_ended", no, code, 0)
        counted = Counter(code for _, code in found)
        for code in get_args(AlertCode):
            self._meter.gauge(metrics.BRAIN_ALERTS, counted[code], code=code)
        self._meter.gauge(metrics.BRAINS, len(brains))
        self._meter.gauge(metrics.BRAIN_BACKLOG_ROWS, backlog)

    def _report(self, event: str, no: int, code: str, value: int) -> None:
        """Log an alert's change and notify open pages."""
        brain = self._directory.brain(no)
        write = self._log.warning if event.endswith("began") else self._log.info
        write(event, brain=brain.id, account=brain.account, code=code, value=value)
        self._publish(BRAIN, brain.id, brain.account)

    def _wrong(self, brain: Brain, now_ms: int) -> list[Wrong]:
        return find_wrong(
            self._directory.standings_of(brain.no), self._directory.refused_of(brain.no), now_ms
        )

    async def alerts(self, brains: Sequence[Brain]) -> list[BrainAlert]:
        """Return the current alerts of these brains, the oldest first."""
        found = [alert async for brain in _yielding(brains) for alert in self.alerts_of(brain)]
        return sorted(found, key=lambda alert: (alert.since, alert.brain, alert.code))

    def alerts_of(self, brain: Brain) -> tuple[BrainAlert, ...]:
        """Return the current alerts of a brain."""
        now_ms = self._clock.now_ms()
        return tuple(
            BrainAlert(
                brain=brain.id,
                brain_name=brain.name,
                code=wrong.code,
                message=wrong.message,
                fix=wrong.fix,
                value=wrong.value,
                since=time_text(self._since.get((brain.no, wrong.code), now_ms)),
            )
            for wrong in self._wrong(brain, now_ms)
        )
