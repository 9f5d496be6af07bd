"""Running the phases: in order, each within its deadline, again from the failed one."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.machine.controller.bootstrap import PHASES, Bootstrap, Phase, PhaseError
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.lifecycle import Lifecycle
from holdfast.machine.controller.log import Log
from tests.support.patience import patience

STEPS = (
    Phase(name="one", shown="bootstrap", critical=True, deadline_s=5, again_s=0.01),
    Phase(name="two", shown="two", deadline_s=5),
    Phase(name="three", shown="three", deadline_s=0.02),
)


@pytest.fixture
def log() -> Iterator[Log]:
    descriptor = os.open(os.devnull, os.O_WRONLY)
    yield Log(ManualClock(0), descriptor)
    os.close(descriptor)


class Start:
    """Phases that end as configured."""

    def __init__(self, log: Log, phases: tuple[Phase, ...] = STEPS) -> None:
        self.lifecycle = Lifecycle()
        self.seen: list[tuple[str, str]] = []
        self.does: dict[str, Callable[[], Awaitable[None]]] = {}
        self.bootstrap = Bootstrap(
            phases, {phase.name: self.make(phase.name) for phase in phases}, self.lifecycle, log
        )

    def make(self, name: str) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            self.seen.append((name, self.lifecycle.phase))
            if name in self.does:
                await self.does[name]()

        return work

    def health(self) -> dict[str, object]:
        return self.lifecycle.health("/_kilo/health")


async def state(start: Start, wanted: str) -> None:
    """Wait until the lifecycle has come to a phase or a stage."""
    moved = asyncio.Event()
    start.lifecycle.listen(moved.set)
    async with asyncio.timeout(patience(10)):
        while wanted not in {start.lifecycle.phase, start.lifecycle.stage}:
            await moved.wait()
            moved.clear()


async def fail() -> None:
    raise PhaseError("hunter2 is wrong")


async def hang() -> None:
    await asyncio.Event().wait()


async def refused(start: Start) -> str:
    with pytest.raises(RefusedError) as caught:
        start.bootstrap.retry()
    assert caught.value.status == 409
    return caught.value.code


async def test_they_are_gone_through_in_order_and_told(log: Log) -> None:
    start = Start(log)
    await start.bootstrap.run()
    assert start.seen == [("one", "one"), ("two", "two"), ("three", "three")]
    assert start.health() == {"status": "ok", "state": "ready"}
    assert await refused(start) == "bootstrap_not_failed"


async def test_a_failure_ends_it_and_a_retry_goes_on_from_there(log: Log) -> None:
    start = Start(log)
    start.does["two"] = fail
    await start.bootstrap.run()
    assert [name for name, _ in start.seen] == ["one", "two"]
    # What health says is fixed: the reason may hold a secret.
    assert start.health()["error"] == "Startup failed during two"
    del start.does["two"]
    assert start.bootstrap.retry().name == "two"
    assert await refused(start) == "bootstrap_running"
    await start.bootstrap._running  # type: ignore[misc]
    assert [name for name, _ in start.seen] == ["one", "two", "two", "three"]
    assert start.health()["state"] == "ready"


async def test_a_phase_that_hangs_is_given_up(log: Log) -> None:
    start = Start(log)
    start.does["three"] = hang
    await start.bootstrap.run()
    assert start.health()["error"] == "Startup failed during three"


async def test_the_steps_tell_what_went_how_without_the_reason(log: Log) -> None:
    start = Start(log)
    start.does["three"] = hang
    await start.bootstrap.run()
    told = start.lifecycle.steps.snapshot()
    assert [step.state for step in told] == ["done", "done", "failed"]
    assert told[2].reason == "it was not through within 0.02 s"
    start.bootstrap.note_ready()
    assert [s.state for s in start.lifecycle.steps.snapshot()] == ["done", "done", "repaired"]
    other = Start(log)
    other.does["two"] = fail
    await other.bootstrap.run()
    states = [(step.state, "hunter2" in step.reason) for step in other.lifecycle.steps.snapshot()]
    assert states == [("done", False), ("failed", False), ("ahead", False)]


async def test_a_critical_one_is_tried_again_by_itself(log: Log) -> None:
    start = Start(log)
    tries = []

    async def third_time() -> None:
        tries.append(start.health())
        if len(tries) < 3:
            await fail()

    start.does["one"] = third_time
    await start.bootstrap.run()
    assert start.health()["state"] == "degraded"
    await state(start, "ready")
    assert len(tries) == 3


async def test_an_agent_that_is_ready_anyway_ends_the_degradation(log: Log) -> None:
    start = Start(log)
    start.does["two"] = fail
    await start.bootstrap.run()
    start.bootstrap.note_ready()
    assert start.health() == {"status": "ok", "state": "ready"}
    assert start.bootstrap.failed is None


async def test_a_critical_failure_is_not_made_good_by_an_agent(log: Log) -> None:
    start = Start(log, (Phase(name="one", shown="bootstrap", critical=True, deadline_s=5),))
    start.does["one"] = fail
    await start.bootstrap.run()
    start.bootstrap.note_ready()
    assert start.health()["state"] == "degraded"


async def test_nothing_begins_once_the_end_has_begun(log: Log) -> None:
    start = Start(log)
    start.does["one"] = fail
    start.lifecycle.close()
    await start.bootstrap.run()
    assert await refused(start) == "shutting_down"
    await start.bootstrap.close()
    assert start.bootstrap._timer is None


async def test_the_end_takes_a_running_phase_along(log: Log) -> None:
    start = Start(log)
    start.does["two"] = hang
    running = asyncio.create_task(start.bootstrap.run())
    await state(start, "two")
    await start.bootstrap.close()
    await asyncio.gather(running, return_exceptions=True)
    assert start.seen[-1] == ("two", "two")


def test_the_table_is_the_contracts_order() -> None:
    assert [phase.name for phase in PHASES] == [
        "decrypting", "directories", "runtime-config", "upgrade", "onboard", "device-pairing",
        "doctor", "gateway-start",
    ]  # fmt: skip
    assert all(p.deadline_s <= 180 for p in PHASES if p.name != "upgrade"), "a copy may be large"
    assert [p.name for p in PHASES if p.critical] == ["decrypting", "directories", "runtime-config"]
    assert PHASES[0].again_s is None, "the key is forgotten, so it would only fail again"
