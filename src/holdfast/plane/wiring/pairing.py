"""Joins pairing: where machines are, who asks them, the inbox, and what answers about it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, Final

from holdfast.actors.dispatch import Provider
from holdfast.actors.limiter import Gate
from holdfast.actors.owner import Landed, Owner
from holdfast.actors.ports import Mailboxes, Reader
from holdfast.instances.ports import Sealer
from holdfast.instances.secrets import Deps as SealedDeps
from holdfast.instances.secrets import handlers as sealed_calls
from holdfast.instances.views import (
    DETAIL_VIEW,
    INSTANCE_VIEW,
    decode_detail,
    decode_instance,
)
from holdfast.kernel.chance import Chance
from holdfast.kernel.clock import Clock
from holdfast.kernel.ids import address
from holdfast.kernel.log import Log
from holdfast.pairing import events
from holdfast.pairing.actions import PROVIDER
from holdfast.pairing.definition import KIND, arrival
from holdfast.pairing.effects import MachineTalk
from holdfast.pairing.handlers import Awaited
from holdfast.pairing.handlers import Deps as PairingDeps
from holdfast.pairing.handlers import handlers as pairing_calls
from holdfast.pairing.inbox import Inbox
from holdfast.pairing.limits import EFFECT_MS
from holdfast.pairing.ports import Changed, Place
from holdfast.pairing.state import STATE_VERSION, Pairing, decode_state, empty
from holdfast.pairing.views import PAIRING_VIEW
from holdfast.telemetry.checkins import Telemetry
from holdfast.telemetry.machines import MachineBook
from holdfast.wire.api.call import Handler
from holdfast.wire.controller.calls import Controllers
from holdfast.world.clouds.port import Cloud

CALLS_MAX: Final = 32
"""Machines that are told a decision at a time."""
CALLS_PER_S: Final = 200.0
_PAGE: Final = 1_000


class CommittedPlaces:
    """Where machines are and what was decided, from the committed rows."""

    def __init__(self, reader: Reader) -> None:
        """Read by `reader`."""
        self._reader = reader

    def of(self, instance: str) -> Place | None:
        """Return where an instance's machine is, or None when there is no such instance."""
        row = self._reader.view(INSTANCE_VIEW, instance)
        told = self._reader.view(DETAIL_VIEW, instance)
        if row is None or told is None:
            return None
        view, detail = decode_instance(row[0]), decode_detail(told[0])
        return Place(
            instance=instance,
            name=view.name,
            account=view.account,
            running=view.status == "running" and bool(view.machine_id),
            provider=detail.provider,
            machine_id=view.machine_id,
            epoch=view.epoch,
            config_version=detail.config_version,
        )

    def pairing(self, instance: str) -> Pairing:
        """Return the committed state of an instance's pairing; empty where nothing is."""
        row = self._reader.view(PAIRING_VIEW, instance)
        return empty(instance) if row is None else decode_state(row[0], STATE_VERSION)


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingParts:
    """The parts of pairing, made."""

    places: CommittedPlaces
    inbox: Inbox
    awaited: Awaited
    mailboxes: Mailboxes


def make_talk(
    reader: Reader, controllers: Controllers, clouds: Mapping[str, Cloud], *, log: Log
) -> MachineTalk:
    """Return who asks machines about pairing, and tells them what was decided."""
    return MachineTalk(CommittedPlaces(reader), controllers, clouds, log=log)


def make_pairing(
    talk: MachineTalk,
    reader: Reader,
    mailboxes: Mailboxes,
    *,
    clock: Clock,
    changed: Changed,
    log: Log,
) -> PairingParts:
    """Return the inbox over everything; `changed` is told whenever what waits is another."""
    places = CommittedPlaces(reader)
    inbox = Inbox(talk, places, mailboxes, clock=clock, changed=changed, log=log)
    return PairingParts(places=places, inbox=inbox, awaited=Awaited(), mailboxes=mailboxes)


def pairing_provider(talk: MachineTalk, clock: Clock) -> dict[str, Provider]:
    """Return who carries out the effects of pairing, by name."""
    gate = Gate(clock, concurrency=CALLS_MAX, rate_per_s=CALLS_PER_S)
    return {PROVIDER: Provider(execute=talk.execute, gate=gate, timeout_ms=EFFECT_MS)}


def follow_pairing(
    owner: Owner,
    parts: PairingParts,
    run: Callable[[Coroutine[Any, Any, Any]], None],
) -> None:
    """Have the inbox, and whoever waits, hear of what is committed."""

    def hear(landed: Landed) -> None:
        for view in landed.tick.views if landed.commit is not None else ():
            if view.view == PAIRING_VIEW:
                parts.awaited.hear(view.key)
                parts.inbox.hear(view.key)
            elif view.view == INSTANCE_VIEW:
                parts.inbox.hear(view.key)
                if view.body is None and parts.places.pairing(view.key).account:
                    run(forget_pairing(parts.mailboxes, view.key))

    owner.listen(hear)


async def forget_pairing(mailboxes: Mailboxes, instance: str) -> None:
    """Tell an instance's pairing that the instance is gone."""
    row = arrival(events.InstanceGone(), dedupe="gone", source="engine")
    await mailboxes.tell([(address(KIND, instance), row)])


def look_at_news(parts: PairingParts, book: MachineBook, telemetry: Telemetry) -> None:
    """Ask again every machine that last said it has requests: a new plane knows none of them."""
    for facts in book.everyone():
        heard = telemetry.contact(facts.instance)
        if heard is not None and heard.pairing_count:
            parts.inbox.notice(facts.instance)


async def settle_orphans(reader: Reader, mailboxes: Mailboxes) -> None:
    """Tell every pairing whose instance is gone: a plane may have died before it said so."""
    after = ""
    while page := reader.views(PAIRING_VIEW, account=None, after=after, limit=_PAGE):
        for key, _body, _seq in page:
            if reader.view(INSTANCE_VIEW, key) is None:
                await forget_pairing(mailboxes, key)
        after = page[-1][0]


def pairing_handlers(
    parts: PairingParts, reader: Reader, *, sealer: Sealer, chance: Chance, clock: Clock
) -> dict[str, Handler]:
    """Return a handler for each row about pairing and secrets."""
    return {
        **pairing_calls(
            PairingDeps(
                mailboxes=parts.mailboxes,
                reader=reader,
                places=parts.places,
                inbox=parts.inbox,
                chance=chance,
                clock=clock,
                awaited=parts.awaited,
            )
        ),
        **sealed_calls(
            SealedDeps(mailboxes=parts.mailboxes, reader=reader, sealer=sealer, chance=chance)
        ),
    }
