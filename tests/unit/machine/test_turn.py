"""Whose turn it is: one at a time, in order, and never lost by who gives up."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.machine.controller.turn import Turn


async def test_it_goes_to_who_came_first_and_nobody_overtakes() -> None:
    turn, order = Turn(), list[int]()

    async def use(number: int) -> None:
        await turn.take()
        order.append(number)
        await asyncio.sleep(0)
        turn.give_back()

    assert turn.take_now()
    tasks = [asyncio.create_task(use(number)) for number in range(3)]
    await asyncio.sleep(0)
    turn.give_back()
    assert not turn.take_now(), "it is the first one's already"
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]
    assert turn.take_now()


@pytest.mark.parametrize("handed", [False, True])
async def test_who_gives_up_does_not_keep_it(*, handed: bool) -> None:
    turn = Turn()
    assert turn.take_now()
    task = asyncio.create_task(turn.take())
    await asyncio.sleep(0)
    if handed:
        turn.give_back()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if not handed:
        turn.give_back()
    assert turn.take_now()
