"""The memory of what waits: one look at a time, and never an old list in the place of a new."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from holdfast.actors.ports import Accepted, Answer, Arrival
from holdfast.kernel.clock import ManualClock
from holdfast.kernel.ids import Address
from holdfast.kernel.outcome import Ok, Outcome, Permanent
from holdfast.pairing import ports
from holdfast.pairing.inbox import Inbox
from holdfast.pairing.limits import CACHE_MS
from holdfast.pairing.policy import Rule
from holdfast.pairing.ports import Listing, Place
from holdfast.pairing.requests import Waiting, request_id
from holdfast.pairing.state import Decision, Pairing
from tests.support.logs import Lines
from tests.unit.pairing.rig import INSTANCE, Fixed, device, place, telegram


class Machines:
    """Machines that answer when the test lets them."""

    def __init__(self) -> None:
        self.asked: list[bool] = []
        self.waiting: list[asyncio.Future[Outcome[Listing]]] = []

    async def listing(self, place: Place, *, refresh: bool) -> Outcome[Listing]:
        del place
        self.asked.append(refresh)
        future: asyncio.Future[Outcome[Listing]] = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return await future

    async def answer(self, outcome: Outcome[Listing]) -> None:
        self.waiting.pop(0).set_result(outcome)
        await turns()


class Mail:
    def __init__(self) -> None:
        self.told: list[str] = []

    async def tell(self, arrivals: Sequence[tuple[Address, Arrival]]) -> list[Accepted]:
        self.told += [arrival.dedupe for _, arrival in arrivals]
        return []

    async def ask(self, actor: Address, arrival: Arrival, *, wait_ms: int) -> Answer:
        raise NotImplementedError(f"{actor} {arrival} {wait_ms}")


class Room:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.places = Fixed()
        self.machines = Machines()
        self.mail = Mail()
        self.changes: list[tuple[str, str, str | None]] = []
        self.inbox = Inbox(
            self.machines, self.places, self.mail, clock=self.clock,
            publish=lambda *told: self.changes.append(told),
            log=Lines(),
        )  # fmt: skip

    def ask(self, *, refresh: bool = False) -> asyncio.Task[Any]:
        where = self.places.place
        assert where is not None
        return asyncio.create_task(self.inbox.fetch(where, refresh=refresh))

    def ids(self) -> list[str]:
        where = self.places.place
        assert where is not None
        return [request_id(one.request.asked) for one in self.inbox.waiting(where)]

    def decide(self, request: Waiting, status: Any) -> None:
        decision = Decision(
            serial=1, verb="approve", status=status, marks=request.marks, at_ms=0, until_ms=0,
            forget_ms=2**45,
        )  # fmt: skip
        epoch = self.places.state.epoch + 1
        self.places.state = Pairing(instance=INSTANCE, epoch=epoch, decisions=(decision,))
        self.inbox.row_changed(INSTANCE)


async def turns() -> None:
    for _ in range(6):
        await asyncio.sleep(0)


def told(*requests: Waiting, via: Any = "controller", complete: bool = True) -> Ok[Listing]:
    return Ok(Listing(requests=requests, via=via, complete=complete))


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    await made.inbox.close()


async def test_news_is_fetched_once_and_pages_are_told(room: Room) -> None:
    room.inbox.notice(INSTANCE)
    room.inbox.notice(INSTANCE)
    await turns()
    assert room.machines.asked == [False]
    await room.machines.answer(told(telegram()))
    assert room.ids() == ["telegram:AB12"]
    assert room.changes == [("pairing", INSTANCE, "acme")]
    # What came while the look was under way makes one more.
    assert room.machines.asked == [False, False]


async def test_who_asks_while_a_look_is_under_way_shares_it(room: Room) -> None:
    first, second = room.ask(), room.ask()
    await turns()
    await room.machines.answer(told(telegram()))
    assert await first == await second
    assert room.machines.asked == [False]


async def test_a_forced_look_is_a_new_one(room: Room) -> None:
    first = room.ask()
    await turns()
    forced = room.ask(refresh=True)
    await room.machines.answer(told(telegram()))
    await first
    await turns()
    assert room.machines.asked == [False, True]
    await room.machines.answer(told())
    assert (await forced).value.listing.requests == ()


async def test_what_a_command_told_is_kept_for_two_minutes(room: Room) -> None:
    asked = room.ask()
    await turns()
    await room.machines.answer(told(telegram(), via="exec"))
    await asked
    room.clock.advance(CACHE_MS - 1)
    assert (await room.ask()).value.listing.requests == (telegram(),)
    assert room.machines.asked == [False]
    room.clock.advance(1)
    room.ask()
    await turns()
    assert room.machines.asked == [False, False]


async def test_an_incomplete_list_is_not_kept(room: Room) -> None:
    asked = room.ask()
    await turns()
    await room.machines.answer(told(telegram(), via="exec", complete=False))
    await asked
    assert room.inbox.trouble(INSTANCE) is not None
    room.ask()
    await turns()
    assert room.machines.asked == [False, False]


async def test_the_first_warning_an_approval_by_the_controller_ends_what_was_kept(
    room: Room,
) -> None:
    """A list kept from a command, an approval by the controller, then the route is lost."""
    asked = room.ask()
    await turns()
    await room.machines.answer(told(telegram(), device(), via="exec"))
    await asked
    room.decide(telegram(), "done")
    assert room.ids() == [request_id(device().asked)]
    again = room.ask()
    await turns()
    assert room.machines.asked == [False, False], "what was kept is of another epoch"
    await room.machines.answer(told(telegram(), device(), via="exec"))
    await again
    assert room.ids() == [request_id(device().asked)]


async def test_the_second_warning_a_list_begun_before_an_approval_is_not_kept(
    room: Room,
) -> None:
    """A slow list begins, the request is approved, and the list writes it back."""
    slow = room.ask()
    await turns()
    room.decide(telegram(), "done")
    await room.machines.answer(told(telegram(), device(), via="exec"))
    await slow
    assert room.ids() == [request_id(device().asked)]
    room.ask()
    await turns()
    assert room.machines.asked == [False, False], "the old list is not good for the new epoch"


@pytest.mark.parametrize(
    "changes", [{"machine_id": "m2"}, {"epoch": 2}, {"machine_id": "m2", "epoch": 2}]
)
async def test_a_list_of_another_machine_is_asked_for_anew(
    room: Room, changes: dict[str, Any]
) -> None:
    asked = room.ask()
    await turns()
    room.places.place = place(**changes)
    await room.machines.answer(told(telegram()))
    assert room.machines.asked == [False, False]
    await room.machines.answer(told(device()))
    assert (await asked).value.listing.requests == (device(),)


async def test_changed_tokens_end_what_was_kept(room: Room) -> None:
    asked = room.ask()
    await turns()
    await room.machines.answer(told(telegram(), via="exec"))
    await asked
    room.places.place = place(config_version=2)
    room.ask()
    await turns()
    assert room.machines.asked == [False, False]


async def test_who_stops_has_nothing_waiting(room: Room) -> None:
    asked = room.ask()
    await turns()
    await room.machines.answer(told(telegram()))
    await asked
    room.places.place = place(running=False)
    room.inbox.row_changed(INSTANCE)
    assert room.ids() == []
    outcome = await room.ask()
    assert isinstance(outcome, Permanent)
    assert outcome.code == ports.NOT_RUNNING


async def test_a_failure_keeps_what_was_known_and_says_so(room: Room) -> None:
    asked = room.ask()
    await turns()
    await room.machines.answer(told(telegram()))
    await asked
    again = room.ask()
    await turns()
    await room.machines.answer(Permanent("controller_unreachable", "gone"))
    assert await again == Permanent("controller_unreachable", "gone")
    assert room.ids() == ["telegram:AB12"]
    assert room.inbox.trouble(INSTANCE) == ("gone", room.clock.now_ms())


async def test_a_rule_is_told_of_each_request_once_under_each_policy(room: Room) -> None:
    rule = Rule(id="r1", kind="channel", channel="telegram", sender="*")
    room.places.state = Pairing(instance=INSTANCE, mode="rules", policy_version=3, rules=(rule,))
    room.inbox.notice(INSTANCE)
    await turns()
    await room.machines.answer(told(telegram(), device()))
    (dedupe,) = room.mail.told
    assert dedupe.startswith("rule:3:")


async def test_nobody_is_asked_after_the_end(room: Room) -> None:
    asked = room.ask()
    await turns()
    await room.inbox.close()
    with pytest.raises(asyncio.CancelledError):
        await asked
    room.inbox.notice(INSTANCE)
    assert isinstance(await room.ask(), Permanent)
    assert room.machines.asked == [False]
