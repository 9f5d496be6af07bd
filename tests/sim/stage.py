"""Scenarios: a fleet under a chosen fault plan, checked all along."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec.structs import replace

from holdfast.instances.policy import Policy
from holdfast.instances.state import Instance
from holdfast.plane.settings import Settings
from holdfast.sim.fault_plan import FaultPlan
from holdfast.sim.fleet import Fleet
from holdfast.sim.loop import SimClock, SimLoop, run

T = TypeVar("T")

INTERVAL_S = 60
SETTINGS = Settings(
    checkin_first_s=5, checkin_interval_s=INTERVAL_S, checkin_min_s=10, gateway_token_secret="s"
)


HOURLY = Settings(
    checkin_first_s=5,
    checkin_interval_s=3_600,
    checkin_min_s=10,
    telemetry_buffer_s=10,
    gateway_token_secret="s",
)


def play(
    scenario: Callable[[Fleet], Awaitable[T]],
    policy: Policy | None = None,
    *,
    hourly: bool = False,
    spends: bool = False,
) -> T:
    """Run a scenario without faults; the checker's invariants must hold all along."""
    calm = FaultPlan(settings=HOURLY if hourly else SETTINGS, policy=policy or Policy())
    calm = dataclasses.replace(calm, wakes=not hourly, spends_every_s=float(spends))

    async def main(loop: SimLoop, clock: SimClock) -> T:
        fleet = Fleet(loop, clock, calm, seed=1)
        await fleet.begin()
        result = await scenario(fleet)
        fleet.look()
        await fleet.check.finish()
        return result

    return run(1, main)


async def up(fleet: Fleet, name: str = "alpha") -> str:
    """Make an instance and wait until it runs and has checked in."""
    instance = await fleet.people.create(name)
    await fleet.until(lambda: heard(fleet, instance), within_s=120)
    return instance


def state(fleet: Fleet, instance: str) -> Instance:
    found = fleet.state_of(instance)
    assert found is not None
    return found


def status(fleet: Fleet, instance: str) -> str:
    return state(fleet, instance).status


def heard(fleet: Fleet, instance: str) -> bool:
    now = state(fleet, instance)
    return now.status == "running" and now.contact.heard == "heard"


def machines(fleet: Fleet, instance: str) -> list[tuple[str, str]]:
    """Return an instance's machines in their true state."""
    sandbox = state(fleet, instance).sandbox_id
    return [(row.id, row.state) for row in fleet.living(sandbox)]


def happened(fleet: Fleet, kind: str) -> int:
    """Return how many events of a kind are in the log of the fleet."""
    tag = f'"type":"{kind}"'.encode()
    return sum(tag in row.body for log in fleet.store.log.values() for row in log)


def quick(**changes: int) -> Policy:
    return replace(Policy(), **changes)


async def converge_and_rest(fleet: Fleet, count: int) -> tuple[int, int]:
    """Bring up `count` instances, then let a day pass; return its rows and its calls."""
    for number in range(count):
        fleet.spawn(fleet.people.create(f"agent-{number}"))
    await fleet.until(
        lambda: (
            len(fleet.people.known) == count
            and all(heard(fleet, one) for one in fleet.people.known)
        ),
        within_s=1_800,
        step_s=30,
    )
    # A new plane looks at everything once; the first look of an incarnation makes a row, later ones
    # do not.
    fleet.plane_now().crash("so that everything is looked at")
    await fleet.pass_time(300)
    before, calls = fleet.rows(), fleet.cloud.calls.total()
    await asyncio.sleep(86_400)
    fleet.look()
    return sum(fleet.rows()) - sum(before), fleet.cloud.calls.total() - calls
