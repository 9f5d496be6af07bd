"""Makes a whole plane from settings, starts it, and stops it.

The subjects are listed in `make_subjects`, a line for each; everything else here is the same for
all of them. Resources are closed in the reverse order of opening even when a start fails half way,
and the first error is raised.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

from holdfast import __version__
from holdfast.accounts.directory import LOCAL_ACCOUNT
from holdfast.kernel.clock import Clock
from holdfast.kernel.log import Log, TotalLog
from holdfast.kernel.metrics import LOG_LINES_DROPPED, MEASUREMENTS_DROPPED, TotalMeter
from holdfast.monitoring.prometheus_exporter import Metrics
from holdfast.plane.agent_proxy.app import AgentSide
from holdfast.plane.edge.app import Edge
from holdfast.plane.installations import AGENTS_FOLDER, Installations
from holdfast.plane.settings import Settings
from holdfast.plane.wiring import clouds as where
from holdfast.plane.wiring.about import about_part, home_part
from holdfast.plane.wiring.accounts import People, account_names, make_people
from holdfast.plane.wiring.agent_proxy import agents_part, make_agent_side
from holdfast.plane.wiring.browser_keys import browser_keys_part
from holdfast.plane.wiring.budgets import make_budgets
from holdfast.plane.wiring.confinement import confinement_part
from holdfast.plane.wiring.consent import ConsentMade, make_consent
from holdfast.plane.wiring.content import (
    Content,
    intents_part,
    make_content,
    open_observed,
)
from holdfast.plane.wiring.core import Core, SystemChance
from holdfast.plane.wiring.corrections import Brains, make_brains
from holdfast.plane.wiring.engine import make_engine
from holdfast.plane.wiring.engine_part import engine_part
from holdfast.plane.wiring.files import open_stores, stores_part
from holdfast.plane.wiring.fly import region_of
from holdfast.plane.wiring.holder import prepare_home
from holdfast.plane.wiring.instance_names import InstanceNames, by_name
from holdfast.plane.wiring.instances import (
    Placing,
    instance_policy,
    instances_part,
    make_fleet,
)
from holdfast.plane.wiring.observers import observers_part
from holdfast.plane.wiring.pages import make_edge, make_pages, pages_part
from holdfast.plane.wiring.pairing import make_machine_client, make_pairing, places_part
from holdfast.plane.wiring.part import Part, Tables, Tasks, bind, handlers_of, join
from holdfast.plane.wiring.places import CommittedPlaces
from holdfast.plane.wiring.restored import Settling, restored_part
from holdfast.plane.wiring.secret_files import open_keys
from holdfast.plane.wiring.supervisor import Supervisor
from holdfast.plane.wiring.telemetry import machines_part, make_telemetry
from holdfast.plane.wiring.town_board import town_board_part
from holdfast.plane.wiring.town_metrics import town_metrics_part
from holdfast.plane.wiring.town_tools import TownTools, make_attempts, make_town_tools
from holdfast.plane.wiring.town_world import open_town_world
from holdfast.plane.wiring.towns import towns_part
from holdfast.telemetry.machines import MachineIndex
from holdfast.web.hub import Hub
from holdfast.wire.api.table import ENDPOINTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """Every part in the order of start, and what the edge and the machines' calls need of some."""

    parts: tuple[Part, ...]
    people: People
    consent: ConsentMade
    brains: Brains
    content: Content
    agents: AgentSide
    tools: TownTools
    names: InstanceNames


async def make_subjects(core: Core, files: Part) -> Subjects:
    """Make every subject: the order of the lines is that of opening, and closing is the reverse.

    The order of the tuple is that of starting, and of the doctor's checks.
    """
    reach = await where.make_reach(core)
    settling = Settling(core, reach.by_name, account=LOCAL_ACCOUNT, accounts=account_names(core))
    measured = town_metrics_part(core)
    deciding = engine_part(core)
    machine_index, places = MachineIndex(), CommittedPlaces()
    pairing = make_pairing(core, make_machine_client(core, reach, places), places)
    check_ins = make_telemetry(core, machine_index, pairing.inbox.notice)
    fleet = make_fleet(core, check_ins.telemetry)
    names = InstanceNames(fleet)
    observed = open_observed(core)
    consent = make_consent(core, observed.deletion, name_of=names)
    people = make_people(core, name_of=names.seen_by)
    brains = make_brains(core, machine_index)
    content = make_content(
        core, observed, consent.index, consent.nodes, machine_index, name_of=names
    )
    budgets = make_budgets(core, content)
    attempts = make_attempts(core)
    town_world = await open_town_world(core, attempts, reach.controllers)
    tools = make_town_tools(core, attempts, town_world.hosts)
    agents = make_agent_side(core, reach.controllers, people.access)
    placing = Placing(
        policy=instance_policy(core.settings),
        provider=core.settings.cloud,
        region=region_of(core.settings),
        account=LOCAL_ACCOUNT,
        agents=Installations(core.home / AGENTS_FOLDER),
        accounts=account_names(core),
    )
    parts = (
        home_part(core),
        files,
        people.part,
        machines_part(core, machine_index),
        places_part(core, places),
        consent.part,
        budgets.ledger,
        restored_part(settling),
        tools.part,
        towns_part(core, town_world, account=LOCAL_ACCOUNT),
        town_board_part(core),
        measured,
        deciding,
        town_world.part,
        reach.part,
        pairing.part,
        check_ins.part,
        brains.part,
        content.part,
        browser_keys_part(core, observed, consent.index, reach.controllers),
        intents_part(core, consent.nodes, machine_index),
        content.costs.part,
        budgets.part,
        instances_part(core, reach, check_ins.telemetry, placing, fleet),
        confinement_part(core, check_ins.telemetry, fleet),
        observers_part(check_ins.telemetry, fleet, core.settings, names),
        agents_part(agents),
    )
    return Subjects(
        parts=parts, people=people, consent=consent, brains=brains, content=content,
        agents=agents, names=names, tools=tools,
    )  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Plane:
    """A plane. `app` is its ASGI application, `status` the status of `/health`."""

    core: Core
    hub: Hub
    metrics: Metrics
    tasks: Tasks
    subjects: Subjects
    app: Edge
    supervisor: Supervisor
    status: str = "starting"

    async def start(self) -> None:
        """Start every part, then the jobs."""
        for part in self.subjects.parts:
            if part.start is not None:
                await part.start()
            for job in part.jobs:
                self.supervisor.add(self.tasks.run_job(job))
            if part.vitals is not None:
                self.supervisor.add(part.vitals())
        self.status = "ok"

    def begin_to_stop(self) -> None:
        """Take no new calls and end open streams."""
        self.status = "stopping"
        self.supervisor.stop()
        self.app.close()
        for part in self.subjects.parts:
            if part.release is not None:
                part.release()

    async def stop(self) -> None:
        """Stop the engine, finish pending writes, close all resources."""
        self.status = "stopping"
        self.supervisor.stop()
        self.app.close()
        await self.tasks.cancel()
        await self.core.closing.aclose()

    def health(self) -> str:
        """Return the word of `/health`."""
        if self.supervisor.fault() is not None:
            return "failed"
        troubled = self.status == "ok" and any(self._troubles())
        return "degraded" if troubled else self.status

    def _troubles(self) -> Iterator[str]:
        for part in self.subjects.parts:
            if part.troubles is not None:
                yield from part.troubles()


async def make_plane(settings: Settings, *, clock: Clock, log: Log, url: str) -> Plane:
    """Return a plane that is ready to be started; `url` is how machines and people reach it."""
    log = TotalLog.over(log)
    closing, hub, metrics, tasks = AsyncExitStack(), Hub(), Metrics(), Tasks(log)
    try:
        core, files = _open_core(
            settings, closing, clock=clock, log=log, url=url, hub=hub, metrics=metrics, tasks=tasks
        )
        subjects = await make_subjects(core, files)
        join(subjects.parts, core.tables, core.engine.owner, core.publish)
        return _serve(core, subjects, hub, metrics, tasks)
    except BaseException:
        await tasks.cancel()
        await closing.aclose()
        raise


def _open_core(
    settings: Settings,
    closing: AsyncExitStack,
    *,
    clock: Clock,
    log: TotalLog,
    url: str,
    hub: Hub,
    metrics: Metrics,
    tasks: Tasks,
) -> tuple[Core, Part]:
    """Open the data folder; return the dependencies of every part, and the part of the stores."""
    home = prepare_home(settings)
    keys = open_keys(settings, now_ms=clock.now_ms())
    stores = open_stores(home, settings, clock, closing, log)
    tables, meter = Tables(), TotalMeter(metrics)
    engine = make_engine(
        stores.journal,
        tables.kinds,
        providers=tables.providers,
        lookouts=tables.lookouts,
        clock=clock,
        log=log,
        meter=meter,
        holder=f"{socket.gethostname()}:{os.getpid()}",
        code=__version__,
    )
    core = Core(
        settings=settings,
        home=home,
        url=url,
        clock=clock,
        chance=SystemChance(),
        log=log,
        meter=meter,
        publish=hub.publish,
        run=tasks.run,
        stores=stores,
        keyring=keys.ring,
        token_secret=keys.token_secret,
        plane_key=keys.plane_key,
        consent_key=keys.consent_key,
        tables=tables,
        engine=engine,
        mailbox=engine.mailbox,
        closing=closing,
    )
    return core, stores_part(home, stores)


def _serve(core: Core, subjects: Subjects, hub: Hub, metrics: Metrics, tasks: Tasks) -> Plane:
    """Bind a handler to each row of the table, with pages over the API's handlers."""
    plane: Plane

    def health() -> str:
        return plane.health()

    def figures() -> bytes:
        core.meter.gauge(LOG_LINES_DROPPED, core.log.dropped)
        core.meter.gauge(MEASUREMENTS_DROPPED, core.meter.dropped)
        return metrics.render()

    about = about_part(core, subjects.parts, health=health, metrics=figures, name_of=subjects.names)
    api = (*subjects.parts, about)
    named = by_name(handlers_of(api), ENDPOINTS, subjects.names)
    pages = make_pages(core, named, hub)
    app = make_edge(
        core,
        bind((*api, pages_part(pages)), ENDPOINTS),
        resolve=subjects.names.resolve,
        access=subjects.people.access,
        key_owner=subjects.brains.directory.owner,
        node_owner=subjects.content.observed.directory.owner,
        attempt_owner=subjects.tools.attempts.owner,
        pages=pages,
    )
    plane = Plane(
        core=core,
        hub=hub,
        metrics=metrics,
        tasks=tasks,
        subjects=subjects,
        app=app,
        supervisor=Supervisor(),
    )
    return plane
