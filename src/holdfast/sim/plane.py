"""One plane of a simulation: the real engine, telemetry and handlers, which may die at any await.

Whatever runs for a plane runs in tasks that know it by a context variable, so a crash ends all of
them at the points they have reached, and none of their own clean-up gets to write or to call. The
store, the cloud and the machines live on; the next plane is made from them alone.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, Final, TypeVar

from holdfast.actors.owner import Landed
from holdfast.actors.ports import Answer, Arrival, Mailboxes, Reader
from holdfast.instances.environment import Platform
from holdfast.instances.handlers import KEY_PREFIX, Deps, handlers
from holdfast.instances.limits import KEY_LIFE_MS
from holdfast.instances.ports import LogChunk, Secrets
from holdfast.kernel.clock import SECOND_MS
from holdfast.kernel.ids import Address
from holdfast.kernel.metrics import NoMeter
from holdfast.kernel.secret import Secret
from holdfast.plane.wiring import bridges
from holdfast.plane.wiring.engine import Engine, make_engine
from holdfast.plane.wiring.rooms import fill_book, follow_contact, join_cloud, make_telemetry
from holdfast.sim.fault_plan import PROVIDER
from holdfast.sim.flaky_cloud import Line
from holdfast.sim.flaky_disk import Disk
from holdfast.sim.recording_log import Voice
from holdfast.telemetry.checkins import Telemetry
from holdfast.telemetry.handlers import ControllerCalls
from holdfast.telemetry.machines import MachineBook
from holdfast.wire.api.call import Call, Handler, Reply
from holdfast.world.clouds.port import Machine

if TYPE_CHECKING:
    from holdfast.sim.fleet import Fleet

T = TypeVar("T")

ACCOUNT: Final = "acme"
URL: Final = "http://plane"

LOST_BEFORE: Final = 0.1
LOST_AFTER: Final = 0.2
"""Of all tellings of secrets, those that do not arrive, and with them those without an answer."""

_WORDS: Final = 256
"""Tasks that ended last and whose errors a living plane may still ask for."""

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


class _Told:
    """The plane's mailboxes, with each answer shown to the checker."""

    def __init__(self, inner: Mailboxes, hear: Callable[[Address, Answer], None]) -> None:
        self._inner = inner
        self._hear = hear

    async def ask(self, actor: Address, arrival: Arrival, *, wait_ms: int) -> Answer:
        answer = await self._inner.ask(actor, arrival, wait_ms=wait_ms)
        self._hear(actor, answer)
        return answer

    async def tell(self, arrivals: Any) -> Any:
        return await self._inner.tell(arrivals)


class _NoLogs:
    """Machines of a simulation print nothing."""

    async def tail(self, provider: str, machine_id: str, *, lines: int) -> LogChunk:
        del provider, machine_id, lines
        return LogChunk(())


class _Mint:
    """Makes keys that last, so that each instance's first key is renewed and then there is calm."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    async def mint(self, instance_id: str, account: str) -> tuple[str, int]:
        del instance_id, account
        ends_ms = self._fleet.clock.now_ms() + 2 * KEY_LIFE_MS
        return self._fleet.names.token(KEY_PREFIX), ends_ms


class _Holders:
    """The controllers of the simulation; one that is silent cannot be told, others now and then."""

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
    """One plane, from its making to its death."""

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
        weather = fleet.weather
        self.voice = Voice(name, fleet.trace, fleet.check.accuse)
        self.disk = Disk(
            fleet.store,
            clock=fleet.clock,
            chance=fleet.chance_of("disk"),
            troubles=fleet.troubles,
            trace=fleet.trace,
            witness=fleet.check,
            crash=self.crash,
        )
        self.line = Line(
            fleet.cloud,
            chance=fleet.chance_of("line"),
            troubles=fleet.troubles,
            trace=fleet.trace,
            spawn=fleet.spawn,
            crash=self.crash,
        )
        self.book = MachineBook()
        self.engine: Engine = self._make_engine()
        self.telemetry: Telemetry = make_telemetry(
            weather.settings,
            clock=fleet.clock,
            log=self.voice,
            book=self.book,
            contacts=fleet.contacts,
            analytics=fleet.analytics,
            mailboxes=self.engine.mailbox,
        )
        owner = self.engine.owner
        owner.listen(self._watch)
        follow_contact(owner, self.book, self.telemetry, weather.settings)
        self.controllers = ControllerCalls(
            self.telemetry, self.book, clock=fleet.clock, secret=fleet.secret
        )
        self.calls: Mapping[str, Handler] = handlers(self._deps())
        self.machine_ended = bridges.watch_exits(self.engine.mailbox, self._run)

    def _make_engine(self) -> Engine:
        fleet = self._fleet
        settings = fleet.weather.settings
        provider, lookout = join_cloud(
            self.line,
            sealer=fleet.keyring,
            platform=Platform(
                checkin_url=f"{URL}/api/controller/checkin",
                wake_url=f"{URL}/api/controller/wake",
                checkin_first_ms=round(settings.checkin_first_s * SECOND_MS),
                checkin_interval_ms=round(settings.checkin_interval_s * SECOND_MS),
            ),
            token_secret=Secret(fleet.secret),
            mint=_Mint(fleet),
            holders=_Holders(fleet),
            clock=fleet.clock,
        )
        return make_engine(
            self.disk,
            fleet.kinds,
            providers={PROVIDER: provider},
            lookouts={PROVIDER: lookout},
            clock=fleet.clock,
            log=self.voice,
            meter=NoMeter(),
            holder=self.name,
            code="simulated",
        )

    def _deps(self) -> Deps:
        fleet = self._fleet
        reader: Reader = fleet.reader
        return Deps(
            mailboxes=_Told(self.engine.mailbox, fleet.check.answered),
            reader=reader,
            contacts=bridges.HeardContacts(self.telemetry),
            logs=_NoLogs(),
            sealer=fleet.keyring,
            chance=fleet.names,
            clock=fleet.clock,
            policy=fleet.weather.policy,
            provider=PROVIDER,
            region="",
            account=ACCOUNT,
        )

    # --------------------------------------------------------------------------------- life

    async def start(self) -> None:
        """Start as a plane does; raise DownError when it dies on the way."""
        await self.request(self._start())

    async def _start(self) -> None:
        fleet = self._fleet
        fill_book(fleet.reader, self.book, fleet.weather.settings)
        await self.engine.start()
        await self.telemetry.start()
        self.up = True

    async def stop(self) -> None:
        """Stop in order, as for an update: no request is taken any more, then all parts end."""
        self.up = False
        try:
            await self.request(self._stop())
        finally:
            self.crash("stopped in order")

    async def _stop(self) -> None:
        await self.telemetry.close()
        await self.engine.stop()

    def crash(self, why: str) -> None:
        """End everything of this plane at the points it has reached."""
        if self.dead:
            return
        self._fleet.trace.note("plane died", self.name, why)
        self.dead = self.disk.dead = self.line.dead = self.voice.muted = True
        self.up = False
        for task in tuple(self._tasks):
            task.cancel()
        self._hush()
        self.died.set()

    def adopt(self, task: asyncio.Task[Any]) -> None:
        """Take a task as this plane's; a dead plane's ends at once."""
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
        """Hear the last words of a dead plane's tasks, which nobody else will."""
        while self._words:
            task = self._words.popleft()
            if not task.cancelled():
                task.exception()

    def _watch(self, landed: Landed) -> None:
        self._fleet.check.landed(landed)

    def _run(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something beside the rest; what fails is tried by nobody, as in the plane."""

        async def quietly() -> None:
            try:
                await work
            except Exception as error:  # noqa: BLE001  the plane logs it and goes on
                self.voice.warning("watch lost", reason=str(error))

        self._context.copy().run(asyncio.ensure_future, quietly())

    # ----------------------------------------------------------------------------- requests

    async def request(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a request in the plane; raise DownError when the plane is, or becomes, down."""
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
        return await self.request(self.controllers.checkin(call))

    async def wake(self, call: Call) -> Reply:
        """Hold a long poll."""
        return await self.request(self.controllers.wake(call))

    def ended(self, machine: Machine) -> None:
        """Hear from the cloud that a machine ended by itself."""
        if not self.dead:
            self.machine_ended(machine)


async def _answer(handler: Handler, call: Call) -> Reply:
    return await handler(call)
