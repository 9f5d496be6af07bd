"""One command at a time in each machine, decisions before lists, and nobody left waiting."""

from __future__ import annotations

import asyncio

import pytest

from holdfast.pairing.turns import Turns
from tests.unit.pairing.rig import place

HERE = place()


class Bench:
    """Callers that take a turn each, and end it when they are told to."""

    def __init__(self) -> None:
        self.turns = Turns()
        self.began: list[str] = []
        self.running: set[str] = set()
        self.most = 0
        self._ends: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def _take(self, name: str, *, decides: bool, machine: str) -> None:
        async with self.turns.turn(place(machine_id=machine), decides=decides):
            self.began.append(name)
            self.running.add(name)
            self.most = max(self.most, len(self.running))
            try:
                await self._ends[name].wait()
            finally:
                self.running.discard(name)

    async def comes(self, name: str, *, decides: bool = False, machine: str = "m1") -> None:
        self._ends[name] = asyncio.Event()
        taking = self._take(name, decides=decides, machine=machine)
        self._tasks[name] = asyncio.ensure_future(taking)
        await settle()

    async def ends(self, name: str) -> None:
        self._ends[name].set()
        await self._tasks[name]
        await settle()

    async def is_cancelled(self, name: str) -> None:
        self._tasks[name].cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._tasks[name]
        await settle()


async def settle() -> None:
    for _ in range(8):
        await asyncio.sleep(0)


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_who_comes_while_a_turn_is_handed_on_waits_like_anybody(bench: Bench) -> None:
    await bench.comes("first")
    await bench.comes("second")
    await bench.ends("first")
    await bench.comes("third")
    assert bench.began == ["first", "second"]
    await bench.ends("second")
    await bench.ends("third")
    assert (bench.began, bench.most) == (["first", "second", "third"], 1)


async def test_a_decision_goes_before_lists_that_wait_and_after_decisions(bench: Bench) -> None:
    await bench.comes("list 1")
    await bench.comes("list 2")
    for name in ("decision 1", "decision 2"):
        await bench.comes(name, decides=True)
    for name in ("list 1", "decision 1", "decision 2", "list 2"):
        await bench.ends(name)
    assert bench.began == ["list 1", "decision 1", "decision 2", "list 2"]
    assert bench.most == 1


async def test_machines_do_not_wait_for_each_other(bench: Bench) -> None:
    await bench.comes("here")
    await bench.comes("there", machine="m2")
    assert bench.running == {"here", "there"}
    await bench.ends("here")
    await bench.ends("there")


@pytest.mark.parametrize("leaves", ["runs", "waits"])
async def test_who_is_cancelled_gives_its_turn_back(bench: Bench, leaves: str) -> None:
    for name in ("runs", "waits", "last"):
        await bench.comes(name)
    await bench.is_cancelled(leaves)
    await bench.ends({"runs": "waits", "waits": "runs"}[leaves])
    assert bench.began[-1] == "last"
    await bench.ends("last")
    await bench.comes("new")
    assert (bench.running, bench.most) == ({"new"}, 1)
    await bench.ends("new")


async def test_a_turn_handed_to_who_is_cancelled_in_the_same_moment_is_handed_on() -> None:
    turns, began = Turns(), asyncio.Event()

    async def take() -> None:
        async with turns.turn(HERE, decides=False):
            await end.wait()

    async def begin() -> None:
        async with turns.turn(HERE, decides=False):
            began.set()

    end = asyncio.Event()
    first = asyncio.ensure_future(take())
    await settle()
    second = asyncio.ensure_future(take())
    await settle()
    third = asyncio.ensure_future(begin())
    await settle()
    end.set()
    first.add_done_callback(lambda _: second.cancel())
    await first
    await asyncio.gather(second, third, return_exceptions=True)
    assert began.is_set()


async def test_a_command_that_fails_ends_its_turn() -> None:
    turns = Turns()
    for _ in range(2):
        with pytest.raises(LookupError):
            async with turns.turn(HERE, decides=True):
                raise LookupError
