"""Work once a day, however often the plane is started; and what the engine forgets and finds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec

from holdfast.kernel.clock import DAY_MS, SystemClock
from holdfast.plane.wiring.daily import DAILY_FILE, daily
from holdfast.plane.wiring.examine import examine_actors, forget_actors
from holdfast.plane.wiring.part import every
from holdfast.sim.loop import SimClock, SimLoop, run
from tests.support.logs import Lines
from tests.support.patience import patience
from tests.support.toys.lamp import BulbAdded, Made, Smashed, SwitchedOn
from tests.unit.actors.rig import Rig, lamp, play, until

HOUR_S = 3_600


class Counted:
    """Work that counts how often it was done, and may fail."""

    def __init__(self) -> None:
        self.done = 0
        self.failing = False

    async def work(self) -> None:
        if self.failing:
            raise OSError("no room")
        self.done += 1


async def live(counted: Counted, home: Path, clock: SimClock, hours: float) -> Lines:
    """Run a plane's job for some hours, then stop the plane."""
    log = Lines()
    job = daily("prune", counted.work, home, clock, log)
    task = asyncio.ensure_future(job.work())
    await asyncio.sleep(hours * HOUR_S)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return log


def test_it_is_done_soon_after_the_first_start_and_once_a_day(tmp_path: Path) -> None:
    async def main(_loop: SimLoop, clock: SimClock) -> None:
        counted = Counted()
        await live(counted, tmp_path, clock, 0.1)
        assert counted.done == 1
        for _ in range(10):  # a plane that is started each two hours
            await live(counted, tmp_path, clock, 2)
        assert counted.done == 1
        for _ in range(4):
            await live(counted, tmp_path, clock, 2)
        assert counted.done == 2
        await live(counted, tmp_path, clock, 24 * 3)
        assert 4 <= counted.done <= 5

    run(1, main)


def test_a_failure_is_said_and_tried_again_within_the_hour(tmp_path: Path) -> None:
    async def main(_loop: SimLoop, clock: SimClock) -> None:
        counted = Counted()
        counted.failing = True
        log = await live(counted, tmp_path, clock, 1.5)
        assert [line["job"] for line in log.named("housekeeping.failed")] == ["prune"] * 2
        counted.failing = False
        await live(counted, tmp_path, clock, 0.1)
        assert counted.done == 1

    run(1, main)


def test_what_is_kept_of_the_last_time_may_be_damaged_or_from_the_future(tmp_path: Path) -> None:
    async def main(_loop: SimLoop, clock: SimClock) -> None:
        counted = Counted()
        (tmp_path / DAILY_FILE).write_bytes(b"{")
        await live(counted, tmp_path, clock, 0.1)
        clock.jump(-10 * DAY_MS)
        await live(counted, tmp_path, clock, 0.1)
        assert counted.done == 2

    run(1, main)


async def test_jobs_that_are_done_at_the_same_moment_are_all_kept(tmp_path: Path) -> None:
    log, counted, clock = Lines(), Counted(), SystemClock()
    names = {f"job-{number}" for number in range(24)}
    jobs = [daily(name, counted.work, tmp_path, clock, log, first_s=0) for name in sorted(names)]
    tasks = [asyncio.ensure_future(job.work()) for job in jobs]
    try:
        async with asyncio.timeout(patience(20)):
            while counted.done < len(names) or not _settled(tmp_path, log, names):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert log.named("housekeeping.failed") == []


def _settled(home: Path, log: Lines, names: set[str]) -> bool:
    """Return whether the file has all of them, or one has failed."""
    file = home / DAILY_FILE
    kept = msgspec.json.decode(file.read_bytes(), type=dict[str, int]) if file.exists() else {}
    return set(kept) == names or bool(log.lines)


def test_what_is_done_each_hour_is_done_within_a_minute_of_the_start() -> None:
    async def main(_loop: SimLoop, _clock: SimClock) -> None:
        counted = Counted()
        task = asyncio.ensure_future(every("purge", counted.work, HOUR_S, Lines()).work())
        await asyncio.sleep(61)
        assert counted.done == 1
        await asyncio.sleep(HOUR_S)
        assert counted.done == 2
        task.cancel()

    run(1, main)


def test_an_actor_that_is_over_and_old_is_forgotten_and_may_begin_anew() -> None:
    async def story(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("hall", Made("hall"), BulbAdded("a"), Smashed())
            await rig.say("attic", Made("attic"))
            kinds = rig.engine.kinds
            assert await forget_actors(rig.raw, kinds, clock.now_ms() - DAY_MS) == 0
            await asyncio.sleep(60)
            assert await forget_actors(rig.raw, kinds, clock.now_ms()) == 1
            assert set(rig.store.actors) == {lamp("attic")}
            assert await rig.say("hall", Made("hall"), BulbAdded("a")) == ["applied"] * 2
            assert [row.seq for row in rig.log_of(lamp("hall"))] == [1, 2]

    play(story)


def test_a_damaged_actor_that_nothing_happens_to_is_found() -> None:
    async def story(clock: SimClock) -> None:
        rig = Rig(clock)
        async with rig:
            await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())
            await rig.say("attic", Made("attic"))
            await until(lambda: len(rig.engine.dispatch) == 0)
        rig.store.actors[lamp("hall")].state = b"\x00"
        async with Rig(clock, rig.store) as following:
            owner, kinds = following.engine.owner, following.engine.kinds
            assert await examine_actors(following.raw, kinds, owner.wake, following.log) == 1
            await until(lambda: lamp("hall") in owner.rebuilt)
            assert await examine_actors(following.raw, kinds, owner.wake, following.log) == 0

    play(story)
