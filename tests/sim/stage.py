"""A stage for scenarios: a fleet under a weather of the scenario's choosing, checked all along."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec.structs import replace

from holdfast.instances.policy import Policy
from holdfast.instances.state import Instance
from holdfast.plane.settings import Settings
from holdfast.sim.fleet import Fleet
from holdfast.sim.loop import SimClock, SimLoop, run
from holdfast.sim.weather import Weather

T = TypeVar("T")

INTERVAL_S = 60
SETTINGS = Settings(
    checkin_first_s=5, checkin_interval_s=INTERVAL_S, checkin_min_s=10, gateway_token_secret="s"
)


def weather(policy: Policy | None = None) -> Weather:
    """Calm, with a check-in each minute."""
    return Weather(settings=SETTINGS, policy=policy or Policy())


def play(
    story: Callable[[Fleet], Awaitable[T]], policy: Policy | None = None, *, seed: int = 1
) -> T:
    """Play a story; whatever the checker holds must hold all along and at the end."""

    async def main(loop: SimLoop, clock: SimClock) -> T:
        fleet = Fleet(loop, clock, weather(policy), seed=seed)
        await fleet.begin()
        result = await story(fleet)
        fleet.look()
        fleet.check.finish()
        return result

    return run(seed, main)


async def up(fleet: Fleet, name: str = "alpha") -> str:
    """Make an instance and wait until it runs and was heard."""
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
    """The machines of an instance, by the cloud's truth."""
    sandbox = state(fleet, instance).sandbox_id
    return [(row.id, row.state) for row in fleet.living(sandbox)]


def happened(fleet: Fleet, kind: str) -> int:
    """How many events of a kind are in the log of the fleet."""
    tag = f'"type":"{kind}"'.encode()
    return sum(tag in row.body for log in fleet.store.log.values() for row in log)


def quick(**changes: int) -> Policy:
    return replace(Policy(), **changes)
