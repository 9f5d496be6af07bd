"""Crashes, lost answers and failing disks at any point: nothing accepted is lost or doubled."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from holdfast.actors.definition import EffectCall
from holdfast.actors.rehearsal_worker import Back, look_back
from holdfast.actors.tick import full_digest
from holdfast.kernel.ids import derive
from holdfast.kernel.outcome import Ok, Outcome, Permanent, Retryable
from holdfast.sim.loop import SimClock
from holdfast.stores.memory.journal import MemoryStore
from tests.support.toys.lamp import (
    LAMP,
    BulbAdded,
    Cursed,
    Event,
    Made,
    NoteWritten,
    Policy,
    Smashed,
    SwitchedOff,
    SwitchedOn,
)
from tests.unit.actors.rig import Rig, arrive, lamp, play, until

NAMES = ("hall", "attic", "cellar")
POLICY = Policy(period_ms=60_000)


class DiskError(OSError):
    """The injected error of the disk, before or after a write."""


def some_event(chance: random.Random) -> Event:
    other = chance.choice([*NAMES, "nobody"])
    makers: list[Event] = [
        Made(chance.choice(["sun", "moon"])),
        BulbAdded(chance.choice("abc")),
        BulbAdded(chance.choice("abc")),
        SwitchedOn(),
        SwitchedOn(),
        SwitchedOff(),
        NoteWritten(f"lamp/{other}", chance.choice(["echo", "hello"])),
        Cursed(),
    ]
    if chance.random() < 0.002:
        return Smashed()
    return chance.choice(makers)


async def live_once(
    rig: Rig, chance: random.Random, said: dict[str, list[str]], serial: list[int]
) -> None:
    """Let one plane live until it is dropped at any point."""

    async def grid(_call: EffectCall) -> Outcome[Any]:
        await asyncio.sleep(chance.random() * 3)
        lost, never = Retryable("lost", "no line"), Permanent("no", "")
        outcomes: list[Outcome[Any]] = [Ok(None), Ok(None), lost, never]
        return chance.choice(outcomes)

    def faults(_point: str) -> None:
        if chance.random() < 0.03:
            raise DiskError("the disk has a bad day")

    rig.grid.default = grid
    await rig.engine.start()
    rig.raw._faults = faults
    ends = asyncio.get_running_loop().time() + chance.random() * 20

    async def customer() -> None:
        while asyncio.get_running_loop().time() < ends:
            serial[0] += 1
            name, key = chance.choice(NAMES), f"k{serial[0]}"
            try:
                await rig.engine.mailbox.ask(
                    lamp(name), arrive(some_event(chance), key), wait_ms=chance.choice([0, 500])
                )
            except DiskError:
                continue  # the caller got a failure; it may be written all the same
            said[name].append(key)
            await asyncio.sleep(chance.random() * 0.5)

    await asyncio.gather(*(customer() for _ in range(3)))


async def drop(before: set[asyncio.Task[Any]]) -> None:
    """End a plane as -9 would: no clean-up of its own gets to write."""
    mine = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task not in before and task is not mine]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("seed", range(25))
def test_whatever_happens_the_log_is_whole(seed: int) -> None:
    async def scenario(clock: SimClock) -> None:
        chance = random.Random(seed)
        store = MemoryStore()
        said: dict[str, list[str]] = {name: [] for name in NAMES}
        serial = [0]
        for _ in range(4):
            before = asyncio.all_tasks()
            rig = Rig(clock, store, policy=POLICY)
            await live_once(rig, chance, said, serial)
            await drop(before)
        async with Rig(clock, store, policy=POLICY) as rig:
            rig.grid.default = None
            await until(lambda: not store.waiting and len(rig.engine.dispatch) == 0)
            await asyncio.sleep(200)
            await until(lambda: not store.waiting and len(rig.engine.dispatch) == 0)
            held = [(await rig.state(name)).name for name in NAMES]
            assert len([name for name in held if name]) == len({name for name in held if name})
            for name in NAMES:
                await look_at(rig, name, said[name])
            assert rig.log.named("rules.fault") == []
            assert "actor.given_up" not in rig.log.at_least("critical")

    play(scenario, seed=seed)


async def look_at(rig: Rig, name: str, keys: list[str]) -> None:
    """Hold one lamp to what must be true of it however the planes ended."""
    log = rig.log_of(lamp(name), limit=100_000)
    assert [row.seq for row in log] == list(range(1, len(log) + 1))
    assert len({row.id for row in log}) == len(log)
    ids = {str(row.id) for row in log}
    assert [key for key in keys if derive(f"lamp/{name}", key) not in ids] == []
    replay = await look_back(rig.reader, {"lamp": rig.kind}, Back(actor=f"lamp/{name}"))
    assert replay.divergences == ()
    folded = await rig.engine.owner.state(lamp(name))
    assert folded is not None
    assert folded.digest == full_digest(LAMP, folded.state)
    assert all(bulb.status != "lighting" for bulb in folded.state.bulbs.values())
    statuses = {effect.status for effect in await rig.reader.effects(lamp(name), limit=10_000)}
    assert "waiting" not in statuses
