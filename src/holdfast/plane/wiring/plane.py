"""Makes a whole plane out of settings, starts it, and stops it.

Everything that a part needs is handed to it here, once; no part finds another by itself. What was
opened is closed in the reverse order even when a start fails half way, and the first error is the
one that is raised.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from holdfast import __version__
from holdfast.accounts.access import Access
from holdfast.accounts.passwords import Argon2
from holdfast.accounts.register import Register
from holdfast.actors.owner import Landed
from holdfast.instances.maintenance import care_handlers
from holdfast.kernel import metrics
from holdfast.kernel.clock import DAY_MS, SECOND_MS, Clock
from holdfast.kernel.secret import Secret
from holdfast.metrics.registry import Metrics
from holdfast.plane.agent_proxy.app import AgentSide
from holdfast.plane.edge.app import Edge
from holdfast.plane.edge.auth import https_host, known_hosts, parse_networks
from holdfast.plane.edge.ports import Observer
from holdfast.plane.edge.rate import Rates
from holdfast.plane.keyring import KeyRing
from holdfast.plane.settings import Settings
from holdfast.plane.wiring import api, bridges, rooms
from holdfast.plane.wiring.agent_side import make_agent_side
from holdfast.plane.wiring.clouds import Clouds, open_clouds
from holdfast.plane.wiring.confinement import HostWatch, make_admission, make_ask
from holdfast.plane.wiring.controllers import MachineControllers
from holdfast.plane.wiring.corrections import IntakeRoom, make_intake
from holdfast.plane.wiring.engine import Engine, make_engine, make_worker, plane_kinds
from holdfast.plane.wiring.files import Stores, open_stores
from holdfast.plane.wiring.fleet_watch import Watch
from holdfast.plane.wiring.holder import prepare_home
from holdfast.plane.wiring.housekeeping import keep_house
from holdfast.plane.wiring.lifecycle import follow_lifecycle
from holdfast.plane.wiring.pairing import (
    PairingParts,
    follow_pairing,
    look_at_news,
    make_pairing,
    make_talk,
    pairing_handlers,
    pairing_provider,
    settle_orphans,
)
from holdfast.plane.wiring.secret_files import open_keys
from holdfast.plane.wiring.secrets_of_machines import ControllersAsHolders, OwnMint
from holdfast.telemetry.checkins import Telemetry
from holdfast.telemetry.machines import MachineBook
from holdfast.web.hub import OPERATION, PAIRING, QUARANTINE, Hub
from holdfast.web.site import Pages
from holdfast.wire.api.call import Handler
from holdfast.wire.api.table import ENDPOINTS
from holdfast.world.controllers import ControllerClient


@dataclass(slots=True, kw_only=True)
class Plane:
    """A plane that is made. `app` is its ASGI application, `status` what `/health` says."""

    settings: Settings
    home: Path
    clock: Clock
    log: Any
    closing: AsyncExitStack
    stores: Stores
    keyring: KeyRing
    token_secret: Secret
    clouds: Clouds
    controllers: MachineControllers
    engine: Engine
    telemetry: Telemetry
    pairing: PairingParts
    book: MachineBook
    register: Register
    access: Access
    metrics: Metrics
    hub: Hub
    status: str = "starting"
    tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    intake: IntakeRoom = field(init=False)
    app: Edge = field(init=False)
    agents: AgentSide = field(init=False)
    host_watch: HostWatch = field(init=False)

    async def start(self) -> None:
        """Take up everything that was left, and begin."""
        await self.register.prepare()
        rooms.fill_book(self.stores.reader, self.book, self.settings)
        await self.engine.start()
        await self.telemetry.start()
        self.tasks |= await self.intake.start()
        look_at_news(self.pairing, self.book, self.telemetry)
        await settle_orphans(self.stores.reader, self.engine.mailbox)
        self.tasks |= set(keep_house(self.stores, self.access, self.settings, self.clock, self.log))
        self.run(Watch(self.stores.reader, meter=self.metrics, log=self.log).run())
        self.run(self.host_watch.tell())
        self.agents.start()
        self.status = "ok"

    async def stop(self) -> None:
        """Stop deciding, write what is pending, close what is open."""
        self.status = "stopping"
        self.app.close()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.closing.aclose()

    def health(self) -> str:
        """Return the word of `/health`."""
        return "degraded" if self.engine.lease.lost else self.status

    def run(self, work: Coroutine[Any, Any, Any]) -> None:
        """Run something beside the rest; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.log.error("task.failed", task=task.get_name(), exc_info=task.exception())


async def make_plane(settings: Settings, *, clock: Clock, log: Any, url: str) -> Plane:
    """Return a plane that is ready to be started; `url` is how machines and people reach it."""
    closing = AsyncExitStack()
    try:
        plane = await _join(settings, closing, clock=clock, log=log, url=url)
        plane.intake = _make_intake(plane)
        plane.host_watch = _make_host_watch(plane)
        _listen(plane)
        plane.agents = make_agent_side(
            settings, reader=plane.stores.reader, controllers=plane.controllers,
            access=plane.access, clock=clock, log=log, url=url,
        )  # fmt: skip
        closing.push_async_callback(plane.agents.close)
        plane.app = _make_app(plane)
    except BaseException:
        await closing.aclose()
        raise
    return plane


async def _join(
    settings: Settings, closing: AsyncExitStack, *, clock: Clock, log: Any, url: str
) -> Plane:
    """Make every part."""
    home = prepare_home(settings)
    keyring, token_secret = open_keys(settings, now_ms=clock.now_ms())
    stores = open_stores(home, settings, clock, closing)
    metrics, book = Metrics(), MachineBook()
    clouds, controllers = await _reach_machines(
        home, settings, closing, stores=stores, clock=clock, keyring=keyring,
        token_secret=token_secret, url=url,
    )  # fmt: skip
    hub = Hub()
    talk = make_talk(stores.reader, controllers, clouds.by_name, log=log)
    engine = make_engine(
        stores.journal,
        plane_kinds(settings),
        providers={**clouds.providers, **pairing_provider(talk, clock)},
        lookouts=clouds.lookouts,
        clock=clock,
        log=log,
        meter=metrics,
        holder=f"{socket.gethostname()}:{os.getpid()}",
        code=__version__,
    )
    closing.push_async_callback(engine.stop)
    pairing = make_pairing(
        talk,
        stores.reader,
        engine.mailbox,
        clock=clock,
        changed=lambda instance, account: hub.publish(PAIRING, instance, account),
        log=log,
    )
    closing.push_async_callback(pairing.inbox.close)
    telemetry = rooms.make_telemetry(
        settings,
        clock=clock,
        log=log,
        book=book,
        contacts=stores.contacts,
        analytics=stores.analytics,
        mailboxes=engine.mailbox,
        pairing_news=pairing.inbox.notice,
    )
    closing.push_async_callback(telemetry.close)
    access = Access(stores.accounts, clock=clock)
    return Plane(
        settings=settings,
        home=home,
        clock=clock,
        log=log,
        closing=closing,
        stores=stores,
        keyring=keyring,
        token_secret=token_secret,
        clouds=clouds,
        controllers=controllers,
        engine=engine,
        telemetry=telemetry,
        pairing=pairing,
        book=book,
        register=_make_register(stores, access, settings, closing, clock),
        access=access,
        metrics=metrics,
        hub=hub,
    )


def _make_controllers(
    stores: Stores, clouds: Clouds, secret: Secret, closing: AsyncExitStack, clock: Clock
) -> MachineControllers:
    """Return who asks machines' controllers."""
    client = ControllerClient()
    closing.push_async_callback(client.close)
    return MachineControllers(
        stores.reader, clouds.by_name, client=client, secret=secret, clock=clock
    )


def _make_intake(plane: Plane) -> IntakeRoom:
    """Return the stream of brains; open pages are told through the hub."""
    return make_intake(
        plane.home,
        plane.settings,
        plane.closing,
        stores=plane.stores,
        book=plane.book,
        clock=plane.clock,
        log=plane.log,
        meter=plane.metrics,
        publish=plane.hub.publish,
    )


def _make_host_watch(plane: Plane) -> HostWatch:
    """Return who says what agents are confined with here."""
    contacts = bridges.HeardContacts(plane.telemetry)
    return HostWatch(
        plane.stores.reader, plane.stores.accounts, contacts.confinement,
        settings=plane.settings, log=plane.log, ask=make_ask(plane.settings),
    )  # fmt: skip


def _make_register(
    stores: Stores, access: Access, settings: Settings, closing: AsyncExitStack, clock: Clock
) -> Register:
    """Return who keeps accounts and people."""
    hasher = Argon2()
    closing.callback(hasher.close)
    return Register(
        stores.accounts,
        hasher,
        access=access,
        clock=clock,
        entropy=secrets.token_bytes,
        session_life_ms=settings.session_days * DAY_MS,
        admit=make_admission(settings, make_ask(settings)),
    )


async def _reach_machines(
    home: Path,
    settings: Settings,
    closing: AsyncExitStack,
    *,
    stores: Stores,
    clock: Clock,
    keyring: KeyRing,
    token_secret: Secret,
    url: str,
) -> tuple[Clouds, MachineControllers]:
    """Return where machines run and how those that do are asked; each needs the other."""
    holders = ControllersAsHolders()
    clouds = await open_clouds(
        home,
        settings,
        closing,
        clock=clock,
        keyring=keyring,
        token_secret=token_secret,
        mint=OwnMint(bridges.SystemChance(), clock),
        holders=holders,
        url=url,
    )
    controllers = _make_controllers(stores, clouds, token_secret, closing, clock)
    holders.controllers = controllers
    return clouds, controllers


def _listen(plane: Plane) -> None:
    """Have each part hear what it must of commits, machines and exits."""
    hub = plane.hub

    def publish_events(landed: Landed) -> None:
        if landed.commit is None:
            return
        where, account = landed.tick.after.address, landed.commit.account
        hub.publish(OPERATION, where.id, account)
        if any(stamp.outcome == "quarantined" for stamp in landed.tick.stamps):
            hub.publish(QUARANTINE, where.id, account)

    owner = plane.engine.owner
    rooms.follow_contact(owner, plane.book, plane.telemetry, plane.settings)
    owner.listen(bridges.follow_views(hub.publish))
    owner.listen(publish_events)
    follow_pairing(owner, plane.pairing, plane.run)
    owner.listen(follow_lifecycle(plane.telemetry.points.record))
    plane.clouds.process.on_exit = bridges.watch_exits(plane.engine.mailbox, plane.run)


def _make_app(plane: Plane) -> Edge:
    """Bind a handler to each row of the table, pages over the same handlers as programs use."""
    worker = make_worker(plane.settings, plane.log)
    plane.closing.push_async_callback(worker.stop)
    bound: dict[str, Handler] = {
        **api.instance_handlers(
            plane.home,
            plane.settings,
            stores=plane.stores,
            engine=plane.engine,
            telemetry=plane.telemetry,
            clouds=plane.clouds,
            keyring=plane.keyring,
            clock=plane.clock,
        ),
        **api.telemetry_handlers(
            plane.settings,
            stores=plane.stores,
            telemetry=plane.telemetry,
            book=plane.book,
            clock=plane.clock,
            token_secret=plane.token_secret,
            hub=plane.hub,
        ),
        **pairing_handlers(
            plane.pairing,
            plane.stores.reader,
            sealer=plane.keyring,
            chance=bridges.SystemChance(),
            clock=plane.clock,
        ),
        **care_handlers(plane.stores.reader, plane.controllers),
        **api.plane_handlers(
            plane.home,
            plane.settings,
            stores=plane.stores,
            engine=plane.engine,
            clouds=plane.clouds,
            register=plane.register,
            worker=worker,
            metrics=plane.metrics,
            health=plane.health,
            more_checks=[plane.intake.check, plane.host_watch.check],
        ),
    }
    bound = api.announcing(bound | plane.intake.handlers, plane.hub)
    pages = Pages(bound, hub=plane.hub, clock=plane.clock, version=__version__)
    return Edge(
        ENDPOINTS,
        {**bound, **pages.by_endpoint(), "page.agent-open": plane.agents.door.open},
        authenticator=plane.access,
        audit=plane.stores.accounts,
        clock=plane.clock,
        log=plane.log,
        rates=Rates(plane.clock),
        request_prefix=secrets.token_hex(4),
        key_owner=plane.intake.directory.owner,
        trusted_proxies=parse_networks(plane.settings.trusted_proxies),
        hosts=known_hosts(plane.settings.host, plane.settings.public_url),
        https_host=https_host(plane.settings.public_url),
        problem_page=pages.problem_page,
        observe=_measure_calls(plane.metrics),
    )


def _measure_calls(meter: Metrics) -> Observer:
    """Return what the edge tells of every answered call."""

    def measure(endpoint: str, status: int, spent_ms: float) -> None:
        meter.count(metrics.CALLS, endpoint=endpoint, status=str(status))
        meter.observe(metrics.CALL_SECONDS, spent_ms / SECOND_MS, endpoint=endpoint)

    return measure
