"""The status shown against the truth, at random moments of a simulated fleet.

    python -m holdfast.sim --statuses [--seeds 20]

Whole planes and the controllers' real supervision policy and watch of channels run in virtual time;
agents crash, hang, end, are misconfigured, get parked, are given another version and come up
without their channel; machines fall silent and are stopped and started. At random
moments each instance is asked for. Each status must be one that was true within LATE_MS
before, by what the script of its agent and the cloud know; of a silent machine, what was true when
it was heard last, until it is shown as silent.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec import structs
from msgspec.structs import replace

from holdfast.instances.policy import Policy
from holdfast.instances.state import Instance
from holdfast.kernel.clock import SECOND_MS
from holdfast.machine.controller.report import facts
from holdfast.plane.settings import Settings
from holdfast.sim.agent import POLICY, SimAgent
from holdfast.sim.channels import KNOWN_MS
from holdfast.sim.fault_plan import FaultPlan
from holdfast.sim.fleet import Fleet
from holdfast.sim.loop import SimClock, SimLoop, run
from holdfast.sim.machines import Controller
from holdfast.wire.api.call import Call, Principal
from holdfast.wire.controller.checkin import CheckIn
from holdfast.wire.health import Health, HealthCode

INSTANCES: Final = 12
GAP_MS: Final = 1_000
LATE_MS: Final = 1_200
"""A report of a change waits for GAP_MS after the one before; the rest is the way."""
SILENT_MS: Final = 3 * 10_000 + 30_000
"""Three missed check-ins of 10 s, and what the plane adds to that at most."""

SETTINGS: Final = Settings(
    checkin_first_s=2,
    checkin_interval_s=10,
    checkin_min_s=0,
    gateway_token_secret="s",  # noqa: S106
)
OPERATOR: Final = Principal("operator", "operator", None, "token")

FITS: Final[Mapping[str, frozenset[str]]] = {
    "up": frozenset({"ready", "recovering"}),
    "boot": frozenset({"starting", "crashing"}),
    "dead": frozenset({"crashing", "starting"}),
    "parked": frozenset({"parked"}),
    "repairing": frozenset({"repairing"}),
    "hanging": frozenset({"ready", "recovering", "starting", "crashing", "channel-down"}),
    "hung": frozenset({"unready"}),
    "changing": frozenset({"upgrading"}),
    "muting": frozenset({"ready", "recovering"}),
    "muted": frozenset({"channel-down"}),
    "unmuting": frozenset({"channel-down"}),
}
"""Statuses that fit what is true of an agent."""

NOTICED_MS: Final = 3 * KNOWN_MS
"""A look may get no answer, twice."""

GOING: Final = frozenset({"starting", "restarting", "failing"})


class Found(NamedTuple):
    """What a seed showed: how many statuses were looked at, of which kinds, and what was wrong."""

    moments: int
    codes: Counter[str]
    wrong: tuple[str, ...]


class Reporter(Controller):
    """A controller whose agent is simulated, which reports changes as the real one does."""

    heard_ms = 0

    async def check_in(self) -> None:
        """Run the agent, and report it on the cadence and on each change."""
        loop = asyncio.get_running_loop()
        self._moved = asyncio.Event()
        self.agent = SimAgent(
            self._chance,
            now_ms=lambda: round(loop.time() * SECOND_MS) + 1_760_000_000_000,
            steady_ms=lambda: round(loop.time() * SECOND_MS),
            news=self._moved.set,
            ill=self._chance.choice((0.0, 0.3, 0.7, 0.95)),
        )
        self.agent.start()
        watch = asyncio.create_task(self.agent.channels.run())
        try:
            while True:
                self._moved.clear()
                await self._send_checkin()
                if not self.silent:
                    self.heard_ms = round(loop.time() * SECOND_MS)
                await asyncio.sleep(GAP_MS / SECOND_MS)
                try:
                    async with asyncio.timeout(self._interval_ms / SECOND_MS - 1):
                        await self._moved.wait()
                except TimeoutError:
                    continue
        finally:
            watch.cancel()
            self.agent.end()

    def _report(self) -> CheckIn:
        state = self.agent.state
        return structs.replace(
            super()._report(),
            supervisor_state=state.status,
            total_restarts=state.restarts,
            agent_ready=state.ready,
            agent_state=facts.agent_state_of(state),
            failures=max(state.failures, state.clean_run),
            failure=facts.failure_of(state),
            repair=state.repair or "",
            next_try_at_ms=self.agent.next_try_at_ms,
            recovery=facts.recovery_of(state),
            degraded=state.parked,
            version_change=self.agent.change,
            channel_trouble=self.agent.channels.trouble,
        )


async def scenario(
    fleet: Fleet, moments: int, chance: random.Random, lie: HealthCode | None
) -> Found:
    """Make a fleet, and look at it at random moments while it lives."""
    fleet.machines.controller = Reporter
    for number in range(INSTANCES):
        await fleet.people.create(f"agent-{number}")
    looked, codes, wrong = 0, Counter[str](), list[str]()
    while looked < moments:
        await asyncio.sleep(chance.random() * 4)
        await _stir(fleet, chance)
        for state in fleet.states():
            before = fleet.state_of(state.id) or state
            call = Call("instance.get", OPERATOR, path={"id": state.id})
            view = (await fleet.plane_now().call("instance.get", call)).body.instance
            looked += 1
            codes[view.health.code] += 1
            shown = view.health if lie is None else replace(view.health, code=lie)
            # An order may be committed while the answer is on its way.
            after = fleet.state_of(state.id)
            assert after is not None, "it was listed"
            why = misfit(fleet, before, shown) and misfit(fleet, after, shown)
            if why:
                wrong.append(f"{view.name} at {fleet.loop.time():.1f} s: {why}")
    return Found(looked, codes, tuple(wrong))


async def _stir(fleet: Fleet, chance: random.Random) -> None:
    """Silence a machine or let it speak, or order an instance about, now and then."""
    reporters = [one for one in fleet.controllers() if isinstance(one, Reporter)]
    if reporters and chance.random() < 0.03:  # noqa: PLR2004
        one = chance.choice(reporters)
        one.silent = not one.silent
    if chance.random() < 0.05:  # noqa: PLR2004
        state = chance.choice(fleet.states())
        what = chance.choice(("stop", "restart")) if state.desired == "running" else "start"
        fleet.spawn(fleet.people.order(state.id, what))


def misfit(fleet: Fleet, state: Instance, shown: Health) -> str:
    """Return why a status is not true of an instance in this state; nothing if it is."""
    one = next(
        (c for c in fleet.controllers() if isinstance(c, Reporter) and c.instance == state.id), None
    )
    if state.desired == "stopped":
        is_true = shown.code == "stopping" or (shown.code == "stopped" and one is None)
        return "" if is_true else f"{shown.code}, and it is to be stopped"
    if one is None or not one.heard_ms or state.status != "running":
        return "" if shown.code in GOING | {"stopped"} else f"{shown.code}, and no machine is up"
    now_ms = round(fleet.loop.time() * SECOND_MS)
    quiet_ms = now_ms - one.heard_ms
    if shown.code == "silent":
        return "" if quiet_ms > 3 * 10_000 - LATE_MS else f"silent, and heard {quiet_ms} ms ago"
    if quiet_ms > SILENT_MS:
        return f"{shown.code}, and not heard for {quiet_ms} ms"
    return _of_agent(one, shown, now_ms if quiet_ms <= 10_000 and not one.silent else one.heard_ms)  # noqa: PLR2004


def _of_agent(one: Reporter, shown: Health, at_ms: int) -> str:
    words = one.agent.words
    since_ms, word = words[-1] if words else (at_ms, "dead")
    if word in {"muting", "unmuting"} and at_ms - since_ms > NOTICED_MS:
        return f"{word} for {at_ms - since_ms} ms, which its machine should know of"
    before = [word for ms, word in words if ms <= at_ms - LATE_MS][-1:]
    within = [word for ms, word in words if at_ms - LATE_MS < ms <= at_ms]
    true = [*before, *within] or ["dead"]
    if not any(shown.code in FITS[word] for word in true) and shown.code not in (
        {"starting"} if not before else set()
    ):
        return f"{shown.code}, and its agent was {true}"
    is_fresh = LATE_MS < at_ms - one.agent.ended_ms < POLICY.healthy_ms - LATE_MS
    if shown.code == "ready" and is_fresh and one.agent.state.failures:
        return "ready, and it ended a moment ago"
    return ""


def run_seed(seed: int, moments: int, *, lie: HealthCode | None = None) -> Found:
    """Return what one seed shows; with a `lie`, that is taken for what is shown."""
    plan = FaultPlan(settings=SETTINGS, policy=replace(Policy(), silent_restart_ms=0), wakes=False)

    async def main(loop: SimLoop, clock: SimClock) -> Found:
        fleet = Fleet(loop, clock, plan, seed=seed)
        await fleet.begin()
        chance = random.Random(f"status {seed}")  # noqa: S311  repeatable on purpose
        return await scenario(fleet, moments, chance, lie)

    return run(seed, main)
