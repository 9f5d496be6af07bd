"""The virtual loop: time passes at once, one seed gives one order, and nothing hangs."""

import asyncio
import sys
from typing import Any

import pytest

from holdfast.sim.loop import DeadlockError, SimClock, SimLoop, run


async def _race(loop: SimLoop, clock: SimClock) -> tuple[str, ...]:
    seen: list[str] = []

    async def worker(name: str) -> None:
        for turn in range(3):
            seen.append(f"{name}{turn}@{clock.now_ms() % 100_000}")
            await asyncio.sleep(loop.chance.choice((0, 1, 60)))

    await asyncio.gather(*(worker(name) for name in "abc"))
    return tuple(seen)


def test_one_seed_gives_one_trace_and_seeds_differ() -> None:
    traces = {seed: run(seed, _race) for seed in range(8)}
    assert traces == {seed: run(seed, _race) for seed in range(8)}
    assert len(set(traces.values())) > 1


def test_a_day_passes_at_once_on_both_clocks() -> None:
    async def main(_loop: SimLoop, clock: SimClock) -> tuple[int, float]:
        before = clock.now_ms()
        await asyncio.sleep(86_400)
        clock.jump(-5_000)
        return clock.now_ms() - before, clock.steady_ms()

    assert run(1, main) == (86_400_000 - 5_000, 86_400_000.0)


def test_a_timeout_ends_a_wait_in_virtual_time() -> None:
    async def main(_loop: SimLoop, _clock: SimClock) -> bool:
        try:
            async with asyncio.timeout(3_600):
                await asyncio.Event().wait()
        except TimeoutError:
            return True
        return False

    assert run(2, main)


def test_waiting_for_nothing_is_found() -> None:
    async def main(_loop: SimLoop, _clock: SimClock) -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError):
        run(3, main)


def test_a_task_that_nobody_awaits_does_not_fail_unseen() -> None:
    async def fail() -> None:
        raise ValueError("lost")

    async def main(_loop: SimLoop, _clock: SimClock) -> None:
        task = asyncio.ensure_future(fail())
        await asyncio.sleep(1)
        del task

    with pytest.raises(ValueError, match="lost"):
        run(4, main)


def test_an_executor_is_the_loop_itself() -> None:
    async def main(loop: SimLoop, _clock: SimClock) -> int:
        return await loop.run_in_executor(None, lambda: 42)

    assert run(5, main) == 42


def test_asyncio_still_has_what_the_loop_reaches_into() -> None:
    loop = SimLoop(0)
    try:
        assert hasattr(loop, "_ready"), sys.version
        assert hasattr(loop, "_scheduled"), sys.version
        assert hasattr(loop, "_stopping"), sys.version
        assert hasattr(asyncio.BaseEventLoop, "_run_once"), sys.version
        timer: Any = loop.call_later(1, print)
        assert timer._when == timer.when()
        assert timer._scheduled
        assert not timer._cancelled
        assert hasattr(timer, "_run")
    finally:
        loop.close()
