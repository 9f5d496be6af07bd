"""Makes instances: their kind of actor, handlers, secrets and alerts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from holdfast.actors.kinds import Kind, make_kind
from holdfast.instances import secrets
from holdfast.instances.definition import INSTANCE
from holdfast.instances.handlers import Deps, handlers
from holdfast.instances.index import FleetIndex, LiveContacts
from holdfast.instances.maintenance import maintenance_handlers
from holdfast.instances.placement import Offer, Placement
from holdfast.instances.policy import Policy
from holdfast.instances.ports import Agents
from holdfast.instances.views import INSTANCE_VIEW
from holdfast.kernel.clock import SECOND_MS
from holdfast.letters import topics
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.agent_versions import bring_up_to_date, version_uses
from holdfast.plane.wiring.clouds import DOCKER, CloudLogs, Reach
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.fleet_checks import Unowned, fleet_checks
from holdfast.plane.wiring.fleet_watch import Watch
from holdfast.plane.wiring.fly import FLY
from holdfast.plane.wiring.part import HOUR_S, Job, Part, every
from holdfast.stores.sqlite.fleet import SqliteFleet
from holdfast.wire.controller.calls import Controllers
from holdfast.world.clouds.port import Capabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class Placing:
    """Defaults of new instances: provider, region and account; policy and known agents."""

    policy: Policy
    provider: str
    region: str
    account: str
    agents: Agents | None = None
    accounts: Callable[[], Awaitable[frozenset[str]]] | None = None


def instance_kind(policy: Policy) -> Kind:
    """Return the kind of actor."""
    return make_kind(INSTANCE, policy)


def make_fleet(core: Core, contacts: LiveContacts) -> FleetIndex:
    """Return the index of the fleet, which `instances_part` fills."""
    store = SqliteFleet()
    core.closing.push_async_callback(store.close)
    fleet = FleetIndex(store, core.stores.reader, contacts, log=core.log)
    contacts.listen(fleet.heard)
    return fleet


def instances_part(
    core: Core,
    reach: Reach[Controllers],
    contacts: LiveContacts,
    placing: Placing,
    fleet: FleetIndex,
) -> Part:
    """Return instances as a part; `contacts` has the last reports of their machines."""
    reader = core.stores.reader
    deps = Deps(
        mailboxes=core.mailbox,
        reader=reader,
        contacts=contacts,
        fleet=fleet,
        logs=CloudLogs(reach.by_name),
        sealer=core.keyring,
        chance=core.chance,
        clock=core.clock,
        policy=placing.policy,
        placement=Placement(
            cloud=placing.provider,
            region=placing.region,
            offers={name: _offer(cloud.capabilities) for name, cloud in reach.by_name.items()},
        ),
        account=placing.account,
        agents=placing.agents,
        accounts=placing.accounts,
    )
    sealed = secrets.Deps(
        mailboxes=core.mailbox, reader=reader, sealer=core.keyring, chance=core.chance
    )
    uses = partial(version_uses, reader)
    watch = Watch(fleet, meter=core.meter, log=core.log)
    unowned = Unowned(reader, reach.by_name)
    return Part(
        name="instances",
        kinds=(instance_kind(placing.policy),),
        handlers={
            **handlers(deps),
            **secrets.handlers(sealed),
            **maintenance_handlers(reader, reach.controllers),
        },
        on_commit=(fleet.on_commit,),
        topics={INSTANCE_VIEW: topics.INSTANCE},
        jobs=(
            Job("instances.index", fleet.run),
            Job("instances.watch", watch.run),
            every("machines.look", unowned.look, HOUR_S, core.log),
        ),
        troubles=unowned.troubles,
        checks=(*fleet_checks(watch, placing.agents, uses), unowned.check),
        start=partial(bring_up_to_date, core, placing.agents),
    )


def _offer(can: Capabilities) -> Offer:
    """Return what a cloud offers to new instances."""
    return Offer(sizes=can.sizes, regions=() if can.more_regions else can.regions)


def instance_policy(settings: Settings) -> Policy:
    """Return the policy of instances by these settings."""
    return Policy(
        start_timeout_ms=_ms(settings.start_timeout_s),
        restart_soft_ms=_ms(settings.restart_soft_s),
        restart_hard_ms=_ms(settings.restart_hard_s),
        destroy_retry_ms=_ms(settings.destroy_retry_s),
        stale_provision_ms=_ms(settings.stale_provision_s),
        daily_look_ms=_ms(settings.daily_look_s),
        stop_grace_ms=_ms(settings.stop_grace_s),
        volumes=(DOCKER, FLY),
    )


def _ms(seconds: float) -> int:
    """Return seconds as whole milliseconds."""
    return round(seconds * SECOND_MS)
