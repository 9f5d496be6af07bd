"""What the gateway says of its channels: an answer of 2026.9.6 with its breaker tripped."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from holdfast.machine.controller.pairing.openclaw.channel_states import (
    LOOK_S,
    ChannelStates,
    find_down,
)
from holdfast.sim.channels import BREAKER, QuietLog, SimLink
from holdfast.sim.loop import SimClock, SimLoop, run

TRIPPED: dict[str, Any] = {
    "accountId": "default", "enabled": True, "restartPending": False, "lifecycle": "stopped",
    "configured": True, "running": False, "healthState": "not-running",
    "lastError": "gateway restart-loop breaker tripped: 3 unclean boot(s) within 300000ms;"
    " suppressing channel/provider account auto-start. Inspect the stability bundle",
}  # fmt: skip


def answer(**changes: Any) -> dict[str, Any]:
    return {"channelAccounts": {"telegram": [{**TRIPPED, **changes}]}}


def test_a_channel_that_was_held_back_is_down_and_may_be_started() -> None:
    (down,) = find_down(answer())
    assert (down.channel, down.account, down.held_back) == ("telegram", "default", True)
    assert down.reason.endswith("suppressing channel/provider account auto-start")


def test_one_that_somebody_stopped_is_down_and_stays_so() -> None:
    (down,) = find_down(answer(lastError=None))
    assert (down.held_back, down.reason) == (False, "it was stopped")


@pytest.mark.parametrize(
    "found",
    [
        answer(running=True),
        answer(enabled=False),
        answer(configured=False),
        answer(restartPending=True),
        answer(lifecycle="starting"),
        {"channelAccounts": {"telegram": "?"}},
        {"channelAccounts": {"telegram": [None, {}]}},
        {"channelAccounts": []},
        {},
    ],
)
def test_nothing_else_is_said_to_be_down(found: dict[str, Any]) -> None:
    assert list(find_down(found)) == []


def test_trouble_is_of_the_gateway_that_was_looked_at() -> None:
    """An agent that came up anew, with its channel, is not said to lack it until the next look."""

    async def main(loop: SimLoop, _clock: SimClock) -> list[str]:
        link = SimLink(random.Random(3), lambda: None)
        states = ChannelStates(link, on_change=lambda: None, log=QuietLog())
        watch = loop.create_task(states.run())
        for _ in range(BREAKER):
            link.end(0)
        link.open(0)
        found = []
        while not states.trouble:
            assert loop.time() < 40 * LOOK_S
            await asyncio.sleep(LOOK_S)
        found.append(states.trouble)
        link.end(0)
        found.append(states.trouble)
        link.open(1_000_000)
        found.append(states.trouble)
        watch.cancel()
        return found

    first, *rest = run(3, main)
    assert "breaker tripped" in first
    assert rest == ["", ""]
