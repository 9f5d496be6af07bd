"""Long polls: many, cheap, bounded, and woken one machine at a time."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.telemetry.limits import WAITERS_PER_MACHINE
from holdfast.telemetry.long_poll import FullError, WakeHub
from tests.support.patience import patience


async def started(hub: WakeHub, count: int) -> None:
    async with asyncio.timeout(patience(5)):
        while len(hub) < count:  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0)


async def test_only_the_named_machine_is_woken() -> None:
    hub = WakeHub()
    polls = [asyncio.create_task(hub.wait(f"m{n}", 30)) for n in range(5_000)]
    await started(hub, 5_000)
    hub.wake("m77")
    await polls[77]
    assert len(hub) == 4_999
    assert not polls[78].done()
    hub.wake_all()
    await asyncio.gather(*polls)
    assert len(hub) == 0
    assert hub._waiters == {}


async def test_the_time_is_up() -> None:
    hub = WakeHub()
    await hub.wait("m", 0)
    assert len(hub) == 0


async def test_a_cancelled_poll_leaves_nothing_behind() -> None:
    hub = WakeHub()
    poll = asyncio.create_task(hub.wait("m", 30))
    await started(hub, 1)
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    assert len(hub) == 0
    assert hub._waiters == {}


async def test_more_polls_than_allowed_are_refused() -> None:
    hub = WakeHub(waiters_max=1)
    poll = asyncio.create_task(hub.wait("m", 30))
    await started(hub, 1)
    with pytest.raises(FullError):
        await hub.wait("n", 30)
    hub.wake_all()
    await poll


async def test_a_machine_that_polls_again_and_again_holds_only_its_last_polls() -> None:
    hub = WakeHub()
    polls = [asyncio.create_task(hub.wait("m", 30)) for _ in range(50)]
    async with asyncio.timeout(patience(5)):
        while sum(poll.done() for poll in polls) < 50 - WAITERS_PER_MACHINE:  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert len(hub) == WAITERS_PER_MACHINE
    hub.wake("m")
    await asyncio.gather(*polls)
