"""Makes pairing: its kind of actor, the client of machines, the inbox, and handlers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from holdfast.actors.committed_tick import CommittedTick
from holdfast.actors.definition import EffectCall
from holdfast.actors.dispatch import Provider
from holdfast.actors.kinds import Kind, make_kind
from holdfast.actors.limiter import Limiter
from holdfast.actors.owner import Listener
from holdfast.instances.views import INSTANCE_VIEW
from holdfast.kernel.outcome import Outcome
from holdfast.letters import topics
from holdfast.pairing.actions import PROVIDER
from holdfast.pairing.definition import PAIRING, Policy
from holdfast.pairing.effects import MachineClient
from holdfast.pairing.handlers import Awaited, Deps, handlers
from holdfast.pairing.inbox import Inbox
from holdfast.pairing.limits import EFFECT_MS
from holdfast.pairing.ports import Machines
from holdfast.pairing.views import PAIRING_VIEW
from holdfast.plane.wiring.clouds import Reach
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.part import Part
from holdfast.plane.wiring.places import CommittedPlaces
from holdfast.wire.controller.calls import Controllers

CALLS_MAX: Final = 32
"""Decisions sent to machines concurrently."""
CALLS_PER_S: Final = 200.0


class PairingMachines(Machines, Protocol):
    """Reads machines' lists, and carries out effects."""

    async def execute(self, call: EffectCall) -> Outcome[object]:
        """Send a decision to a machine, or check whether it was carried out."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingMade:
    """The inbox, which telemetry notifies, and the part."""

    inbox: Inbox
    part: Part


def pairing_kind() -> Kind:
    """Return the kind of actor."""
    return make_kind(PAIRING, Policy())


def places_part(core: Core, places: CommittedPlaces) -> Part:
    """Return the part that fills `places` before the engine starts and updates it on commits.

    It comes before other listeners about pairing, so that they read the committed rows.
    """

    async def fill() -> None:
        await places.fill(core.stores.reader)

    return Part(name="places", start=fill, on_commit=(places.on_commit,))


def make_machine_client(
    core: Core, reach: Reach[Controllers], places: CommittedPlaces
) -> MachineClient:
    """Return the client of machines: through controllers, or by commands for older ones."""
    return MachineClient(places, reach.controllers, reach.by_name, log=core.log)


def make_pairing(core: Core, machines: PairingMachines, places: CommittedPlaces) -> PairingMade:
    """Return the inbox, and the part with the handlers."""
    reader, clock = core.stores.reader, core.clock
    inbox = Inbox(machines, places, core.mailbox, clock=clock, publish=core.publish, log=core.log)
    core.closing.push_async_callback(inbox.close)
    awaited = Awaited()
    gate = Limiter(clock, concurrency=CALLS_MAX, rate_per_s=CALLS_PER_S)
    deps = Deps(
        mailboxes=core.mailbox,
        reader=reader,
        places=places,
        inbox=inbox,
        chance=core.chance,
        clock=clock,
        awaited=awaited,
    )
    part = Part(
        name="pairing",
        kinds=(pairing_kind(),),
        providers={PROVIDER: Provider(execute=machines.execute, gate=gate, timeout_ms=EFFECT_MS)},
        handlers=handlers(deps),
        on_commit=(follow_pairing(inbox, awaited),),
        topics={PAIRING_VIEW: topics.PAIRING},
    )
    return PairingMade(inbox=inbox, part=part)


def follow_pairing(inbox: Inbox, awaited: Awaited) -> Listener:
    """Return a listener that notifies the inbox and waiting calls of commits."""

    def on_commit(committed: CommittedTick) -> None:
        for view in committed.tick.views if committed.commit is not None else ():
            if view.view == PAIRING_VIEW:
                awaited.notify(view.key)
                inbox.row_changed(view.key)
            elif view.view == INSTANCE_VIEW:
                inbox.row_changed(view.key)

    return on_commit
