"""The host of local processes: confinement, limits, and planes that come and go."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.outcome import Ok, Permanent
from holdfast.world.hosts.port import UNCONFINED, Exited, Launch, Running, Unknown
from holdfast.world.hosts.records import Record, record_id
from holdfast.world.hosts.steps import Limits
from holdfast.world.processes.table import is_alive
from tests.support.confinement import need
from tests.support.host_benches import ProcessBench, ended
from tests.support.patience import patience, until
from tests.support.planes import processes_of


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[ProcessBench]:
    made = ProcessBench(SystemClock(), tmp_path)
    await made.open()
    yield made
    await made.close()


async def seen(bench: ProcessBench) -> dict[str, Exited]:
    async with asyncio.timeout(patience(20)):
        while not (found := await ended(bench.host)):  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.02)
    return found


async def output(bench: ProcessBench, attempt: str, wanted: str = "") -> str:
    """Return what an attempt wrote, once `wanted` is in it; fail at once where it ended without."""
    async with asyncio.timeout(patience(20)):
        while True:
            seen = await bench.host.look("town", attempt)
            outcome = await bench.host.output("town", attempt, 1_048_576)
            assert isinstance(outcome, Ok), outcome
            if wanted in (text := outcome.value.decode()):
                return text
            assert isinstance(seen, Ok), seen
            assert isinstance(seen.value, Running), (seen, text)
            await asyncio.sleep(0.02)


def record(bench: ProcessBench, launch: Launch) -> Record:
    return bench.processes._ledger._records[record_id(launch.town, launch.attempt)]


async def run(
    bench: ProcessBench, script: str, attempt: str = "a1", epoch: int = 1
) -> tuple[Exited, str]:
    """Run a script to its end; return how it ended and what it wrote."""
    launch = bench.launch(attempt, epoch=epoch, script=script)
    assert await bench.host.start(launch) == Ok(None)
    how = (await seen(bench))[attempt]
    assert await bench.host.acknowledge("town", attempt) == Ok(None)
    return how, await output(bench, attempt)


async def test_a_drain_lets_a_program_say_goodbye(bench: ProcessBench) -> None:
    launch = bench.launch("a1")
    assert await bench.host.start(launch) == Ok(None)
    await output(bench, "a1", "up")
    assert await bench.host.stop("town", "ada", 1, patience(20)) == Ok(None)
    assert await bench.host.look("town", "a1") == Ok(Exited(how="exited", code=9, because="asked"))
    assert "drained" in await output(bench, "a1")


async def test_a_copy_of_a_home_ends_nothing_of_the_first(
    bench: ProcessBench, tmp_path: Path
) -> None:
    """Two planes of one home's copies have the same towns and attempts."""
    assert await bench.host.start(bench.launch("a1")) == Ok(None)
    await output(bench, "a1", "up")
    other = ProcessBench(SystemClock(), tmp_path / "copy")
    await other.open()
    try:
        assert await other.host.start(other.launch("a1", script="exit 5")) == Ok(None)
        assert (await seen(other))["a1"].code == 5
    finally:
        await other.close()
    first = await bench.host.look("town", "a1")
    assert isinstance(first, Ok)
    assert isinstance(first.value, Running), first


async def test_who_does_not_listen_is_killed_with_all_its_processes(bench: ProcessBench) -> None:
    script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; sleep 600' & echo up; sleep 600"
    launch = bench.launch("a1", script=script)
    assert await bench.host.start(launch) == Ok(None)
    await output(bench, "a1", "up")
    leader = record(bench, launch).leader
    assert await bench.host.stop("town", "ada", 1, 0.1) == Ok(None)
    outcome = await bench.host.look("town", "a1")
    assert isinstance(outcome, Ok)
    assert isinstance(outcome.value, Exited)
    assert outcome.value.how in {"signalled", "gone"}  # what records ends is killed last
    assert not is_alive(leader)
    assert not processes_of(bench.folder / "home")


async def test_an_exit_while_no_plane_runs_is_known_to_the_next(bench: ProcessBench) -> None:
    launch = bench.launch("a1")
    assert await bench.host.start(launch) == Ok(None)
    await output(bench, "a1", "up")
    await bench.processes.close()
    bench.end(launch, 5)
    leader = record(bench, launch).leader
    await until(lambda: not is_alive(leader))
    bench.processes = bench.made()
    await bench.open()
    assert await ended(bench.host) == {"a1": Exited(how="exited", code=5)}
    await bench.host.acknowledge("town", "a1")
    await bench.restart()
    assert await ended(bench.host) == {}
    assert await bench.host.look("town", "a1") == Ok(Exited(how="exited", code=5))


async def test_a_living_attempt_is_adopted_and_not_started_again(bench: ProcessBench) -> None:
    launch = bench.launch("a1")
    assert await bench.host.start(launch) == Ok(None)
    leader = record(bench, launch).leader
    await bench.restart()
    assert await bench.host.start(launch) == Ok(None)
    assert record(bench, launch).leader == leader
    bench.end(launch, 0)
    assert await seen(bench) == {"a1": Exited(how="exited", code=0)}


async def test_a_stop_that_a_plane_left_is_gone_on_with(bench: ProcessBench) -> None:
    launch = bench.launch("a1", script="trap '' TERM; echo up; while :; do sleep 0.1; done")
    assert await bench.host.start(launch) == Ok(None)
    await output(bench, "a1", "up")
    noted = record(bench, launch)
    bench.processes._steps.ask(noted, drain_s=0)
    await bench.restart()
    await until(lambda: not is_alive(noted.leader))
    assert await ended(bench.host) == {}


async def test_an_intent_without_a_process_may_still_become_one(bench: ProcessBench) -> None:
    launch = bench.launch("a1")
    bench.processes._ledger._intend(launch)
    await bench.restart()
    assert await bench.host.look("town", "a1") == Ok(Unknown())
    assert await ended(bench.host) == {}
    assert await bench.host.start(launch) == Ok(None)
    assert record(bench, launch).leader is not None


async def test_who_is_killed_with_what_records_ends_is_gone(bench: ProcessBench) -> None:
    launch = bench.launch("a1")
    assert await bench.host.start(launch) == Ok(None)
    await output(bench, "a1", "up")
    leader = record(bench, launch).leader
    assert leader is not None
    os.kill(leader.pid, signal.SIGKILL)
    assert await seen(bench) == {"a1": Exited(how="gone")}
    assert not processes_of(bench.folder / "home")


async def test_a_program_sees_its_workspace_and_nothing_of_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("bubblewrap")
    monkeypatch.setenv("HOLDFAST_TEST_SECRET", "s3cret")
    bench = ProcessBench(SystemClock(), tmp_path)  # a host takes its environment when it is made
    await bench.open()
    (tmp_path / "home" / "agents" / "secret.json").write_text("hidden")
    script = (
        f"cat {tmp_path}/home/agents/secret.json; ls {tmp_path}/home; "
        'touch here && echo wrote; cat "$HOLDFAST_PROMPT_FILE"; echo; '
        'touch "$HOME/x" "$TMPDIR/y" && echo own; kill -9 1; env; exit 0'
    )
    how, text = await run(bench, script)
    await bench.close()
    assert how == Exited(how="exited", code=0)
    assert "hidden" not in text
    assert "s3cret" not in text
    assert "CONFINE_ORDER" not in text
    assert {"wrote", "do it", "own", "HOLDFAST_ATTEMPT=a1"} <= set(text.splitlines())


async def test_installed_programs_and_named_variables_are_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("bubblewrap")
    monkeypatch.setenv("MODEL_KEY", "sk-1")
    installed, modules = tmp_path / "home" / "claw-1", tmp_path / "home" / "claw" / "node_modules"
    bench = ProcessBench(
        SystemClock(), tmp_path, inherit=("MODEL_KEY", "ABSENT"), modules=(str(modules),)
    )
    await bench.open()
    program = installed / "node_modules" / ".bin" / "claw"
    program.parent.mkdir(parents=True)
    program.write_text('#!/bin/sh\necho "it has $MODEL_KEY"\n')
    program.chmod(0o755)
    modules.parent.symlink_to(installed.name)  # installed while the plane runs
    how, text = await run(bench, "claw; ls ..; env")
    bench.whose = ("another", "polecat")
    _, theirs = await run(bench, "env", "a2", 2)
    await bench.close()
    assert "sk-1" not in theirs
    assert how == Exited(how="exited", code=0)
    assert "it has sk-1" in text.splitlines()
    assert "ABSENT" not in text


async def test_one_that_lingers_ends_by_itself_before_a_later_one_starts(
    bench: ProcessBench,
) -> None:
    first = replace(bench.launch("a1", script="sleep 0.3; echo told"), linger_s=patience(20))
    assert await bench.host.start(first) == Ok(None)
    later = bench.launch("a2", epoch=2, script="exit 3")
    assert await bench.host.start(later) == Ok(None)
    assert await output(bench, "a1", "told") == "told\n"
    assert (await seen(bench))["a1"] == Exited(how="exited", code=0)


async def test_one_that_lingers_for_too_long_is_ended(bench: ProcessBench) -> None:
    assert await bench.host.start(replace(bench.launch("a1"), linger_s=0.1)) == Ok(None)
    await output(bench, "a1", "up")
    assert await bench.host.start(bench.launch("a2", epoch=2, script="exit 3")) == Ok(None)
    looked = await bench.host.look("town", "a1")
    assert isinstance(looked, Ok)
    assert isinstance(looked.value, Exited)


async def test_output_is_bounded_and_its_end_is_kept(tmp_path: Path) -> None:
    bench = ProcessBench(SystemClock(), tmp_path, limits=Limits(output_bytes=20_000))
    await bench.open()
    how, text = await run(bench, "i=0; while [ $i -lt 9000 ]; do echo line $i; i=$((i+1)); done")
    assert how.code == 0
    assert text.endswith("line 8999\n")
    assert 10_000 <= len(text) <= 20_000
    await bench.close()


@pytest.mark.parametrize(
    ("limits", "script", "because"),
    [
        (
            Limits(memory_bytes=200_000_000),
            "python3 -c 'x=b\"a\"*400000000; import time; time.sleep(600)'",
            "memory",
        ),
        (Limits(processes=20), "for i in $(seq 40); do sleep 600 & done; wait", "processes"),
    ],
)
async def test_who_uses_too_much_is_killed_and_it_is_said(
    tmp_path: Path, limits: Limits, script: str, because: str
) -> None:
    bench = ProcessBench(SystemClock(), tmp_path, limits=limits)
    await bench.open()
    how, text = await run(bench, script)
    assert how.because == because
    assert "holdfast: killed" in text
    await bench.close()


async def test_without_confinement_nothing_starts_unless_it_is_accepted(tmp_path: Path) -> None:
    bench = ProcessBench(SystemClock(), tmp_path, confined=lambda: False)
    await bench.open()
    outcome = await bench.host.start(bench.launch("a1", script="exit 0"))
    assert isinstance(outcome, Permanent)
    assert outcome.code == UNCONFINED
    bench.accept_unconfined = True
    await bench.restart()
    assert (await run(bench, "exit 4"))[0] == Exited(how="exited", code=4)
    await bench.close()


async def test_a_poke_follows_no_link_of_the_agents(bench: ProcessBench, tmp_path: Path) -> None:
    victim = tmp_path / "workspaces" / "a1" / "victim"
    script = f'ln -s {victim} "$HOLDFAST_POKES_FILE"; touch {victim}; echo linked; sleep 600'
    assert await bench.host.start(bench.launch("a1", script=script)) == Ok(None)
    await output(bench, "a1", "linked")
    await bench.host.poke("town", "a1", "mail")
    assert victim.read_text() == ""
