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


class Rig:
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


def listed(*requests: Waiting, via: Any = "controller", complete: bool = True) -> Ok[Listing]:
    return Ok(Listing(requests=requests, via=via, complete=complete))


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    made = Rig()
    yield made
    await made.inbox.close()


async def test_news_is_fetched_once_and_pages_are_told(rig: Rig) -> None:
    rig.inbox.notice(INSTANCE)
    rig.inbox.notice(INSTANCE)
    await turns()
    assert rig.machines.asked == [False]
    await rig.machines.answer(listed(telegram()))
    assert rig.ids() == ["telegram:AB12"]
    assert rig.changes == [("pairing", INSTANCE, "acme")]
    # What came while the look was under way makes one more.
    assert rig.machines.asked == [False, False]


async def test_who_asks_while_a_look_is_under_way_shares_it(rig: Rig) -> None:
    first, second = rig.ask(), rig.ask()
    await turns()
    await rig.machines.answer(listed(telegram()))
    assert await first == await second
    assert rig.machines.asked == [False]


async def test_a_forced_look_is_a_new_one(rig: Rig) -> None:
    first = rig.ask()
    await turns()
    forced = rig.ask(refresh=True)
    await rig.machines.answer(listed(telegram()))
    await first
    await turns()
    assert rig.machines.asked == [False, True]
    await rig.machines.answer(listed())
    assert (await forced).value.listing.requests == ()


async def test_what_a_command_told_is_kept_for_two_minutes(rig: Rig) -> None:
    asked = rig.ask()
    await turns()
    await rig.machines.answer(listed(telegram(), via="exec"))
    await asked
    rig.clock.advance(CACHE_MS - 1)
    assert (await rig.ask()).value.listing.requests == (telegram(),)
    assert rig.machines.asked == [False]
    rig.clock.advance(1)
    rig.ask()
    await turns()
    assert rig.machines.asked == [False, False]


async def test_an_incomplete_list_is_not_kept(rig: Rig) -> None:
    asked = rig.ask()
    await turns()
    await rig.machines.answer(listed(telegram(), via="exec", complete=False))
    await asked
    assert rig.inbox.trouble(INSTANCE) is not None
    rig.ask()
    await turns()
    assert rig.machines.asked == [False, False]


async def test_the_first_warning_an_approval_by_the_controller_ends_what_was_kept(
    rig: Rig,
) -> None:
    """A list kept from a command, an approval by the controller, then the route is lost."""
    asked = rig.ask()
    await turns()
    await rig.machines.answer(listed(telegram(), device(), via="exec"))
    await asked
    rig.decide(telegram(), "done")
    assert rig.ids() == [request_id(device().asked)]
    again = rig.ask()
    await turns()
    assert rig.machines.asked == [False, False], "what was kept is of another epoch"
    await rig.machines.answer(listed(telegram(), device(), via="exec"))
    await again
    assert rig.ids() == [request_id(device().asked)]


async def test_the_second_warning_a_list_begun_before_an_approval_is_not_kept(
    rig: Rig,
) -> None:
    """A slow list begins, the request is approved, and the list writes it back."""
    slow = rig.ask()
    await turns()
    rig.decide(telegram(), "done")
    await rig.machines.answer(listed(telegram(), device(), via="exec"))
    await slow
    assert rig.ids() == [request_id(device().asked)]
    rig.ask()
    await turns()
    assert rig.machines.asked == [False, False], "the old list is not good for the new epoch"


@pytest.mark.parametrize(
    "changes", [{"machine_id": "m2"}, {"epoch": 2}, {"machine_id": "m2", "epoch": 2}]
)
async def test_a_list_of_another_machine_is_asked_for_anew(
    rig: Rig, changes: dict[str, Any]
) -> None:
    asked = rig.ask()
    await turns()
    rig.places.place = place(**changes)
    await rig.machines.answer(listed(telegram()))
    assert rig.machines.asked == [False, False]
    await rig.machines.answer(listed(device()))
    assert (await asked).value.listing.requests == (device(),)


async def test_changed_tokens_end_what_was_kept(rig: Rig) -> None:
    asked = rig.ask()
    await turns()
    await rig.machines.answer(listed(telegram(), via="exec"))
    await asked
    rig.places.place = place(config_version=2)
    rig.ask()
    await turns()
    assert rig.machines.asked == [False, False]


async def test_only_instances_with_requests_or_trouble_are_looked_through(rig: Rig) -> None:
    for outcome, notable in (
        (listed(), False),
        (listed(telegram()), True),
        (listed(), False),
        (listed(complete=False), True),
        (Permanent("controller_unreachable", "gone"), True),
        (listed(telegram()), True),
    ):
        asked = rig.ask(refresh=True)
        await turns()
        await rig.machines.answer(outcome)
        await asked
        assert list(rig.inbox.instances()) == [INSTANCE] * notable, outcome
    rig.places.place = place(running=False)
    rig.inbox.row_changed(INSTANCE)
    assert not rig.inbox.instances()


async def test_who_stops_has_nothing_waiting(rig: Rig) -> None:
    asked = rig.ask()
    await turns()
    await rig.machines.answer(listed(telegram()))
    await asked
    rig.places.place = place(running=False)
    rig.inbox.row_changed(INSTANCE)
    assert rig.ids() == []
    outcome = await rig.ask()
    assert isinstance(outcome, Permanent)
    assert outcome.code == ports.NOT_RUNNING


async def test_a_failure_keeps_what_was_known_and_says_so(rig: Rig) -> None:
    asked = rig.ask()
    await turns()
    await rig.machines.answer(listed(telegram()))
    await asked
    again = rig.ask()
    await turns()
    await rig.machines.answer(Permanent("controller_unreachable", "gone"))
    assert await again == Permanent("controller_unreachable", "gone")
    assert rig.ids() == ["telegram:AB12"]
    assert rig.inbox.trouble(INSTANCE) == ("gone", rig.clock.now_ms())


async def test_a_rule_is_told_of_each_request_once_under_each_policy(rig: Rig) -> None:
    rule = Rule(id="r1", kind="channel", channel="telegram", sender="*")
    rig.places.state = Pairing(instance=INSTANCE, mode="rules", policy_version=3, rules=(rule,))
    rig.inbox.notice(INSTANCE)
    await turns()
    await rig.machines.answer(listed(telegram(), device()))
    (dedupe,) = rig.mail.told
    assert dedupe.startswith("rule:3:")


async def test_nobody_is_asked_after_the_end(rig: Rig) -> None:
    asked = rig.ask()
    await turns()
    await rig.inbox.close()
    with pytest.raises(asyncio.CancelledError):
        await asked
    rig.inbox.notice(INSTANCE)
    assert isinstance(await rig.ask(), Permanent)
    assert rig.machines.asked == [False]
