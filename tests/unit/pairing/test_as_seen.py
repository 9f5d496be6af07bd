"""A decision is about what the person saw, not about what the request became since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from holdfast.actors.ports import Accepted, Answer, Arrival
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.ids import Address, EventId
from holdfast.kernel.outcome import Ok, Outcome
from holdfast.pairing import events
from holdfast.pairing.handlers import Deps, PairingCalls
from holdfast.pairing.inbox import Inbox
from holdfast.pairing.ports import Listing, Place
from holdfast.pairing.requests import Waiting
from holdfast.wire.api.call import Call, Principal, Refusal
from holdfast.wire.api.pairing import PairingApprove, PairingDismiss
from tests.support.logs import Lines
from tests.unit.pairing.rig import INSTANCE, UUID, Fixed, device

SEEN, WIDER = "00000000000000aa", "00000000000000bb"


class Machine:
    """Lists the requests set by a test."""

    def __init__(self) -> None:
        self.waiting: tuple[Waiting, ...] = ()

    async def listing(self, place: Place, *, refresh: bool) -> Outcome[Listing]:
        del place, refresh
        return Ok(Listing(requests=self.waiting, via="controller", complete=True))


class Mail:
    """Keeps what is decided; no tick takes it."""

    def __init__(self) -> None:
        self.decided: list[events.PairingDecided] = []

    async def tell(self, arrivals: Sequence[tuple[Address, Arrival]]) -> list[Accepted]:
        del arrivals
        return []

    async def ask(self, actor: Address, arrival: Arrival, *, wait_ms: int) -> Answer:
        del actor, wait_ms
        event = events.decode_event(arrival.body, arrival.version)
        assert isinstance(event, events.PairingDecided)
        self.decided.append(event)
        return Answer(event=EventId("e1"), fresh=True, stamp=None)


class Chance:
    def uuid(self) -> str:
        return "1" * 32


class Rig:
    def __init__(self) -> None:
        self.machine, self.mail, clock, places = Machine(), Mail(), ManualClock(), Fixed()
        self.inbox = Inbox(
            self.machine, places, self.mail, clock=clock, publish=lambda *_: None,
            log=Lines(),
        )  # fmt: skip
        self.calls = PairingCalls(
            Deps(
                mailboxes=self.mail,
                reader=None,  # type: ignore[arg-type]
                places=places,
                inbox=self.inbox,
                chance=Chance(),  # type: ignore[arg-type]
                clock=clock,
            )
        )

    async def decide(self, body: PairingApprove | PairingDismiss) -> events.PairingDecided:
        who = Principal("ann", "owner", None, "local")
        approves = isinstance(body, PairingApprove)
        handler = self.calls.approve if approves else self.calls.dismiss
        name = "pairing.approve" if approves else "pairing.dismiss"
        await handler(Call(name, who, path={"id": INSTANCE}, body=body))
        return self.mail.decided[-1]


def asks(fingerprint: str, *scopes: str) -> Waiting:
    plain = device(scopes=scopes, roles=("operator",))
    asked = msgspec.structs.replace(plain.asked, fingerprint=fingerprint)
    return msgspec.structs.replace(plain, asked=asked)


@pytest.mark.parametrize(
    "body",
    [
        PairingApprove(request_id=UUID, fingerprint=SEEN),
        PairingApprove(request_id=UUID, fingerprint=SEEN, remember=True),
        PairingDismiss(request_id=UUID, fingerprint=SEEN),
    ],
)
async def test_what_asks_for_more_than_was_seen_is_not_decided(body: Any) -> None:
    rig = Rig()
    rig.machine.waiting = (asks(WIDER, "operator.admin"),)
    with pytest.raises(Refusal) as refused:
        await rig.decide(body)
    assert (refused.value.status, refused.value.problem.code) == (409, "pairing_changed")
    assert rig.mail.decided == []
    rig = Rig()
    rig.machine.waiting = (asks(SEEN, "operator.read"),)
    assert (await rig.decide(body)).asked.fingerprint == SEEN


async def test_the_machine_is_told_what_was_seen_of_a_request_the_plane_does_not_know() -> None:
    rig = Rig()
    decided = await rig.decide(PairingApprove(request_id=UUID, fingerprint=SEEN))
    assert decided.asked.fingerprint == SEEN


async def test_who_says_nothing_of_what_was_seen_decides_about_what_is_there() -> None:
    rig = Rig()
    rig.machine.waiting = (asks(WIDER, "operator.admin"),)
    assert (await rig.decide(PairingApprove(request_id=UUID))).asked.fingerprint == WIDER
