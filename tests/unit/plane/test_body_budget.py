"""Room for large bodies is given in order, up to a number of bytes, and always comes back."""

from __future__ import annotations

import asyncio

from holdfast.plane.edge.budget import BodyBudget


class Senders:
    """Bodies that are held until they are told to end."""

    def __init__(self, budget: BodyBudget) -> None:
        self.budget = budget
        self.held: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(self, name: str, size: int, caller: str = "") -> None:
        self.ends[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._run(name, size, caller or name))
        await self.settle()

    async def _run(self, name: str, size: int, caller: str) -> None:
        async with self.budget.hold(caller, size):
            self.held.append(name)
            try:
                await self.ends[name].wait()
            finally:
                self.held.remove(name)

    async def end(self, name: str) -> None:
        self.ends[name].set()
        await self.tasks[name]
        await self.settle()

    async def give_up(self, *names: str) -> None:
        for name in names:
            self.tasks[name].cancel()
        await asyncio.gather(*(self.tasks[name] for name in names), return_exceptions=True)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)


async def test_who_finds_no_room_waits_in_order() -> None:
    senders = Senders(BodyBudget(total=10, each=10))
    for name, size in (("a", 6), ("b", 6), ("c", 1)):
        await senders.begin(name, size)
    assert senders.held == ["a"], "a small one does not pass the one before it"
    await senders.end("a")
    assert senders.held == ["b", "c"]
    await senders.begin("d", 99)
    assert senders.held == ["b", "c"]
    await senders.end("b")
    await senders.end("c")
    assert senders.held == ["d"], "more than all there is takes all"
    await senders.end("d")


async def test_one_caller_holds_no_more_than_its_own_room() -> None:
    senders = Senders(BodyBudget(total=10, each=4))
    for name in ("a1", "a2", "a3"):
        await senders.begin(name, 3, caller="a")
    await senders.begin("b1", 3)
    assert senders.held == ["a1", "b1"]
    for name in ("a1", "a2", "a3", "b1"):
        await senders.end(name)
    assert not senders.budget._callers, "of who holds nothing, nothing is kept"


async def test_what_is_given_up_comes_back() -> None:
    senders = Senders(BodyBudget(total=10, each=10))
    for name in ("a", "b", "c", "d"):
        await senders.begin(name, 8)
    await senders.give_up("b", "c")  # while they wait
    await senders.give_up("a")  # while it holds
    assert senders.held == ["d"]
    await senders.begin("e", 8)
    # Its turn comes in the moment in which it is given up.
    senders.ends["d"].set()
    await senders.tasks["d"]
    await senders.give_up("e")
    await senders.begin("f", 10)
    assert senders.held == ["f"]
    await senders.end("f")
