"""Injects faults: at random times, at the rates of the fault plan, until `heal`.

Each fault is one small function over the fleet's true state. After `heal` nothing fails any more,
and faults that only a person can repair have been repaired.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

from holdfast.kernel.clock import HOUR_MS, MINUTE_MS, SECOND_MS
from holdfast.sim.fleet import LONG_DOWN_S, Fleet
from holdfast.sim.machines import Controller
from holdfast.sim.plane import Plane
from holdfast.wire.controller.identity import sandbox_of_instance
from holdfast.world.clouds.faults import Call, Fault, Faults, first_of, no_faults, outage, seeded
from holdfast.world.clouds.port import MachineSpec, MachineState
from holdfast.world.clouds.simulated_world import RefusedError

REGIONS = frozenset({"", "ams", "fra", "iad"})
STRANGER = "stranger"
STEPS_BACK_OR_ON = (3 * SECOND_MS, MINUTE_MS, HOUR_MS, 5 * HOUR_MS)


class FaultInjector:
    """All faults of one fleet."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._chance = fleet.chance_of("storm")
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> None:
        """Start the faults of the plan."""
        fleet, fault_plan = self._fleet, self._fleet.fault_plan
        troubles = fleet.troubles
        for name in ("crash_write", "crash_call", "disk_fails", "disk_slow", "packets_lost"):
            setattr(troubles, name, getattr(fault_plan, name))
        fleet.cloud.faults = self._noted(self._plan())
        fleet.restarts_s = self._down_s
        fleet.machines.set_calm(False)
        for every_s, act in (
            (fault_plan.deaths_every_s, self.kill_machine),
            (fault_plan.silences_every_s, self.silence_machine),
            (fault_plan.silences_every_s, self.reboot_machine),
            (fault_plan.volumes_lost_every_s, self.lose_volume),
            (fault_plan.strangers_every_s, self.take_name),
            (fault_plan.jumps_every_s, self.jump_clock),
            (fault_plan.crashes_every_s, self.crash_plane),
            (2 * fault_plan.crashes_every_s, self.stop_plane),
            (100 if fault_plan.twin_planes else 0, fleet.replace_plane),
            (fault_plan.full_every_s, self.fill_regions),
        ):
            if every_s:
                self._tasks.append(fleet.spawn(self._every(every_s, act)))
        if fault_plan.spends_every_s:
            self._tasks.append(fleet.spawn(fleet.spenders.live()))
        for number in range(fault_plan.people):
            self._tasks.append(fleet.spawn(fleet.people.live(f"person-{number + 1}")))

    def heal(self) -> None:
        """End every fault, and do the repairs that need a person."""
        fleet = self._fleet
        for task in self._tasks:
            task.cancel()
        troubles = fleet.troubles
        for name in ("crash_write", "crash_call", "disk_fails", "disk_slow", "packets_lost"):
            setattr(troubles, name, 0)
        fleet.cloud.faults = no_faults
        fleet.truth.full_regions.clear()
        fleet.machines.set_calm(True)
        for row in list(fleet.truth.rows()):
            if row.spec.instance_id == STRANGER and row.state not in {"destroying", "destroyed"}:
                fleet.truth.destroy(row.id)
        fleet.calm.set()
        fleet.trace.note("calm")

    # ----------------------------------------------------------------------------- troubles

    async def _every(self, every_s: float, act: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(self._chance.expovariate(1 / every_s))
            act()

    def kill_machine(self) -> None:
        """End a machine, or make it vanish."""
        fleet = self._fleet
        running = sorted(fleet.machines.running)
        if not running:
            return
        machine_id = self._chance.choice(running)
        states: list[MachineState] = ["stopped", "failed", "destroyed"]
        state = self._chance.choice(states)
        fleet.trace.fault(f"machine {state}", machine_id)
        fleet.truth.force(machine_id, state)
        if fleet.fault_plan.watched and state != "destroyed":
            for plane in fleet.up():
                plane.ended(fleet.truth.row(machine_id).machine())

    def silence_machine(self) -> None:
        """Cut a machine off, for a while or permanently."""
        controllers = self._fleet.controllers()
        if not controllers:
            return
        controller = self._chance.choice(controllers)
        controller.silent = True
        self._fleet.trace.fault("silence", controller.machine.id)
        if self._chance.random() < 0.7:  # noqa: PLR2004
            self._fleet.spawn(_later(self._chance.random() * 300, controller))

    def reboot_machine(self) -> None:
        """Reboot a machine without an order: another boot, counters from zero."""
        fleet = self._fleet
        running = sorted(fleet.machines.running)
        if running:
            machine_id = self._chance.choice(running)
            fleet.trace.fault("reboot", machine_id)
            fleet.machines.reboot(machine_id, fleet.truth.row(machine_id).spec)

    def lose_volume(self) -> None:
        """Remove a volume."""
        volumes = self._fleet.truth.volumes()
        if volumes:
            volume = self._chance.choice(volumes)
            self._fleet.trace.fault("volume lost", volume.id)
            self._fleet.truth.lose_volume(volume.id)

    def take_name(self) -> None:
        """Let a foreign machine hold the name that an instance's machine needs."""
        fleet = self._fleet
        if not fleet.people.known:
            return
        sandbox = sandbox_of_instance(self._chance.choice(list(fleet.people.known)))
        spec = MachineSpec(
            name=sandbox,
            instance_id=STRANGER,
            sandbox_id=STRANGER,
            account_id=STRANGER,
            epoch=1,
            agent="demo",
        )
        try:
            row = fleet.truth.create(spec)
        except RefusedError:
            return
        fleet.trace.fault("stranger", sandbox, row.id)

    def jump_clock(self) -> None:
        """Step the planes' time of day."""
        by_ms = self._chance.choice(STEPS_BACK_OR_ON) * self._chance.choice((-1, 1))
        self._fleet.jump(by_ms)

    def crash_plane(self) -> None:
        """Crash a plane at whatever await its tasks have reached."""
        planes = [plane for plane in self._fleet.planes if not plane.dead]
        if planes:
            self._fleet.trace.fault("crash at a time")
            self._chance.choice(planes).crash("crashed")

    def stop_plane(self) -> None:
        """Stop a plane in order."""
        planes = self._fleet.up()
        if planes:
            self._fleet.trace.fault("orderly stop")
            self._fleet.spawn(_stop(self._chance.choice(planes)))

    def fill_regions(self) -> None:
        """Leave no room in any region for a while."""
        self._fleet.trace.fault("no room")
        self._fleet.truth.full_regions.update(REGIONS)
        self._fleet.spawn(self._empty(self._chance.random() * 120))

    async def _empty(self, after_s: float) -> None:
        await asyncio.sleep(after_s)
        self._fleet.truth.full_regions.clear()

    # -------------------------------------------------------------------------------- plans

    def _plan(self) -> Faults:
        """Return the cloud's faults: outages first, then single calls."""
        fleet = self._fleet
        began_ms = fleet.truth.now_ms()
        plans = [
            outage(
                from_ms=began_ms + round(one.from_s * SECOND_MS),
                until_ms=began_ms + round((one.from_s + one.for_s) * SECOND_MS),
                status=one.status,
            )
            for one in fleet.fault_plan.outages
        ]
        chance: random.Random = fleet.chance_of("calls")
        single = seeded(
            chance, per_mille=fleet.fault_plan.cloud, delay_ms_max=fleet.fault_plan.delay_ms_max
        )
        return first_of(*plans, single)

    def _noted(self, plan: Faults) -> Faults:
        """Return the plan with each fault recorded in the trace."""

        def noted(call: Call) -> Fault | None:
            fault = plan(call)
            if fault is not None:
                lie = f" {fault.status}" if fault.kind == "refuse" else ""
                self._fleet.trace.fault(f"call {fault.kind}{lie}", call.verb, call.target)
            return fault

        return noted

    def _down_s(self) -> float:
        """Return how long a plane stays down: mostly a moment, sometimes an hour."""
        if self._fleet.fault_plan.long_down and self._chance.random() < 0.2:  # noqa: PLR2004
            return LONG_DOWN_S
        return self._chance.choice((0.05, 1.0, 5.0, 60.0)) * (0.5 + self._chance.random())


async def _later(after_s: float, controller: Controller) -> None:
    await asyncio.sleep(after_s)
    controller.silent = False


async def _stop(plane: Plane) -> None:
    try:
        await plane.stop()
    except Exception:  # noqa: BLE001  a stop that fails is a crash
        return
