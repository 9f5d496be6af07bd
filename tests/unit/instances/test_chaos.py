"""Random orders, faults and time against the simulated cloud; then calm, and all must be well."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from holdfast.actors.definition import EffectCall
from holdfast.instances import events
from holdfast.instances.policy import CONTRACT, Policy
from holdfast.instances.state import DOWN
from holdfast.kernel.clock import HOUR_MS, SECOND_MS
from holdfast.world.clouds.faults import no_faults, seeded
from tests.unit.instances.driver import PROVIDER, created
from tests.unit.instances.test_clouds import KEY, POLICY, RING, Bench

FAULTS = {"delay": 60, "refuse": 120, "lose_reply": 80, "repeat": 60, "late": 60}
PLAIN = Policy(first_contact_ms=0)
POLLING = replace(CONTRACT, first_contact_ms=0, volumes=(PROVIDER,))


def order(chance: random.Random) -> events.Event:
    """A random thing that people or contact have to say."""
    orders: list[events.Event] = [
        events.StartRequested(),
        events.StopRequested(),
        events.RestartRequested(),
        events.ConfigChanged(env={"N": str(chance.randrange(9))}),
        events.ContactLost(),
        events.ContactRegained(),
    ]
    return chance.choice(orders)


async def play(bench: Bench, chance: random.Random) -> None:
    """One random step: an order, a call answered (perhaps as lost), time, or a machine's death."""
    driver = bench.driver
    match chance.randrange(8):
        case 0 | 1:
            driver.send(order(chance))
        case 2:
            for _ in range(chance.randrange(60)):
                driver.advance(5 * SECOND_MS)
                bench.catch_up()
        case 3 if bench.living():
            state = chance.choice(["stopped", "failed"])
            bench.cloud.world.force(chance.choice(bench.living()), state)  # type: ignore[arg-type]
        case _:
            wanted = [one for one in driver.waiting if _wanted(bench, one)]
            if not wanted:
                driver.advance(SECOND_MS)
                return
            outcome = await bench.calls.execute(wanted[0])
            driver.waiting = [one for one in driver.waiting if one is not wanted[0]]
            if chance.randrange(12):
                driver.reply(wanted[0], outcome)


def _wanted(bench: Bench, call: EffectCall) -> bool:
    state = bench.driver.state
    return (
        state.epoch == call.epoch
        and state.job is not None
        and (state.job.serial == call.body.serial)
    )


@pytest.mark.parametrize("policy", [PLAIN, POLICY, POLLING], ids=["plain", "volumes", "polling"])
@pytest.mark.parametrize("seed", [*range(25), 79, 853])
async def test_after_any_faults_it_is_as_people_want_it(seed: int, policy: Policy) -> None:
    chance = random.Random(seed)
    bench = Bench(policy)
    driver = bench.driver
    bench.cloud.faults = seeded(chance, per_mille=FAULTS)  # type: ignore[arg-type]
    driver.send(created(sealed_key=RING.seal("hfm_key", KEY)))
    for _ in range(chance.randrange(2, 60)):
        await play(bench, chance)
    destroyed = chance.randrange(2) == 0
    if destroyed:
        driver.send(events.DestroyRequested())
    bench.cloud.faults = no_faults
    # A person answers what needs one; late calls are done within a minute.
    for _ in range(3):
        await bench.settle(HOUR_MS)
        if driver.state.blocked:
            driver.send(events.StartRequested())
        if driver.probe is not None and driver.status not in {"destroying", "destroyed"}:
            await driver.look(bench.calls)
    await bench.settle(HOUR_MS)
    living = bench.living()
    state = driver.state
    if destroyed:
        assert (driver.status, living) == ("destroyed", [])
    elif state.desired == "running":
        assert (driver.status, living) == ("running", [state.machine.id])
        assert bench.cloud.machines_of(state.sandbox_id)[0].state == "started"
    else:
        assert driver.status in {"stopped", "provisioned"}
        assert all(one.state in {*DOWN, "destroyed"} for one in bench.cloud.all_machines())
        assert len(living) <= 1
