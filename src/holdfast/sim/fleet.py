"""The world of one simulation: clock, cloud, store, machines, people, and planes.

What survives a plane is here and nowhere else: the store, the table of contacts, the cloud with its
machines, and the keys. The cloud has a clock of its own, unaffected by jumps of the plane's.
Nothing here decides what is right; the checker does.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from holdfast.actors.kinds import make_kinds
from holdfast.instances.definition import KIND
from holdfast.instances.state import Instance, decode_state
from holdfast.kernel.clock import MINUTE_MS
from holdfast.kernel.ids import Address, address
from holdfast.plane.secret_encryption import Key, KeyRing
from holdfast.plane.wiring.consent import node_kind
from holdfast.plane.wiring.instances import instance_kind
from holdfast.plane.wiring.pairing import pairing_kind
from holdfast.plane.wiring.towns import town_kind
from holdfast.sim.check import Checker
from holdfast.sim.fault_plan import FaultPlan
from holdfast.sim.loop import SimClock, SimLoop
from holdfast.sim.machines import Controller, Machines
from holdfast.sim.operators import People
from holdfast.sim.plane import DownError, Plane, make_task
from holdfast.sim.spending import Counters, Spenders
from holdfast.sim.town_world import Chances, TownWorld
from holdfast.sim.trace import Trace
from holdfast.stores.memory.accounts import AccountsMemory
from holdfast.stores.memory.contact import MemoryContacts
from holdfast.stores.memory.journal import MemoryReader, MemoryStore
from holdfast.stores.memory.telemetry import MemoryAnalytics
from holdfast.stores.memory.ticks import MemoryTicks
from holdfast.stores.memory.towns import MemoryTownRecords
from holdfast.towns.policy import Policy as TownPolicy
from holdfast.wire.api.call import Call, Reply
from holdfast.wire.controller.identity import decode_sandbox
from holdfast.world.clouds.port import LABEL_SANDBOX, Machine
from holdfast.world.clouds.simulated import SimulatedCloud
from holdfast.world.clouds.simulated_world import Row

KEY_TEXT: Final = "A" * 43 + "="
SWEEP_S: Final = 20.0
NEAR_MS: Final = 4 * MINUTE_MS
LONG_DOWN_S: Final = 3_600.0


@dataclass(slots=True)
class Troubles:
    """Current chances in a thousand; `calm` sets them all to zero."""

    crash_write: float = 0
    crash_call: float = 0
    disk_fails: float = 0
    disk_slow: float = 0
    packets_lost: float = 0


class Names:
    """Ids and keys from the seed."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance

    def token(self, prefix: str) -> str:
        """Return the prefix and 256 bits."""
        return f"{prefix}{self._chance.getrandbits(256):064x}"

    def uuid(self) -> str:
        """Return a UUID."""
        return str(UUID(int=self._chance.getrandbits(128), version=4))


class Fleet:
    """One simulated world; `begin` starts it, `spawn` runs a task that belongs to no plane."""

    def __init__(self, loop: SimLoop, clock: SimClock, fault_plan: FaultPlan, *, seed: int) -> None:
        """Make everything but the first plane."""
        self.loop = loop
        self.clock = clock
        self.fault_plan = fault_plan
        self.seed = seed
        self.troubles = Troubles()
        self.trace = Trace(clock.steady_ms)
        self.store = MemoryStore()
        self.reader = MemoryReader(self.store)
        self.accounts = AccountsMemory()
        self.contacts = MemoryContacts()
        self.town_records = MemoryTownRecords()
        self.analytics = MemoryAnalytics()
        self.ticks = MemoryTicks()
        self.kinds = make_kinds(
            instance_kind(fault_plan.policy), pairing_kind(), node_kind(), town_kind(TownPolicy())
        )
        self.secret = fault_plan.settings.gateway_token_secret or "simulated"
        self._chances: dict[str, random.Random] = {}
        self.keyring = KeyRing(
            (Key("k1", KEY_TEXT, 0),), entropy=self.chance_of("entropy").randbytes
        )
        self.names = Names(self.chance_of("names"))
        self.check = Checker(self, self.chance_of("check"))
        self.people = People(self, self.chance_of("people"))
        self.counters = Counters()
        self.spenders = Spenders(self, self.chance_of("spenders"))
        self.planes: list[Plane] = []
        self.calm = asyncio.Event()
        self.restarts_s: Callable[[], float] = lambda: 0.0
        self._outside = contextvars.copy_context()
        self._replace = asyncio.Event()
        self.made = 0
        self._jumped_ms = 0.0
        self._leaps_ms: list[int] = []
        self._down_ms = 0.0
        self._down_since: float | None = None
        loop.set_task_factory(make_task)  # type: ignore[arg-type]
        self.town_world = TownWorld(self.chance_of("towns"), Chances())
        self.cloud = SimulatedCloud(
            clock=SimClock(loop),
            chance=self.chance_of("cloud"),
            sleep=_sleep,
            timing=fault_plan.timing,
        )
        self.truth = self.cloud.world
        self.truth.on_change = self._moved
        self.truth.wake_at = self._wake_at
        self.machines = Machines(
            send=self._send,
            chance=self.chance_of("machines"),
            key_of=self.keyring.env_key,
            spawn=self.spawn,
            wakes=fault_plan.wakes,
        )
        self._network = self.chance_of("network")

    def chance_of(self, who: str) -> random.Random:
        """Return the generator of one part, so that its draws do not affect another's."""
        if who not in self._chances:
            self._chances[who] = random.Random(f"{self.seed} {who}")  # noqa: S311  repeatable
        return self._chances[who]

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run a task that no plane's crash ends."""
        return self._outside.copy().run(self.loop.create_task, work)

    # --------------------------------------------------------------------------------- time

    def virtual_ms(self) -> float:
        """Return virtual milliseconds since the simulation began; jumps do not affect them."""
        return self.clock.steady_ms()

    def excused_ms(self) -> float:
        """Return how long no plane ran, plus how far its clock was set back, in all."""
        down = 0.0 if self._down_since is None else self.virtual_ms() - self._down_since
        return self._down_ms + down + self._jumped_ms

    def jump(self, by_ms: int) -> None:
        """Step the planes' time of day."""
        self.trace.fault("clock jump", by_ms)
        self._jumped_ms += max(-by_ms, 0)
        if by_ms > 0:
            self._leaps_ms.append(self.truth.now_ms())
        self.clock.jump(by_ms)

    def leapt_near(self, at_ms: int) -> bool:
        """Return whether the planes' clock was set forward near a time of the cloud's.

        The wait for a requested machine without an answer is measured by that clock; setting it
        forward ends the wait early, and a machine found then is a known exception.
        """
        return any(abs(at_ms - leap_ms) < NEAR_MS for leap_ms in self._leaps_ms)

    async def pass_time(self, for_s: float) -> None:
        """Let time pass; raise ViolationError if a violation was found meanwhile."""
        until = self.loop.time() + for_s
        while (left := until - self.loop.time()) > 0:
            await asyncio.sleep(min(left, SWEEP_S))
            self.look()

    async def until(self, holds: Callable[[], bool], *, within_s: float, step_s: float = 1) -> None:
        """Let time pass until a condition holds; raise TimeoutError if it does not in time."""
        until = self.loop.time() + within_s
        while not holds():
            if self.loop.time() >= until:
                raise TimeoutError(f"it does not hold within {within_s} s")
            await self.pass_time(step_s)

    def look(self) -> None:
        """Run all checks that apply at any moment."""
        _ = self.cloud.world  # delayed calls are executed by now
        self.check.sweep()
        self.check.raise_any()

    # ------------------------------------------------------------------------------- planes

    async def begin(self) -> None:
        """Start the first plane, and keep one running from then on."""
        self._down_since = self.virtual_ms()
        self.spawn(self._keep_up())
        await self.until(lambda: bool(self.up()), within_s=600, step_s=0.01)

    def up(self) -> list[Plane]:
        """Return the planes that answer."""
        return [plane for plane in self.planes if plane.up]

    def plane_now(self) -> Plane:
        """Return a plane that answers; raise DownError if none does."""
        planes = self.up()
        if not planes:
            raise DownError("no plane is up")
        return planes[0] if len(planes) == 1 else self._network.choice(planes)

    def replace_plane(self) -> None:
        """Start another plane while this one still runs, as a careless update would."""
        self._replace.set()

    async def _keep_up(self) -> None:
        """Start a plane whenever there is none."""
        while True:
            self.made += 1
            plane = Plane(self, f"plane-{self.made}")
            self.planes.append(plane)
            await self._live(plane)
            if plane.dead:
                self.planes.remove(plane)
                if self._down_since is None:  # a plane with a successor lost its lease to it
                    self._down_since = self.virtual_ms()
                await self._rest()

    async def _live(self, plane: Plane) -> None:
        """Start a plane and return when it is dead, or is to be replaced."""
        try:
            await plane.start()
        except Exception as error:  # noqa: BLE001  whatever it was, the next plane tries again
            self.trace.note("plane did not start", plane.name, type(error).__name__)
            plane.crash("it did not start")
            return
        if plane.dead:
            return
        self.trace.note("plane up", plane.name)
        if self._down_since is not None:
            self._down_ms += self.virtual_ms() - self._down_since
            self._down_since = None
        self._replace.clear()
        waits = [self.spawn(plane.died.wait()), self.spawn(self._replace.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        if not plane.dead:
            self.trace.fault("second plane", plane.name)
            self.spawn(self._outlive(plane))

    async def _outlive(self, plane: Plane) -> None:
        """Let a replaced plane live on for a moment."""
        await asyncio.sleep(self.chance_of("planes").random() * 30)
        plane.crash("it had a successor")
        if plane in self.planes:
            self.planes.remove(plane)

    async def _rest(self) -> None:
        """Stay down for a while, not for long once it is calm."""
        down_s = 0.05 if self.calm.is_set() else self.restarts_s()
        try:
            async with asyncio.timeout(down_s):
                await self.calm.wait()
                await asyncio.sleep(0.05)
        except TimeoutError:
            return

    # ------------------------------------------------------------------------------ network

    async def _send(self, what: str, call: Call) -> Reply:
        """Deliver a machine's call to a plane, or lose it, or its answer, or deliver it twice."""
        draw = self._network.random() * 1_000
        lost = self.troubles.packets_lost
        if draw < lost:
            await asyncio.sleep(10)
            raise DownError("the request was lost")
        plane = self.plane_now()
        if what == "wake":
            return await plane.wake(call)
        self.trace.note("check-in", call.body.machine_id, call.body.boot_id, call.body.sequence)
        if draw < 2 * lost:
            self.spawn(self._repeat(plane, call))
        reply = await plane.checkin(call)
        if draw > 1_000 - lost:
            raise DownError("the answer was lost")
        return reply

    async def _repeat(self, plane: Plane, call: Call) -> None:
        """Deliver a check-in once more, later."""
        await asyncio.sleep(self._network.random() * 20)
        try:
            await plane.checkin(call)
        except Exception as error:  # noqa: BLE001  the answer has no reader
            self.trace.note("repeated check-in", type(error).__name__)

    # -------------------------------------------------------------------------------- truth

    def _wake_at(self, at_ms: int, wake: Callable[[], None]) -> None:
        """Advance the cloud's state when it is due."""
        delay_s = max(0, at_ms - self.truth.now_ms()) / 1_000
        self.loop.call_later(delay_s, wake, context=self._outside.copy())

    def _moved(self, machine: Machine) -> None:
        sandbox = machine.labels.get(LABEL_SANDBOX, "")
        self.trace.note("machine", sandbox, machine.id, machine.state, machine.incarnation)
        self.check.moved(machine)
        for row in self.living(sandbox):
            if row.id == machine.id and decode_sandbox(sandbox) is not None:
                self.machines.moved(machine, row.spec)
                return
        self.machines.forget(machine.id)

    def living(self, sandbox: str) -> list[Row]:
        """Return the machines of a sandbox that are not destroyed, in their true state."""
        return [row for row in self.truth.rows_of(sandbox) if row.state != "destroyed"]

    def controllers(self) -> list[Controller]:
        """Return the running controllers, in the order of their machines."""
        return [self.machines.running[key] for key in sorted(self.machines.running)]

    # ------------------------------------------------------------------------------- states

    def actors(self) -> Iterator[Address]:
        """Yield every instance that ever existed."""
        yield from (where for where in self.store.actors if where.kind == KIND)

    def state_of(self, instance: str) -> Instance | None:
        """Return the committed state of an instance."""
        actor = self.store.actors.get(address(KIND, instance))
        if actor is None or actor.state is None:
            return None
        return decode_state(actor.state, actor.state_version)

    def state_of_sandbox(self, sandbox: str) -> Instance | None:
        """Return the committed state of a sandbox's instance."""
        named = decode_sandbox(sandbox)
        return None if named is None or named.kind != "instance" else self.state_of(named.id)

    def states(self) -> list[Instance]:
        """Return the committed states of all instances."""
        found = (self.state_of(where.id) for where in self.actors())
        return [state for state in found if state is not None]

    def rows(self) -> tuple[int, int]:
        """Return how many events and ticks the journal has; the fleet is silent while they stay."""
        return self.store.arrivals, sum(one.number for one in self.store.actors.values())


async def _sleep(for_ms: int) -> None:
    await asyncio.sleep(for_ms / 1_000)
