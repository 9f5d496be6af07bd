"""The contract of every host of town agents."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from holdfast.kernel.outcome import Conflict, Ok, Permanent
from holdfast.world.hosts.port import (
    NO_COMMAND,
    NOT_HERE,
    STOPPED,
    EndedAttempt,
    Exited,
    Running,
    Seen,
    Unknown,
)
from tests.support.host_benches import Bench, ended, released
from tests.support.patience import patience


async def look(bench: Bench, attempt: str) -> Seen:
    outcome = await bench.host.look("town", attempt)
    assert isinstance(outcome, Ok), outcome
    return outcome.value


async def reported(bench: Bench) -> dict[str, Exited]:
    """Return what ended, once anything has."""
    async with asyncio.timeout(patience(10)):
        while not (found := await ended(bench.host)):  # noqa: ASYNC110  nothing tells
            await asyncio.sleep(0.02)
    return found


async def test_an_attempt_runs_ends_and_is_reported_until_acknowledged(bench: Bench) -> None:
    launch = bench.launch("a1")
    assert await look(bench, "a1") == Unknown()
    assert await bench.host.start(launch) == Ok(None)
    assert isinstance(await look(bench, "a1"), Running)
    assert await ended(bench.host) == {}
    bench.end(launch, 3)
    assert await reported(bench) == {"a1": Exited(how="exited", code=3)}
    assert await look(bench, "a1") == Exited(how="exited", code=3)
    output = await bench.host.output("town", "a1", 6)
    assert output == Ok(b"ended\n")
    assert await bench.host.acknowledge("town", "a1") == Ok(None)
    assert await bench.host.acknowledge("town", "a1") == Ok(None)
    assert await ended(bench.host) == {}
    later_ms = bench.clock.now_ms() + 60_000
    assert await bench.host.prune(0, released) == Ok(())
    gone = await bench.host.prune(later_ms, released)
    assert isinstance(gone, Ok)
    assert [one.attempt for one in gone.value] == ["a1"]
    assert await look(bench, "a1") == Unknown()
    again = await bench.host.start(launch)
    assert isinstance(again, Conflict)
    assert again.code == STOPPED


async def test_an_attempt_is_forgotten_after_what_it_owns_and_again_where_that_is_cut_short(
    bench: Bench,
) -> None:
    launch = bench.launch("a1")
    assert await bench.host.start(launch) == Ok(None)
    bench.end(launch, 0)
    await reported(bench)
    assert await bench.host.acknowledge("town", "a1") == Ok(None)
    later_ms = bench.clock.now_ms() + 60_000
    seen = list[str]()

    async def killed(one: EndedAttempt) -> bool:
        seen.append(one.attempt)
        raise asyncio.CancelledError

    async def refused(one: EndedAttempt) -> bool:
        seen.append(one.attempt)
        return False

    with pytest.raises(asyncio.CancelledError):
        await bench.host.prune(later_ms, killed)
    assert await bench.host.prune(later_ms, refused) == Ok(())
    assert await look(bench, "a1") == Exited(how="exited", code=0)
    gone = await bench.host.prune(later_ms, released)
    assert isinstance(gone, Ok)
    assert ([one.attempt for one in gone.value], seen) == (["a1"], ["a1", "a1"])
    assert await look(bench, "a1") == Unknown()


async def test_an_attempt_is_started_once(bench: Bench) -> None:
    launch = bench.launch("a1")
    assert await asyncio.gather(*(bench.host.start(launch) for _ in range(3))) == [Ok(None)] * 3
    first = await look(bench, "a1")
    bench.end(launch, 0)
    await reported(bench)
    assert await bench.host.start(launch) == Ok(None)
    assert await look(bench, "a1") == Exited(how="exited", code=0)
    assert isinstance(first, Running)


async def test_what_was_stopped_is_not_reported_and_never_starts(bench: Bench) -> None:
    launch = bench.launch("a1")
    await bench.host.start(launch)
    assert await bench.host.stop("town", "ada", 1, patience(10)) == Ok(None)
    assert isinstance(await look(bench, "a1"), Exited)
    assert await ended(bench.host) == {}
    assert await bench.host.stop("town", "ada", 1, 0) == Ok(None)
    late = bench.launch("a0", epoch=1)
    outcome = await bench.host.start(late)
    assert isinstance(outcome, Conflict)
    assert outcome.code == STOPPED
    assert await look(bench, "a0") == Unknown()


async def test_a_stop_covers_a_start_that_comes_later(bench: Bench) -> None:
    assert await bench.host.stop("town", "ada", 2, 0) == Ok(None)
    outcome = await bench.host.start(bench.launch("a2", epoch=2))
    assert isinstance(outcome, Conflict)
    assert outcome.code == STOPPED
    assert await bench.host.start(bench.launch("a3", epoch=3)) == Ok(None)
    assert await bench.host.stop("town", "ada", 2, 0) == Ok(None)
    assert isinstance(await look(bench, "a3"), Running)


async def test_a_later_attempt_ends_the_earlier_one(bench: Bench) -> None:
    await bench.host.start(bench.launch("a1"))
    assert await bench.host.start(bench.launch("a2", epoch=2)) == Ok(None)
    assert isinstance(await look(bench, "a1"), Exited)
    assert isinstance(await look(bench, "a2"), Running)
    outcome = await bench.host.start(bench.launch("a0", epoch=1))
    assert isinstance(outcome, Conflict)
    assert await bench.host.start(bench.launch("b1", agent="bob")) == Ok(None)
    assert isinstance(await look(bench, "a2"), Running)


async def test_only_what_runs_is_poked(bench: Bench) -> None:
    launch = bench.launch("a1")
    before = await bench.host.poke("town", "a1", "mail")
    assert isinstance(before, Permanent)
    assert before.code == NOT_HERE
    await bench.host.start(launch)
    assert await bench.host.poke("town", "a1", "mail") == Ok(None)
    bench.end(launch, 0)
    await reported(bench)
    after = await bench.host.poke("town", "a1", "mail")
    assert isinstance(after, Permanent)
    assert after.code == NOT_HERE


async def test_without_a_command_nothing_starts(bench: Bench) -> None:
    outcome = await bench.host.start(replace(bench.launch("a1"), command=()))
    assert isinstance(outcome, Permanent)
    assert outcome.code == NO_COMMAND
    missing = await bench.host.output("town", "nobody", 10)
    assert isinstance(missing, Permanent)
    assert missing.code == NOT_HERE
