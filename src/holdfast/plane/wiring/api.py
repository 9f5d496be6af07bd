"""Binds a handler to each row of the endpoint table that answers programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from holdfast import __version__
from holdfast.accounts.handlers import AccountHandlers
from holdfast.accounts.register import LOCAL_ACCOUNT, Register
from holdfast.actors.rehearsal_worker import RehearsalWorker
from holdfast.instances.handlers import Deps, handlers
from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.kernel.secret import Secret
from holdfast.metrics.registry import Metrics
from holdfast.plane.about import Check, HealthOf, about_handlers, installed_versions
from holdfast.plane.keyring import KeyRing
from holdfast.plane.operations import instance_address, operation_handlers
from holdfast.plane.rehearsals import rehearsal_handlers
from holdfast.plane.settings import Settings
from holdfast.plane.wiring import bridges
from holdfast.plane.wiring.checks import make_checks
from holdfast.plane.wiring.clouds import AGENTS_FOLDER, Clouds
from holdfast.plane.wiring.engine import Engine, instance_policy
from holdfast.plane.wiring.files import Stores
from holdfast.telemetry.checkins import Telemetry
from holdfast.telemetry.handlers import ChartCalls, ControllerCalls
from holdfast.telemetry.machines import MachineBook
from holdfast.web.hub import CONTACT, QUARANTINE, Hub
from holdfast.wire.agents import AGENTS
from holdfast.wire.api.call import Call, Handler, Reply
from holdfast.wire.api.table import ENDPOINTS


def instance_handlers(
    home: Path,
    settings: Settings,
    *,
    stores: Stores,
    engine: Engine,
    telemetry: Telemetry,
    clouds: Clouds,
    keyring: KeyRing,
    clock: Clock,
) -> Mapping[str, Handler]:
    """Return the handlers about instances."""

    def runnable() -> frozenset[str]:
        folder = home / AGENTS_FOLDER
        return frozenset(
            agent.name
            for agent in AGENTS
            if not agent.folder or installed_versions(folder, agent.folder)
        )

    async def accounts() -> frozenset[str]:
        return frozenset(account.name for account in await stores.accounts.accounts())

    return handlers(
        Deps(
            mailboxes=engine.mailbox,
            reader=stores.reader,
            contacts=bridges.HeardContacts(telemetry),
            logs=bridges.CloudLogs(clouds.by_name),
            sealer=keyring,
            chance=bridges.SystemChance(),
            clock=clock,
            policy=instance_policy(settings),
            provider=settings.cloud,
            region=settings.region,
            account=LOCAL_ACCOUNT,
            agents=runnable,
            accounts=accounts,
        )
    )


def telemetry_handlers(
    settings: Settings,
    *,
    stores: Stores,
    telemetry: Telemetry,
    book: MachineBook,
    clock: Clock,
    token_secret: Secret,
    hub: Hub,
) -> dict[str, Handler]:
    """Return the handlers of machines and of charts; open pages are told of each check-in."""
    machines = ControllerCalls(telemetry, book, clock=clock, secret=token_secret.reveal())

    async def checkin(call: Call) -> Reply:
        reply = await machines.checkin(call)
        facts = book.lookup(getattr(call.body, "sandbox_id", ""))
        if facts is not None:
            hub.publish(CONTACT, facts.instance, facts.account)
        return reply

    def account_of(instance: str) -> str | None:
        facts = book.of_instance(instance)
        return facts.account if facts else None

    charts = ChartCalls(
        stores.analytics,
        clock=clock,
        account_of=account_of,
        interval_ms=round(settings.checkin_interval_s * SECOND_MS),
    )
    return {
        "controller.checkin": checkin,
        "controller.wake": machines.wake,
        "instance.fleet-charts": charts.fleet,
        "instance.charts": charts.instance,
    }


def plane_handlers(
    home: Path,
    settings: Settings,
    *,
    stores: Stores,
    engine: Engine,
    clouds: Clouds,
    register: Register,
    worker: RehearsalWorker,
    metrics: Metrics,
    health: HealthOf,
    more_checks: Sequence[Check] = (),
) -> dict[str, Handler]:
    """Return the handlers about people, operations, rehearsals and the plane itself."""
    return {
        **AccountHandlers(register).by_endpoint(),
        **rehearsal_handlers(worker),
        **operation_handlers(
            journal=stores.journal,
            reader=stores.reader,
            mailboxes=engine.mailbox,
            kinds=engine.kinds,
            actor_of_instance=instance_address,
        ),
        **about_handlers(
            ENDPOINTS,
            version=__version__,
            health=health,
            metrics=metrics.render,
            agents_folder=home / AGENTS_FOLDER,
            checks=[
                *make_checks(
                    home,
                    settings.keys_folder,
                    stores.reader,
                    engine,
                    list(clouds.by_name.values()),
                ),
                *more_checks,
            ],
        ),
    }


def announcing(api: Mapping[str, Handler], hub: Hub) -> dict[str, Handler]:
    """Return the handlers, with those that decide about quarantine telling open pages."""

    def tell(handler: Handler, topic: str) -> Handler:
        async def told(call: Call) -> Reply:
            reply = await handler(call)
            hub.publish(topic, call.path.get("event", ""), None)
            return reply

        return told

    topics: dict[str, Any] = {"quarantine.retry": QUARANTINE, "quarantine.drop": QUARANTINE}
    return {
        name: tell(handler, topics[name]) if name in topics else handler
        for name, handler in api.items()
    }
