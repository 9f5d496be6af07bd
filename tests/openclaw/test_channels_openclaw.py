"""The real OpenClaw holds its channels back after three unclean ends: they are started again."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from holdfast.machine.controller.process.port_owner import find_owner
from tests.integration.machine.rig import until
from tests.openclaw.machines import START_S, Stage, run_stage

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(1_200)]

QUICK = json.dumps({"healthy_ms": 2_000})
KILLS = 3


def has_ended(stage: Stage, times: int) -> bool:
    return len(stage.machine.events("agent.exited")) == times


async def test_a_bot_whose_gateway_was_killed_three_times_answers(
    openclaw: Path, tmp_path: Path
) -> None:
    async with run_stage(tmp_path / "m", openclaw, HOLDFAST_SUPERVISION=QUICK) as stage:
        machine, telegram = stage.machine, stage.telegram
        await until(lambda: telegram.polls, "its channel looks for messages", START_S)
        for kill in range(1, KILLS + 1):
            owner = find_owner(machine.state_file()["agentPort"])
            assert owner is not None
            os.kill(owner.pid, signal.SIGKILL)
            await until(partial(has_ended, stage, kill), "its end")
            await stage.ready()
        ready = time.monotonic()
        polls = telegram.polls
        held_back = [
            row for row in machine.events("agent.line") if "breaker tripped" in row["line"]
        ]
        assert held_back, "OpenClaw held its channels back"
        await until(lambda: telegram.polls > polls, "its channel looks for messages again", 30)
        if os.environ.get("HOLDFAST_TEST_TIMES"):
            waited_s = time.monotonic() - ready
            sys.stdout.write(f"\nready, until its channel looks for messages: {waited_s:.1f} s")
        assert machine.events("channels.started")
        await telegram.write(777_001, "hello")
        await until(lambda: telegram.said_to(777_001), "an answer", 30)
