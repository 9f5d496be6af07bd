"""One plane of a simulation: the real engine, telemetry and handlers, which may die at any await.

Everything of a plane runs in tasks marked by a context variable, so a crash ends all of them at the
points they have reached, and none of their own clean-up can write or call. The store, the cloud and
the machines live on; the next plane is made from them alone.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from holdfast.accounts.ports import AccountsStore
from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.definition import EffectCall
from holdfast.actors.ports import Answer, Arrival, Journal, Mailboxes, Reader
from holdfast.instances.handlers import KEY_PREFIX
from holdfast.instances.limits import KEY_LIFE_MS
from holdfast.instances.ports import Secrets
from holdfast.kernel.ids import Address
from holdfast.kernel.log import TotalLog
from holdfast.kernel.metrics import NoMeter, TotalMeter
from holdfast.kernel.outcome import Outcome, Permanent
from holdfast.kernel.secret import Secret
from holdfast.pairing.ports import NOT_RUNNING, Listing, Place
from holdfast.plane.consent_key import make_consent_key
from holdfast.plane.plane_key import PlaneKey
from holdfast.plane.wiring.budgets import budgets_over
from holdfast.plane.wiring.clouds import (
    Clouds,
    Reach,
    clouds_part,
    join_cloud,
    platform_of,
    watch_exits,
)
from holdfast.plane.wiring.consent import make_consent
from holdfast.plane.wiring.core import Core, TownStore
from holdfast.plane.wiring.engine import Engine, make_engine
from holdfast.plane.wiring.engine_part import engine_part
from holdfast.plane.wiring.instances import Placing, instances_part, make_fleet
from holdfast.plane.wiring.pairing import make_pairing, places_part
from holdfast.plane.wiring.part import Part, Tables, handlers_of, join
from holdfast.plane.wiring.places import CommittedPlaces
from holdfast.plane.wiring.telemetry import machines_part, make_telemetry
from holdfast.plane.wiring.towns import towns_part
from holdfast.sim.fault_plan import PROVIDER
from holdfast.sim.flaky_cloud import FlakyCloud
from holdfast.sim.flaky_disk import Disk
from holdfast.sim.recording_log import RecordingLog
from holdfast.sim.spending import Measured
from holdfast.telemetry.machines import MachineIndex
from holdfast.telemetry.ports import Analytics, ContactStore
from holdfast.telemetry.ticks import Ticks
from holdfast.wire.api.call import Call, Handler, Reply
from holdfast.wire.consent import ContentClass
from holdfast.wire.controller.calls import ControllerError
from holdfast.world.clouds.port import Machine

if TYPE_CHECKING:
    from holdfast.sim.fleet import Fleet

T = TypeVar("T")

ACCOUNT: Final = "acme"
URL: Final = "http://plane"

LOST_BEFORE: Final = 0.1
LOST_AFTER: Final = 0.2
"""Of all pushes of secrets, the share that is lost, and the share that loses its answer."""

_WORDS: Final = 256
"""Tasks that ended last and whose errors a living plane may still read."""

_RUNNING_FOR: contextvars.ContextVar[Plane | None] = contextvars.ContextVar(
    "holdfast_sim_plane", default=None
)


class DownError(ConnectionError):
    """The plane does not answer: it is down, or went down before it answered."""


def make_task(
    loop: asyncio.AbstractEventLoop,
    coro: Coroutine[Any, Any, T],
    context: contextvars.Context | None = None,
) -> asyncio.Task[T]:
    """Make a task that its plane's crash ends: the loop's task factory of every simulation."""
    plane = _RUNNING_FOR.get() if context is None else context.get(_RUNNING_FOR)
    task = asyncio.Task(coro, loop=loop, context=context)
    if plane is not None:
        plane.adopt(task)
    return task


class _CheckedMailboxes:
    """The plane's mailboxes, with each answer reported to the checker."""

    def __init__(self, inner: Mailboxes, hear: Callable[[Address, Answer], None]) -> None:
        self._inner = inner
        self._hear = hear

    async def ask(self, actor: Address, arrival: Arrival, *, wait_ms: int) -> Answer:
        answer = await self._inner.ask(actor, arrival, wait_ms=wait_ms)
        self._hear(actor, answer)
        return answer

    async def tell(self, arrivals: Any) -> Any:
        return await self._inner.tell(arrivals)


class _NoContent:
    """No content is stored in the simulator, so there is nothing to delete."""

    async def delete(self, node: str, classes: tuple[ContentClass, ...]) -> dict[ContentClass, int]:
        """Return no counts."""
        del node, classes
        return {}


class _NobodyWaits:
    """Pairing of machines without requests and decisions."""

    async def listing(self, place: Place, *, refresh: bool) -> Outcome[Listing]:
        del place, refresh
        return Permanent(NOT_RUNNING, "machines of a simulation are not asked")

    async def execute(self, call: EffectCall) -> Outcome[object]:
        raise NotImplementedError(f"nobody decides about pairing here: {call}")


class _NoControllers:
    """Calls to controllers' files and settings, which no simulation makes."""

    async def call(self, instance_id: str, *_: Any, **__: Any) -> Any:
        raise ControllerError("not_running", f"{instance_id}: not asked in a simulation")

    async def capabilities(self, instance_id: str) -> frozenset[str]:
        raise ControllerError("not_running", f"{instance_id}: not asked in a simulation")


class _Stores:
    """The fleet's stores, with the journal through this plane's disk."""

    def __init__(self, disk: Disk, fleet: Fleet) -> None:
        self.journal: Journal = disk
        self.reader: Reader = fleet.reader
        self.accounts: AccountsStore = fleet.accounts
        self.towns: TownStore = fleet.town_records
        self.contacts: ContactStore = fleet.contacts
        self.analytics: Analytics = fleet.analytics
        self.ticks: Ticks = fleet.ticks


class _Mint:
    """Makes keys without expiry, so that only each instance's first key is renewed."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def mint(self, instance_id: str, account: str) -> tuple[str, int]:
        del instance_id, account
        ends_ms = self._fleet.clock.now_ms() + 2 * KEY_LIFE_MS
        return self._fleet.names.token(KEY_PREFIX), ends_ms


class _Holders:
    """The controllers that hold secrets; a silent one cannot be reached, others fail sometimes."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._chance = fleet.chance_of("holders")

    async def tell(self, instance_id: str, secrets: Secrets, *, overlap_ms: int) -> str:
        del overlap_ms
        lost = self._chance.random()
        for controller in self._fleet.controllers():
            if controller.instance == instance_id and not controller.silent and lost > LOST_BEFORE:
                controller.take_secrets(
                    api_key=secrets.api_key, gateway_token=secrets.gateway_token
                )
                return "" if lost > LOST_AFTER else "told, but the answer was lost"
        return "unreachable"


class Plane:
    """One plane, from its start to its death."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        """Make every part over the fleet's store and cloud; nothing runs yet."""
        self.name = name
        self.dead = False
        self.old = False
        self.up = False
        self._fleet = fleet
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._words: deque[asyncio.Task[Any]] = deque(maxlen=_WORDS)
        self._context = contextvars.copy_context()
        self._context.run(_RUNNING_FOR.set, self)
        self.died = asyncio.Event()
        self.recording_log = RecordingLog(name, fleet.trace, fleet.check.accuse)
        self.disk = Disk(
            fleet.store,
            clock=fleet.clock,
            chance=fleet.chance_of("disk"),
            troubles=fleet.troubles,
            trace=fleet.trace,
            witness=fleet.check,
            crash=self.crash,
        )
        self.cloud = FlakyCloud(
            fleet.cloud,
            chance=fleet.chance_of("line"),
            troubles=fleet.troubles,
            trace=fleet.trace,
            spawn=fleet.spawn,
            crash=self.crash,
        )
        self.measured = Measured(fleet)
        self.core = self._open_core()
        self.engine: Engine = self.core.engine
        self.engine.owner.listen(self._watch)
        self.parts = self._make_parts()
        join(self.parts, self.core.tables, self.engine.owner, self.core.publish)
        self.calls = handlers_of(self.parts)
        self.machine_ended = watch_exits(self.core.mailbox, self._run)

    def _open_core(self) -> Core:
        fleet = self._fleet
        tables = Tables()
        log, meter = TotalLog(self.recording_log), TotalMeter(NoMeter())
        engine = make_engine(
            self.disk,
            tables.kinds,
            providers=tables.providers,
            lookouts=tables.lookouts,
            clock=fleet.clock,
            log=log,
            meter=meter,
            holder=self.name,
            code="simulated",
        )
        return Core(
            settings=fleet.fault_plan.settings,
            home=Path("/simulated"),
            url=URL,
            clock=fleet.clock,
            chance=fleet.names,
            log=log,
            meter=meter,
            publish=lambda *_: None,
            run=self._run,
            stores=_Stores(self.disk, fleet),
            keyring=fleet.keyring,
            token_secret=Secret(fleet.secret),
            plane_key=PlaneKey(bytes(32)),
            consent_key=make_consent_key(bytes(32), now_ms=0),
            tables=tables,
            engine=engine,
            mailbox=_CheckedMailboxes(engine.mailbox, fleet.check.answered),
            closing=AsyncExitStack(),
        )

    def _make_parts(self) -> tuple[Part, ...]:
        """Make the subjects of a simulation, in the order of the real plane's."""
        core, fleet = self.core, self._fleet
        platform = platform_of(core.home, core.settings, core.url)
        provider, lookout = join_cloud(
            core, self.cloud, platform=platform, mint=_Mint(fleet), holders=_Holders(fleet)
        )
        clouds = Clouds(
            by_name={PROVIDER: self.cloud},
            providers={PROVIDER: provider},
            lookouts={PROVIDER: lookout},
        )
        reach = Reach(
            by_name=clouds.by_name, controllers=_NoControllers(), part=clouds_part(clouds)
        )
        deciding = engine_part(core)
        machine_index, places = MachineIndex(), CommittedPlaces()
        pairing = make_pairing(core, _NobodyWaits(), places)
        consent = make_consent(core, _NoContent())
        heard = make_telemetry(core, machine_index)
        spent = self.measured
        budgets = budgets_over(core, spent.due, spent, spent.of_node, spent.blind)
        self.watch = budgets.watch
        placing = Placing(
            policy=fleet.fault_plan.policy, provider=PROVIDER, region="", account=ACCOUNT
        )
        return (
            machines_part(core, machine_index),
            places_part(core, places),
            consent.part,
            budgets.ledger,
            towns_part(core, fleet.town_world, account=ACCOUNT),
            deciding,
            reach.part,
            pairing.part,
            heard.part,
            budgets.part,
            instances_part(
                core, reach, heard.telemetry, placing, make_fleet(core, heard.telemetry)
            ),
        )

    # --------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Start as a plane does; raise DownError if it dies meanwhile."""
        await self.request(self._start())

    async def _start(self) -> None:
        for part in self.parts:
            if part.start is not None:
                await part.start()
        if self._fleet.fault_plan.spends_every_s:
            # A task of its own: cancelled before its first step it leaves nothing behind.
            self._context.copy().run(asyncio.ensure_future, self.watch.run())
        self.up = True

    async def stop(self) -> None:
        """Stop in order, as for an update: refuse requests, then end all parts."""
        self.up = False
        try:
            await self.request(self._stop())
        finally:
            self.crash("stopped in order")

    async def _stop(self) -> None:
        await self.core.closing.aclose()

    def crash(self, why: str) -> None:
        """End everything of this plane at the points it has reached."""
        if self.dead:
            return
        self._fleet.trace.note("plane died", self.name, why)
        self.dead = self.disk.dead = self.cloud.dead = self.recording_log.muted = True
        self.up = False
        for task in tuple(self._tasks):
            task.cancel()
        self._hush()
        self.died.set()

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Mark a task as this plane's; a dead plane's ends at once."""
        if self.dead:
            task.cancel()
            return
        self._tasks[task] = None
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        self._words.append(task)
        if self.dead:
            self._hush()

    def _hush(self) -> None:
        """Retrieve the exceptions of a dead plane's tasks, which have no other reader."""
        while self._words:
            task = self._words.popleft()
            if not task.cancelled():
                task.exception()

    def _watch(self, committed: CommittedTick) -> None:
        self._fleet.check.committed(committed)

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run a background task; its failure is not retried, as in the plane."""

        async def quietly() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001  the plane logs it and goes on
                self.recording_log.warning("watch lost", reason=str(error))

        self._context.copy().run(asyncio.ensure_future, quietly())

    # ----------------------------------------------------------------------------- requests

    async def request(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a request in the plane; raise DownError if the plane is down, or goes down."""
        if self.dead:
            work.close()
            raise DownError(f"{self.name} is down")
        loop = asyncio.get_running_loop()
        task: asyncio.Task[T] = self._context.copy().run(loop.create_task, work)
        try:
            await asyncio.wait((task,))
        finally:
            task.cancel()
        if task.cancelled():
            raise DownError(f"{self.name} went down")
        return task.result()

    async def call(self, endpoint: str, call: Call) -> Reply:
        """Answer a call of a person."""
        return await self.request(_answer(self.calls[endpoint], call))

    async def checkin(self, call: Call) -> Reply:
        """Answer a check-in."""
        return await self.call("controller.checkin", call)

    async def wake(self, call: Call) -> Reply:
        """Hold a long poll."""
        return await self.call("controller.wake", call)

    def ended(self, machine: Machine) -> None:
        """Handle the cloud's report that a machine ended by itself."""
        if not self.dead:
            self.machine_ended(machine)


async def _answer(handler: Handler, call: Call) -> Reply:
    return await handler(call)
