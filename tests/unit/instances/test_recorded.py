"""Lives of instances in the hands of chance are decided as they were: states, calls and reasons."""

from __future__ import annotations

import random
from typing import Any

import pytest

from holdfast.actors.tick import Tick
from holdfast.instances import events
from holdfast.instances.definition import INSTANCE
from holdfast.instances.presenters import explain
from holdfast.instances.state import Instance
from holdfast.kernel.clock import HOUR_MS, MINUTE_MS, SECOND_MS
from holdfast.wire.controller.checkin import Recovery
from tests.support.recorded import History, hold
from tests.unit.instances.driver import Driver, created
from tests.unit.instances.test_chaos import PLAIN, POLLING
from tests.unit.instances.test_clouds import POLICY
from tests.unit.instances.test_walk import FAILURES, STATES, good, ideal

POLICIES = {"plain": PLAIN, "volumes": POLICY, "polling": POLLING}
NEWS: list[events.Event] = [
    events.StartRequested(),
    events.StopRequested(),
    events.RestartRequested(),
    events.LadderStopRequested(),
    events.LadderRetryRequested(),
    events.ContactLost(),
    events.ContactRegained(),
    events.MachineReported(machine_id="m1", agent_ready=True),
    events.MachineReported(machine_id="mN", boot_id="b2", agent_ready=True, restarts=2),
    events.MachineReported(
        machine_id="mN", reason="disk full",
        recovery=Recovery(rung="reinstall", reason="exit code 1", work_cuts=2),
    ),
    events.TwinSeen(("m1", "mN")),
    events.MachineWatched("m1", "failed"),
    events.MachineWatched("mN", "stopped"),
    events.ConfigChanged(env={"A": "1"}),
    events.ConfigChanged(env={"A": "2"}),
    events.KeyRotated(key_hash="k", sealed_key="s", previous_expires_ms=1),
    events.KeyRotated(key_hash="l", sealed_key="t", previous_expires_ms=2**41),
    events.TokenRotated(previous_expires_ms=1),
    events.TokenRotated(previous_expires_ms=2**41, renew_key=True),
]  # fmt: skip


class Recorder(Driver):
    """A driver that adds each tick to a history."""

    def __init__(self, policy: Any, history: History) -> None:
        super().__init__(policy)
        self.history = history

    def _take(self, result: Tick[Instance]) -> None:
        super()._take(result)
        now_ms = self.clock.now_ms()
        state = result.after.state
        self.history.add((
            now_ms, INSTANCE.encode_state(state), result.after.alarm_ms, result.stamps,
            result.decisions, result.withheld, result.changed_reasons, result.intents,
            result.calls, result.letters, result.claims, result.releases, result.probes,
            result.unprobes, result.views, result.touched, result.deadline_ms,
            explain(state, self.policy, now_ms),
        ))  # fmt: skip


def step(driver: Driver, chance: random.Random) -> None:
    """Something happens: mostly a call is answered well, so that lives get anywhere."""
    wanted = [
        one for one in driver.waiting if INSTANCE.wanted(driver.state, one, driver.clock.now_ms())
    ]
    match chance.randrange(10):
        case 0 | 1:
            driver.send(NEWS[chance.randrange(len(NEWS))])
        case 2:
            waits = (1, SECOND_MS, MINUTE_MS, 10 * MINUTE_MS, 9 * HOUR_MS)
            driver.advance(waits[chance.randrange(len(waits))])
        case 3 if driver.made:
            call = driver.made[-1 - chance.randrange(min(3, len(driver.made)))]
            outcome = FAILURES[chance.randrange(len(FAILURES))]
            if chance.randrange(2):
                state = STATES[chance.randrange(len(STATES))]
                outcome = good(call.body, state, "m1", f"i{chance.randrange(3)}")
            driver.waiting = [one for one in driver.waiting if one is not call]
            driver.reply(call, outcome)
        case _ if wanted:
            driver.waiting = [one for one in wanted if one is not wanted[0]]
            driver.reply(wanted[0], ideal(wanted[0].body))
        case _ if driver.probe is not None and chance.randrange(2):
            driver.send(events.MachineReported(machine_id=driver.state.machine.id))
        case _:
            driver.advance(30 * SECOND_MS)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("seed", range(12))
def test_a_life_is_decided_as_it_was(seed: int, policy: str) -> None:
    chance, history = random.Random(seed), History()
    driver = Recorder(POLICIES[policy], history)
    driver.send(created(desired=("running", "stopped")[seed % 2]))
    for _ in range(60):
        step(driver, chance)
    if seed % 3 == 0:
        driver.send(events.DestroyRequested())
        for _ in range(15):
            step(driver, chance)
    hold("instances", f"{policy} {seed}", history)
