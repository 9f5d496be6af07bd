"""The writing thread: nothing that goes wrong in it ends it."""

from __future__ import annotations

import asyncio

from holdfast.stores.sqlite.writer import GroupWriter, Job
from tests.support.patience import patience


async def test_a_fault_while_tidying_up_leaves_the_thread_at_work() -> None:
    faults = [OSError("no room to tidy up")] * 2

    def tidy(_idle: bool) -> None:  # noqa: FBT001  told by the thread, no switch
        if faults:
            raise faults.pop()

    def apply(jobs: list[Job]) -> None:
        for job in jobs:
            job.result = "written"

    writer: GroupWriter[Job] = GroupWriter(
        name="test-write", apply=apply, tidy=tidy, finish=lambda: None
    )
    async with asyncio.timeout(patience(10)):
        assert [await writer.submit(Job()) for _ in range(3)] == ["written"] * 3
        await writer.close()
    assert faults == []
