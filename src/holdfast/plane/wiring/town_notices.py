"""Tells owners of towns: in the log, and as rows that their pages show."""

from __future__ import annotations

from holdfast.kernel.clock import Clock
from holdfast.kernel.log import Log
from holdfast.kernel.outcome import Ok, Outcome
from holdfast.towns import ports
from holdfast.towns.records import Notice, TownRecords


class TownNotices:
    """Carries notices out; one that arrives twice is one row."""

    def __init__(self, records: TownRecords, clock: Clock, log: Log) -> None:
        self._records = records
        self._clock = clock
        self._log = log

    async def notice(self, town: str, call: ports.NoticeCall) -> Outcome[ports.Delivered]:
        """Write a notice into the log, and keep it in place of the last about the same."""
        self._log.warning("town.notice", town=town, code=call.code, about=call.about)
        at_ms = self._clock.now_ms()
        notice = Notice(code=call.code, about=call.about, severity=call.severity, at_ms=at_ms)
        await self._records.put_notice(town, notice)
        return Ok(ports.Delivered())
