"""Whose turn it is: one at a time, the urgent first, and never lost by who gives up."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.machine.controller.process.priority_lock import PriorityLock, Rank
from tests.support.patience import patience


async def queue(turn: PriorityLock, *ranks: Rank) -> list[Rank]:
    """Have these wait for a turn that is held, in this order; return in which they got it."""
    order: list[Rank] = []

    async def use(rank: Rank) -> None:
        await turn.take(rank)
        order.append(rank)
        await asyncio.sleep(0)
        turn.give_back()

    tasks = [asyncio.create_task(use(rank)) for rank in ranks]
    await asyncio.sleep(0)
    turn.give_back()
    assert not turn.take_now(), "it is the first one's already"
    await asyncio.gather(*tasks)
    return order


async def test_within_a_rank_it_goes_to_who_came_first() -> None:
    turn, order = PriorityLock(), list[int]()

    async def use(number: int) -> None:
        await turn.take(Rank.ORDER)
        order.append(number)
        turn.give_back()

    assert turn.take_now()
    tasks = [asyncio.create_task(use(number)) for number in range(3)]
    await asyncio.sleep(0)
    turn.give_back()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    assert turn.take_now()


async def test_a_start_comes_before_an_order_and_that_before_a_look() -> None:
    turn = PriorityLock()
    assert turn.take_now()
    came = (Rank.LOOK, Rank.BRIEF, Rank.ORDER, Rank.START)
    assert await queue(turn, *came) == sorted(came)
    assert turn.take_now()


@pytest.mark.parametrize(
    ("rank", "asked"),
    [(Rank.START, 1), (Rank.ORDER, 1), (Rank.BRIEF, 0), (Rank.LOOK, 0)],
)
async def test_who_can_give_way_is_asked_to_once_by_who_is_urgent(rank: Rank, asked: int) -> None:
    turn, heard = PriorityLock(), list[str]()
    await turn.take(Rank.LOOK, lambda: heard.append("give way"))
    waiting = [asyncio.create_task(turn.take(rank)) for _ in range(2)]
    await asyncio.sleep(0)
    assert len(heard) == asked
    turn.give_back()
    await waiting[0]
    assert len(heard) == asked, "it was given back; who has it now was not asked for anything"
    turn.give_back()
    await waiting[1]


async def test_who_was_handed_it_hears_of_one_that_came_in_the_same_moment() -> None:
    turn, heard = PriorityLock(), list[str]()
    assert turn.take_now()
    look = asyncio.create_task(turn.take(Rank.LOOK, lambda: heard.append("give way")))
    await asyncio.sleep(0)
    turn.give_back()
    urgent = asyncio.create_task(turn.take(Rank.START))
    await look
    await asyncio.sleep(0)
    assert heard == ["give way"]
    turn.give_back()
    await urgent


@pytest.mark.parametrize("handed", [False, True])
async def test_who_gives_up_does_not_keep_it(*, handed: bool) -> None:
    turn = PriorityLock()
    assert turn.take_now()
    task = asyncio.create_task(turn.take(Rank.LOOK))
    await asyncio.sleep(0)
    if handed:
        turn.give_back()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if not handed:
        turn.give_back()
    assert turn.take_now()


@pytest.mark.parametrize("ends", [False, True])
async def test_it_is_handed_on_when_what_was_killed_has_ended_or_will_not(*, ends: bool) -> None:
    turn = PriorityLock()
    ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    assert turn.take_now()
    turn.give_back_after(ended, within_s=60 if ends else 0.02)
    assert not turn.take_now(), "it may still run"
    if ends:
        ended.set_result(-9)
    async with asyncio.timeout(patience(5)):
        await turn.take(Rank.LOOK)
    if not ends:
        ended.set_result(-9)
        await asyncio.sleep(0)
        assert not turn.take_now(), "its late end takes nothing from who has it now"
