"""An approval whose command restarts the agent is answered once the agent is back."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.openclaw.restart_after_approval import Aftermath
from tests.integration.machine.rig import until
from tests.support.patience import patience


class Gateway:
    """An agent: the end of the link to it, and its answers to readiness probes."""

    def __init__(self, folder: Path) -> None:
        self.config = folder / "openclaw.json"
        self.config.write_text("{}")
        self.end: asyncio.Future[None] | None = asyncio.get_running_loop().create_future()
        self.ready, self.asked = True, 0
        self.aftermath = Aftermath(
            str(self.config), link_end=lambda: self.end, is_ready=self.is_ready,
            log=Log(ManualClock(), 2),
        )  # fmt: skip

    def drop(self) -> None:
        assert self.end is not None
        self.end.set_result(None)

    async def is_ready(self) -> bool:
        self.asked += 1
        return self.ready


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    monkeypatch.setattr(limits, "RESTART_LOOK_S", 0.001)
    monkeypatch.setattr(limits, "RESTART_SEEN_S", 0.05)
    return Gateway(tmp_path)


async def test_a_command_that_changed_nothing_is_not_waited_for(gateway: Gateway) -> None:
    before = gateway.aftermath.before()
    gateway.drop()
    await gateway.aftermath.over(before)
    assert gateway.asked == 0


async def test_without_a_link_there_is_nothing_to_tell_a_restart_by(gateway: Gateway) -> None:
    gateway.end = None
    before = gateway.aftermath.before()
    gateway.config.write_text('{"commands": {}}')
    await gateway.aftermath.over(before)
    assert gateway.asked == 0


async def test_a_change_without_a_restart_costs_a_moment(gateway: Gateway) -> None:
    before = gateway.aftermath.before()
    gateway.config.write_text('{"commands": {}}')
    began = time.monotonic()
    await gateway.aftermath.over(before)
    assert (time.monotonic() - began >= 0.05, gateway.asked) == (True, 0)


@pytest.mark.parametrize("dropped", ["already", "soon"])
async def test_a_restart_is_waited_for_until_it_is_ready(gateway: Gateway, dropped: str) -> None:
    before = gateway.aftermath.before()
    gateway.config.write_text('{"commands": {}}')
    gateway.ready = False
    if dropped == "already":
        gateway.drop()
    waiting = asyncio.create_task(gateway.aftermath.over(before))
    await asyncio.sleep(0.005)
    if dropped == "soon":
        gateway.drop()
    await until(lambda: gateway.asked > limits.RESTARTED_LOOKS, "it is asked")
    assert not waiting.done()
    gateway.ready = True
    await waiting


async def test_what_it_says_on_its_way_down_does_not_count(gateway: Gateway) -> None:
    said = iter((True, False, *(True for _ in range(limits.RESTARTED_LOOKS))))

    async def is_ready() -> bool:
        return next(said)

    gateway.aftermath._is_ready = is_ready
    before = gateway.aftermath.before()
    gateway.config.write_text('{"commands": {}}')
    gateway.drop()
    await gateway.aftermath.over(before)
    assert next(said, None) is None, "all of it was asked for"


async def test_one_that_does_not_come_back_is_not_waited_for_without_end(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "RESTARTED_S", 0.05)
    before = gateway.aftermath.before()
    gateway.config.unlink()
    gateway.drop()
    gateway.ready = False
    async with asyncio.timeout(patience(5)):
        await gateway.aftermath.over(before)
