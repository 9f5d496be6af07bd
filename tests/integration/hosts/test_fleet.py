"""Attempts on an instance: clones go there and back, and who does not answer is not gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.outcome import Conflict, Ok, Retryable
from holdfast.world.hosts.port import CANNOT_START, UNREACHABLE, Exited, Running, Seen, Unknown
from tests.integration.hosts.fleet_bench import FleetBench
from tests.support.git_workspaces import git
from tests.support.host_benches import ended, released
from tests.support.patience import patience

WORK = (
    "echo more > b.txt; git add -A; git -c user.name=a -c user.email=a@b commit -qm b; echo made; "
)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[FleetBench]:
    made = FleetBench(SystemClock(), tmp_path)
    await made.open()
    yield made
    await made.close()


async def reported(bench: FleetBench) -> dict[str, Exited]:
    async with asyncio.timeout(patience(20)):
        while not (found := await ended(bench.host)):  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.05)
    return found


async def wrote(bench: FleetBench, text: str) -> None:
    async with asyncio.timeout(patience(20)):
        while True:
            outcome = await bench.host.output("town", "a1", 65_536)
            if isinstance(outcome, Ok) and text in outcome.value.decode():
                return
            await asyncio.sleep(0.05)


async def look(bench: FleetBench) -> Seen:
    outcome = await bench.host.look("town", "a1")
    assert isinstance(outcome, Ok), outcome
    return outcome.value


async def test_what_is_committed_there_comes_back(bench: FleetBench) -> None:
    launch = bench.launch("a1", script=f"{WORK} sleep 600")
    assert await bench.host.start(launch) == Ok(None)
    await wrote(bench, "made")
    assert await bench.host.gather("town", "a1") == Ok(None)
    folder = Path(launch.folder)
    assert git(folder, "show", f"{launch.branch}:b.txt") == "more"
    assert git(folder, "status", "--porcelain") == ""
    assert isinstance(await look(bench), Running)
    assert git(bench.clone(launch), "config", "--local", "user.email") == "ada@town.invalid"


async def test_the_end_is_passed_on_once_by_whichever_plane_is_there(bench: FleetBench) -> None:
    launch = bench.launch("a1", script=f"{WORK} exit 4")
    await bench.host.start(launch)
    bench.fleet = bench.made()
    await bench.fleet.open()
    assert await bench.host.start(launch) == Ok(None)
    assert await reported(bench) == {"a1": Exited(how="exited", code=4)}
    assert git(Path(launch.folder), "show", "HEAD:b.txt") == "more"
    await bench.host.acknowledge("town", "a1")
    bench.fleet = bench.made()
    await bench.fleet.open()
    assert await ended(bench.host) == {}


async def test_an_agent_that_dies_takes_its_attempt_with_it(bench: FleetBench) -> None:
    await bench.host.start(bench.launch("a1"))
    await wrote(bench, "up")
    assert bench.controllers.machine is not None
    await bench.controllers.machine.fault("crash")
    assert await reported(bench) == {"a1": Exited(how="exited", code=1)}


async def test_a_controller_that_went_away_is_not_taken_for_an_end(bench: FleetBench) -> None:
    await bench.host.start(bench.launch("a1"))
    await wrote(bench, "up")
    await bench.stack.aclose()
    outcome = await bench.host.look("town", "a1")
    assert isinstance(outcome, Retryable)
    assert outcome.code == UNREACHABLE
    assert await ended(bench.host) == {}
    refused = await bench.host.start(bench.launch("a2", agent="bob"))
    assert isinstance(refused, Conflict)
    assert refused.code == UNREACHABLE
    await bench.open()
    found = await reported(bench)
    assert found == {"a1": Exited(how="signalled", code=15, because="asked")}


async def test_a_stop_is_made_when_the_machine_that_it_did_not_reach_is_back(
    bench: FleetBench,
) -> None:
    assert await bench.host.start(bench.launch("a1")) == Ok(None)
    await wrote(bench, "up")
    bench.controllers.machine_is_gone = True
    assert isinstance(await bench.host.stop("town", "ada", 1, 0), Retryable)
    bench.controllers.machine_is_gone = False
    how: Seen = Unknown()
    async with asyncio.timeout(patience(20)):
        while not isinstance(how, Exited):
            await asyncio.sleep(0.05)
            if isinstance(found := await bench.host.look("town", "a1"), Ok):
                how = found.value
    assert how.because == "asked"


async def test_attempts_of_an_instance_end_with_its_deletion_and_not_before(
    bench: FleetBench,
) -> None:
    for attempt, agent in (("a1", "ada"), ("b1", "bob")):
        assert await bench.host.start(bench.launch(attempt, agent=agent)) == Ok(None)
    bench.controllers.machine_is_gone = True
    assert isinstance(await bench.host.look("town", "a1"), Retryable)
    assert isinstance(await bench.host.stop("town", "bob", 1, 0), Retryable)
    assert await bench.host.prune(2**62, released) == Ok(())
    bench.controllers.is_deleted = True
    assert await reported(bench) == {"a1": Exited(how="gone")}  # the other was stopped
    await bench.host.acknowledge("town", "a1")
    async with asyncio.timeout(patience(20)):
        left = {"a1", "b1"}
        while left:
            await ended(bench.host)
            gone = await bench.host.prune(2**62, released)
            assert isinstance(gone, Ok)
            left -= {one.attempt for one in gone.value}
            await asyncio.sleep(0.05)
    bench.controllers.is_deleted = bench.controllers.machine_is_gone = False


async def test_a_lost_answer_to_a_start_starts_nothing_twice(bench: FleetBench) -> None:
    launch = bench.launch("a1")
    bench.controllers.lose = "attempts.start"
    lost = await bench.host.start(launch)
    assert isinstance(lost, Retryable)
    assert await look(bench) == Unknown()
    bench.controllers.lose = ""
    assert await bench.host.start(launch) == Ok(None)
    assert isinstance(await look(bench), Running)
    assert bench.controllers.started == 1


async def test_what_could_not_be_carried_over_may_be_tried_again(bench: FleetBench) -> None:
    launch = bench.launch("a1")
    refused = await bench.host.start(replace(launch, branch="no/such"))
    assert isinstance(refused, Conflict)
    assert refused.code == CANNOT_START
    assert await bench.host.start(launch) == Ok(None)
    assert isinstance(await look(bench), Running)


async def test_an_agent_that_ruins_its_clone_still_ends(bench: FleetBench) -> None:
    await bench.host.start(bench.launch("a1", script="rm -rf .git; exit 6"))
    assert await reported(bench) == {"a1": Exited(how="exited", code=6)}
