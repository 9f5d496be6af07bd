"""The asynchronous Brain: the same results, and a loop that is never blocked."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from holdfast.sdk import AsyncBrain
from tests.integration.outbox.intake import HttpIntake


@asynccontextmanager
async def turning() -> AsyncIterator[list[float]]:
    """Run the loop as fast as possible, and return the longest gap between two iterations."""
    loop = asyncio.get_running_loop()
    gaps = [0.0]

    async def step() -> None:
        last = loop.time()
        while True:
            await asyncio.sleep(0)
            now = loop.time()
            gaps[0] = max(gaps[0], now - last)
            last = now

    task = asyncio.create_task(step())
    yield gaps
    task.cancel()


def test_the_same_calls_awaited(tmp_path: Path, plane: HttpIntake) -> None:
    async def live() -> None:
        options = {"url": plane.url, "api_key": "k", "durability": "process"}
        async with AsyncBrain(tmp_path / "brain", **options) as brain:
            both = await asyncio.gather(
                *(
                    brain.correct(f"We utilize {n}a", f"We use {n}a", session=str(n))
                    for n in range(4)
                )
            )
            assert [made.seen for made in both] == [1] * 4
            assert "Write “use”" in await brain.rules_for("use")
            assert (await brain.record("NOTE", {"a": 1})).persisted
            [lesson] = await brain.lessons()
            assert (await brain.reject(lesson.lesson_id)).state == "KILLED"
            assert (await brain.approve(lesson.lesson_id)).state == "RULE"
            assert (await brain.flush(10)).pending == 0
            assert (await brain.end_session("1")).corrections == 1
            assert (await brain.sync(deadline_s=10)).exit_code == 0
            assert await brain.dead_letters() == []
            assert len(await brain.tail()) >= 6
            with pytest.raises(ValueError, match="nothing was corrected"):
                await brain.correct("same", "same")
        assert (await brain.close()).pending == 0
        assert {made.event_id for made in both} <= plane.stored.keys()

    asyncio.run(live())


def test_a_held_folder_and_a_silent_plane_do_not_stop_the_loop(tmp_path: Path) -> None:
    async def live() -> None:
        async with AsyncBrain(
            tmp_path, url="http://127.0.0.1:9", api_key="k", durability="process"
        ) as brain:
            await brain.correct("first", "one")
            lock = os.open(tmp_path / "outbox.lock", os.O_RDWR)
            fcntl.flock(lock, fcntl.LOCK_EX)
            async with turning() as gaps:
                waiting = asyncio.create_task(brain.correct("second", "two"))
                flushing = asyncio.create_task(brain.flush(0.5))
                done, _ = await asyncio.wait({waiting}, timeout=0.3)
                # The folder is locked: the call waits, and the loop runs meanwhile.
                assert not done
                os.close(lock)
                assert (await waiting).persisted
                assert (await flushing).pending >= 1
            # The call waited for three tenths of a second; no iteration of the loop did.
            assert gaps[0] < 0.25

    asyncio.run(live())
