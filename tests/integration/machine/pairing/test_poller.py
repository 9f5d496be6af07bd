"""Keeping a kind up to date: at once, one look at a time, told once, over at the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.cache import Cache
from holdfast.machine.controller.pairing.openclaw.entries import channel_rows
from holdfast.machine.controller.pairing.poller import Poller
from holdfast.machine.controller.pairing.state import Failure, Found, Look, Row
from holdfast.wire.controller.pairing import Kind
from holdfast.wire.times import time_text
from tests.integration.machine.rig import until

BROKEN = Failure("store_unreadable", "cannot be read", detail="token=abcdef", exit_code=3)
MISSING = Failure("store_missing", "is not there", missing=True)


class Reads:
    def __init__(self) -> None:
        self.looks = 0
        self.open = 0
        self.most = 0
        self.answer: Look | Exception = {}
        self.hold: asyncio.Event | None = None

    def debounce_ms(self, _kind: Kind) -> int:
        return 10

    async def look(self, _kind: Kind) -> Look:
        self.looks += 1
        self.open += 1
        self.most = max(self.most, self.open)
        try:
            await asyncio.sleep(0)
            if self.hold is not None:
                await self.hold.wait()
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer
        finally:
            self.open -= 1


class Rig:
    def __init__(self, folder: Path, descriptor: int) -> None:
        self.path = folder / "log"
        self.reads = Reads()
        self.settled: list[Kind] = []
        clock, log = SystemClock(), Log(SystemClock(), descriptor)
        self.cache = Cache({}, on_change=lambda: None, clock=clock)
        self.poller = Poller(
            "channels", self.cache, self.reads, settled=self.done, clock=clock, log=log
        )
        self.task: asyncio.Task[None] | None = None

    def begin(self, *, hold: bool = False) -> None:
        """Begin to look; with `hold` the first look lasts until `reads.hold` is set."""
        if hold:
            self.reads.hold = asyncio.Event()
        self.task = asyncio.create_task(self.poller.run())

    def release(self) -> None:
        assert self.reads.hold is not None
        self.reads.hold.set()

    async def end(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    async def done(self, kind: Kind) -> None:
        self.settled.append(kind)

    async def looked(self, times: int) -> None:
        await until(lambda: len(self.settled) >= times, f"{times} looks")

    def log(self, event: str) -> list[dict[str, Any]]:
        rows = [json.loads(line) for line in self.path.read_text().splitlines()]
        return [row for row in rows if row["event"] == event]

    def person(self) -> tuple[Row, ...]:
        at = time_text(SystemClock().now_ms())
        return channel_rows("chat", [{"id": "1", "code": "AB", "createdAt": at}])


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    with (tmp_path / "log").open("wb") as log:
        made = Rig(tmp_path, log.fileno())
        yield made
        await made.end()


async def test_the_first_look_is_at_once_and_nobody_is_kept_waiting(rig: Rig) -> None:
    rig.begin(hold=True)
    await until(lambda: rig.reads.looks, "the first look")
    assert rig.cache.listing("channels").body["state"] == "warming"
    rig.release()
    await rig.looked(1)
    assert rig.cache.listing("channels").body["state"] == "known"


async def test_a_burst_of_hints_is_one_look(rig: Rig) -> None:
    rig.begin()
    await rig.looked(1)
    for _ in range(20):
        rig.poller.hint()
        await asyncio.sleep(0)
    await rig.looked(2)
    assert rig.reads.looks == 2
    rig.poller.hint()
    await rig.looked(3)


async def test_a_hint_before_the_first_look_has_ended_is_not_lost(rig: Rig) -> None:
    rig.begin(hold=True)
    await until(lambda: rig.reads.looks, "the first look")
    rig.poller.hint()
    rig.release()
    await rig.looked(2)


async def test_who_asks_during_a_look_gets_the_next_one_and_shares_it(rig: Rig) -> None:
    rig.begin(hold=True)
    await until(lambda: rig.reads.looks, "the first look")
    asked = [asyncio.create_task(rig.poller.refresh()) for _ in range(10)]
    await asyncio.sleep(0)
    rig.reads.answer = {"chat": Found("json", rig.person())}
    rig.release()
    assert await asyncio.gather(*asked) == [True] * 10
    assert (rig.reads.looks, rig.reads.most) == (2, 1)


async def test_a_refresh_that_failed_says_so(rig: Rig) -> None:
    rig.begin()
    await rig.looked(1)
    for answer in (BROKEN, {"chat": Found("json", BROKEN)}, RuntimeError("a fault of ours")):
        rig.reads.answer = answer
        assert await rig.poller.refresh() is False
    assert len(rig.log("pairing.fault")) == 1
    rig.reads.answer = {"chat": Found("json", rig.person())}
    assert await rig.poller.refresh() is True


async def test_a_source_that_fails_is_told_once_and_that_it_works_again(rig: Rig) -> None:
    rig.begin()
    await rig.looked(1)
    for result in (BROKEN, BROKEN, rig.person(), BROKEN, BROKEN, (), MISSING, MISSING):
        rig.reads.answer = {"chat": Found("json", result)}
        await rig.poller.refresh()
    failed = rig.log("pairing.source_failed")
    assert [row["kept"] for row in failed] == [None, "keeping stale data for chat"]
    assert len(rig.log("pairing.source_recovered")) == 2
    first = failed[0]
    assert (first["source"], first["channel"], first["exit_code"]) == ("json", "chat", 3)
    assert "abcdef" not in rig.path.read_text()


async def test_a_failure_bars_hints_but_not_who_asks(rig: Rig) -> None:
    rig.begin()
    await rig.looked(1)
    rig.reads.answer = BROKEN
    rig.poller.hint()
    await rig.looked(2)
    rig.reads.answer = {}
    rig.poller.hint()
    assert await rig.poller.refresh() is True
    assert rig.reads.looks == 3
    rig.reads.answer = BROKEN
    rig.poller.allow()
    await rig.looked(4)
    assert rig.reads.looks == 4, "another agent is looked at, whatever failed before"


async def test_a_file_that_went_missing_is_looked_for_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "GRACE_MS", 10)
    rig.reads.answer = {"chat": Found("json", rig.person())}
    rig.begin()
    await rig.looked(1)
    rig.reads.answer = {"chat": Found("json", MISSING)}
    rig.poller.hint()
    await until(lambda: rig.cache.count == 0, "it to be believed")


async def test_at_the_end_nobody_waits_for_ever(rig: Rig) -> None:
    rig.begin(hold=True)
    await until(lambda: rig.reads.looks, "the first look")
    asked = asyncio.create_task(rig.poller.refresh())
    await asyncio.sleep(0)
    await rig.end()
    assert await asked is False
