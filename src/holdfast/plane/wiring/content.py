"""Makes the stream of observed nodes: its store, directory, gate, flow, and handlers."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from holdfast.accounts.directory import LOCAL_ACCOUNT
from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.owner import Listener
from holdfast.consent.views import NODE_VIEW
from holdfast.content import limits
from holdfast.content.directory import Directory
from holdfast.content.flow import ContentFlow, Deletion, Quota
from holdfast.content.gaps import Gaps
from holdfast.content.handlers import ContentCalls
from holdfast.content.machine_intent import MachineIntents
from holdfast.content.node_calls import NodeCalls
from holdfast.content.ports import Consents, ContentStore, Machine, Nodes
from holdfast.content.presence import Presence
from holdfast.content.registration import Registration
from holdfast.content.spend_watch import DueNodes
from holdfast.kernel.clock import DAY_MS
from holdfast.kernel.liveness import Vital
from holdfast.letters.names import NameOf, unnamed
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.accounts import account_exists
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.costs import Costs, make_costs
from holdfast.plane.wiring.files import open_kept
from holdfast.plane.wiring.holder import CONTENT_FILE
from holdfast.plane.wiring.part import HOUR_S, Part, every
from holdfast.plane.wiring.room import room_here
from holdfast.stores.sqlite.content import open_content
from holdfast.telemetry.accept import Rejected, credentials, prove
from holdfast.telemetry.long_poll import FullError, WakeHub
from holdfast.telemetry.machines import MachineIndex
from holdfast.wire.api.call import Refusal

_MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """The open store of nodes, and what consent needs of it: it is made before its consent."""

    store: ContentStore
    directory: Directory
    deletion: Deletion
    due: DueNodes
    troubles: Callable[[], tuple[str, ...]]
    vital: Callable[[], tuple[Vital, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The stream of content, made and not yet started.

    Call `consent_changed` with a node whose consent changed, after the commit.
    """

    observed: Observed
    presence: Presence
    costs: Costs
    consent_changed: Callable[[str], None]
    part: Part


class HeldPolls:
    """The long polls of nodes, apart from those of machines."""

    def __init__(self, hub: WakeHub) -> None:
        self._hub = hub

    async def wait(self, node: str, timeout_s: float) -> bool:
        """Return after a wake or the time; False at once where too many are held."""
        try:
            await self._hub.wait(node, timeout_s)
        except FullError:
            return False
        return True

    def wake(self, node: str) -> None:
        """End every poll of this node."""
        self._hub.wake(node)


def open_observed(core: Core) -> Observed:
    """Open the store of nodes; what is opened is pushed on `core.closing`."""
    clock = core.clock
    store = open_kept(
        core.home / CONTENT_FILE, lambda path: open_content(path, now_ms=clock.now_ms())
    )
    core.closing.push_async_callback(store.close)
    directory = Directory(
        store, clock=clock, entropy=secrets.token_bytes, log=core.log, publish=core.publish
    )
    due = DueNodes()
    core.closing.push_async_callback(directory.flush)

    def troubles() -> tuple[str, ...]:
        return (f"{CONTENT_FILE}: {store.trouble}",) if str(store.trouble) else ()

    return Observed(
        store=store,
        directory=directory,
        deletion=Deletion(store, directory, due.note),
        due=due,
        troubles=troubles,
        vital=lambda: (store.vital(),),
    )


def make_content(
    core: Core,
    observed: Observed,
    consents: Consents,
    nodes: Nodes,
    machine_index: MachineIndex,
    *,
    name_of: NameOf = unnamed,
) -> Content:
    """Make the stream; observers learn the key that verifies grants from its answers."""
    clock, log = core.clock, core.log
    store, directory = observed.store, observed.directory
    hub, gaps = WakeHub(waiters_max=room_here().node_polls), Gaps()
    presence = Presence(HeldPolls(hub), clock=clock)
    quota = quota_of(core.settings)
    flow = ContentFlow(
        store, directory, consents, gaps, clock=clock, log=log, meter=core.meter, quota=quota,
        counted=observed.due.note,
    )  # fmt: skip
    registration = _make_registration(core, directory, nodes, machine_index)
    senders = NodeCalls(
        directory,
        flow,
        registration,
        presence,
        gaps,
        consents=consents,
        nodes=nodes,
        run=core.run,
        successors=lambda: core.consent_key.successors,
    )
    people = ContentCalls(
        store,
        directory,
        presence,
        gaps,
        consents=consents,
        account_exists=account_exists(core),
        default_account=LOCAL_ACCOUNT,
        quota=quota.node_bytes,
        name_of=name_of,
    )
    part = Part(
        name="content",
        handlers={**senders.by_endpoint(), **people.by_endpoint()},
        start=directory.load,
        vitals=observed.vital,
        troubles=observed.troubles,
        jobs=(
            every("content.flush", directory.flush, limits.FLUSH_S, log, first_s=limits.FLUSH_S),
            every("content.purge", flow.purge, HOUR_S, log),
        ),
        on_commit=(follow_consent(senders.consent_changed),),
        release=hub.wake_all,
    )
    return Content(
        observed=observed,
        presence=presence,
        costs=make_costs(
            core, store, directory, consents, keep_ms=quota.keep_counters_ms, name_of=name_of
        ),
        consent_changed=senders.consent_changed,
        part=part,
    )


def _make_registration(
    core: Core, directory: Directory, nodes: Nodes, machine_index: MachineIndex
) -> Registration:
    return Registration(
        directory,
        nodes,
        clock=core.clock,
        log=core.log,
        entropy=secrets.token_bytes,
        prove=_prove_machine(core, machine_index),
        account=LOCAL_ACCOUNT,
        url=core.url,
        plane_key=lambda: core.consent_key.public_key,
    )


def intents_part(core: Core, nodes: Nodes, machine_index: MachineIndex) -> Part:
    """Return what takes the intents that controllers pass on."""
    intents = MachineIntents(nodes, _prove_machine(core, machine_index))
    return Part(name="intents", handlers={"controller.intent": intents.take})


def quota_of(settings: Settings) -> Quota:
    """Return how much of a node is kept, and for how long."""
    return Quota(
        settings.content_node_mb * _MB,
        settings.content_days * DAY_MS,
        (settings.counter_days or settings.content_days) * DAY_MS,
    )


def follow_consent(changed: Callable[[str], None]) -> Listener:
    """Return a listener that names each node whose committed consent changed."""

    def on_commit(committed: CommittedTick) -> None:
        for view in committed.tick.views if committed.commit is not None else ():
            if view.view == NODE_VIEW:
                changed(view.key)

    return on_commit


def _prove_machine(
    core: Core, machine_index: MachineIndex
) -> Callable[[Mapping[str, str], str, int], Machine | None]:
    """Return what finds the machine that the credentials of a check-in prove."""

    def find(header: Mapping[str, str], sandbox: str, now_ms: int) -> Machine | None:
        shown = credentials(header)
        if shown is None:
            return None
        facts = prove(
            shown, sandbox, secret=core.token_secret.reveal(), find=machine_index.lookup,
            now_ms=now_ms,
        )  # fmt: skip
        if isinstance(facts, Rejected):
            raise Refusal(facts.status, facts.code, facts.message, field=facts.field, fix=facts.fix)
        return Machine(facts.instance, facts.account)

    return find
