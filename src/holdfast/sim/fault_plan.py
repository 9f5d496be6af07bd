"""The fault plan of a seed: the size of the fleet, how its people behave, and all faults.

A plan is a value, so a failing seed can be inspected, and a scenario can use one that is calm
except for a single fault. Rates are chances per operation in a thousand; durations are in seconds
of virtual time. Nothing here acts.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from holdfast.instances.definition import with_volumes
from holdfast.instances.limits import KEY_LIFE_MS
from holdfast.instances.policy import CONTRACT, Policy
from holdfast.kernel.clock import MINUTE_MS, SECOND_MS
from holdfast.plane.settings import Settings
from holdfast.world.clouds.faults import FAULT_KINDS, FaultKind
from holdfast.world.clouds.simulated_world import Timing

PROVIDER: Final = "simulated"
HOUR_S: Final = 3_600

QUICK: Final = Policy(
    start_timeout_ms=90 * SECOND_MS,
    restart_soft_ms=60 * SECOND_MS,
    restart_hard_ms=3 * MINUTE_MS,
    destroy_retry_ms=20 * SECOND_MS,
    stale_provision_ms=4 * MINUTE_MS,
    daily_look_ms=10 * MINUTE_MS,
    silent_restart_ms=3 * MINUTE_MS,
    silent_restart_cap_ms=20 * MINUTE_MS,
    first_contact_ms=3 * MINUTE_MS,
    start_retry_cap_ms=MINUTE_MS,
    denied_retry_ms=5 * MINUTE_MS,
    wait_ms=10 * SECOND_MS,
    key_renew_ms=KEY_LIFE_MS - MINUTE_MS,
)
"""Short times, so that every deadline of the rules falls within minutes of faults."""

POLICIES: Final = {"default": Policy(), "quick": QUICK, "contract": CONTRACT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """A period in which the cloud answers every call with `status`."""

    from_s: float
    for_s: float
    status: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """One simulation. The default is calm: no faults and no orders."""

    policy: Policy = field(default_factory=Policy)
    settings: Settings = field(default_factory=Settings)
    timing: Timing = field(default_factory=Timing)
    faults_s: float = 0
    people: int = 0
    fleet_max: int = 4
    order_every_s: float = 20
    repeats: int = 0
    watched: bool = False
    wakes: bool = True
    cloud: dict[FaultKind, int] = field(default_factory=dict)
    delay_ms_max: int = 30_000
    outages: tuple[Outage, ...] = ()
    full_every_s: float = 0
    deaths_every_s: float = 0
    silences_every_s: float = 0
    volumes_lost_every_s: float = 0
    strangers_every_s: float = 0
    jumps_every_s: float = 0
    crashes_every_s: float = 0
    crash_write: float = 0
    crash_call: float = 0
    long_down: bool = False
    twin_planes: bool = False
    disk_fails: float = 0
    disk_slow: float = 0
    packets_lost: float = 0
    spends_every_s: float = 0


def settings_of(chance: random.Random) -> Settings:
    """Return settings with one of a few cadences of check-ins."""
    first_s, interval_s, min_s = chance.choice([(2, 10, 2), (10, 60, 10), (20, 60, 30)])
    return Settings(
        checkin_first_s=first_s,
        checkin_interval_s=interval_s,
        checkin_min_s=min_s,
        telemetry_buffer_s=10,
        gateway_token_secret="simulated",  # noqa: S106  not a real secret
    )


def _policy(chance: random.Random) -> Policy:
    policy = POLICIES[chance.choice(["default", "quick", "quick", "contract"])]
    return with_volumes(policy, PROVIDER) if chance.random() < 0.5 else policy  # noqa: PLR2004


def _outages(chance: random.Random, faults_s: float) -> tuple[Outage, ...]:
    return tuple(
        Outage(
            from_s=chance.random() * faults_s,
            for_s=chance.choice([20, 120, 400, HOUR_S]),
            status=chance.choice([500, 502, 503, 503, 429, 408, 401, 404]),
        )
        for _ in range(chance.choice([0, 0, 0, 1, 1, 2]))
    )


def _span(chance: random.Random, *choices: float) -> float:
    """Return the rate of one fault, 0 for never in this seed."""
    return chance.choice([0, *choices])


def draw(seed: int) -> FaultPlan:
    """Return the fault plan of a seed."""
    chance = random.Random(f"weather {seed}")  # noqa: S311  repeatable on purpose
    faults_s = chance.choice([600, 1_200, 1_800, 3_000])
    policy = _policy(chance)
    if chance.random() < 0.2:  # noqa: PLR2004
        policy = replace(policy, down_after=chance.choice([1, 2, 3]))
    return FaultPlan(
        policy=policy,
        settings=settings_of(chance),
        timing=Timing(
            call_ms=chance.choice([10, 40, 400]),
            create_ms=chance.choice([50, 200, 5_000]),
            start_ms=chance.choice([100, 300, 20_000]),
            stop_ms=chance.choice([100, 500, 8_000]),
            destroy_ms=chance.choice([100, 300, 6_000]),
            listing_lag_ms=chance.choice([0, 2_000, 2_000, 30_000]),
        ),
        faults_s=faults_s,
        people=chance.randint(1, 3),
        fleet_max=chance.randint(1, 6),
        order_every_s=chance.choice([5, 15, 40]),
        repeats=chance.choice([0, 100, 400]),
        watched=chance.random() < 0.5,  # noqa: PLR2004
        wakes=chance.random() < 0.5,  # noqa: PLR2004
        cloud={kind: chance.choice([0, 0, 15, 60, 150]) for kind in FAULT_KINDS},
        delay_ms_max=chance.choice([3_000, 10_000, 30_000]),
        outages=_outages(chance, faults_s),
        full_every_s=_span(chance, 300),
        deaths_every_s=_span(chance, 60, 300),
        silences_every_s=_span(chance, 120, 400),
        volumes_lost_every_s=_span(chance, 400),
        strangers_every_s=_span(chance, 0, 300),
        jumps_every_s=_span(chance, 0, 200),
        crashes_every_s=_span(chance, 60, 200, 600),
        crash_write=chance.choice([0, 2, 10, 30]),
        crash_call=chance.choice([0, 2, 20]),
        long_down=chance.random() < 0.2,  # noqa: PLR2004
        twin_planes=chance.random() < 0.3,  # noqa: PLR2004
        disk_fails=chance.choice([0, 0, 5, 40]),
        disk_slow=chance.choice([0, 0, 20, 100]),
        packets_lost=chance.choice([0, 20, 200]),
        spends_every_s=_span(chance, 0, 10, 40),
    )
