"""The stream as a whole: contact, news, datapoints and long polls, with stores in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from holdfast.kernel.clock import HOUR_MS, ManualClock
from holdfast.letters.machine import MachineFacts
from holdfast.stores.memory.contact import MemoryContacts
from holdfast.stores.memory.telemetry import MemoryAnalytics
from holdfast.telemetry.accept import Admitted
from holdfast.telemetry.checkins import Telemetry
from holdfast.telemetry.limits import OUTCOMES_KEPT
from holdfast.telemetry.machines import MachineIndex
from holdfast.wire.controller.directive import Command
from tests.support.patience import patience
from tests.support.toys.machines import CONTRACT, OURS, Ear, Quiet, checkin, facts

ONE = facts()


class Bench:
    """A telemetry with everything around it in memory."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.machine_index = MachineIndex()
        self.contacts = MemoryContacts()
        self.analytics = MemoryAnalytics()
        self.ear = Ear()
        self.log = Quiet()
        self.commands: dict[str, tuple[Command, ...]] = {}
        self.sequence = 0

    def due(self, instance: str, *, now_ms: int) -> tuple[Command, ...]:
        assert now_ms == self.clock.now_ms()
        return self.commands.pop(instance, ())

    @asynccontextmanager
    async def running(self, *early: MachineFacts) -> AsyncIterator[Telemetry]:
        telemetry = Telemetry(
            clock=self.clock,
            log=self.log,
            machines=self.machine_index,
            contacts=self.contacts,
            analytics=self.analytics,
            transitions=self.ear,
            commands=self,
            interval_ms=60_000,
            flush_ms=1,
        )
        self.machine_index.listen(telemetry)
        for known in early:
            self.machine_index.put(known)
        await telemetry.start()
        try:
            yield telemetry
        finally:
            self.machine_index._listeners.clear()
            await telemetry.close()

    def hear(self, telemetry: Telemetry, known: MachineFacts = ONE, **more: Any) -> int:
        """Check in with our form, the next number and nothing else new."""
        self.sequence += 1
        given = {"sandboxId": known.sandbox, "sequence": self.sequence, **more}
        message = checkin(OURS, **given)
        return telemetry.receive(Admitted(known, message, known.region, ours=True))

    def pass_time(self, telemetry: Telemetry, ms: int) -> None:
        for _ in range(0, ms, 500):
            self.clock.advance(500)
            telemetry.advance()


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.machine_index.put(ONE)
    return made


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(patience(5)):
        while not is_so():  # noqa: ASYNC110  there is no event to wait for
            await asyncio.sleep(0.002)


async def settled() -> None:
    """Let every worker that has something to do have its turn."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_checkin_becomes_contact_a_datapoint_and_a_report(bench: Bench) -> None:
    async with bench.running() as telemetry:
        bench.hear(telemetry)
        await until(lambda: bench.ear.told("reported"))
        ((_, instance, report, changed),) = bench.ear.told("reported")
        assert (instance, report.agent_version, report.restarts) == ("instance-1", "2026.9.6", 3)
        assert "restarts" in changed
        shown = telemetry.contact("instance-1")
        assert shown is not None
        assert (shown.lost, shown.heard_ms) == (False, bench.clock.now_ms())
        assert shown.status is not None
        assert (shown.status.load_avg_5m, shown.bytes_in, shown.region) == (0.25, 1_000, "fra")
    (point,) = bench.analytics.checkins
    assert (point.instance, point.restarts, point.bytes_in) == ("instance-1", 3, 1_000)
    (row,) = await bench.contacts.load()
    assert row.told == row.report


async def test_the_same_again_is_no_news(bench: Bench) -> None:
    async with bench.running() as telemetry:
        bench.hear(telemetry)
        await until(lambda: bench.ear.told("reported"))
        for _ in range(5):
            bench.pass_time(telemetry, 60_000)
            bench.hear(telemetry)
            await settled()
    assert len(bench.ear.heard) == 1
    assert len(bench.analytics.checkins) == 6


async def test_only_what_changed_is_named(bench: Bench) -> None:
    async with bench.running() as telemetry:
        bench.hear(telemetry)
        await until(lambda: len(bench.ear.told("reported")) == 1)
        bench.hear(telemetry, agentReady=True, degraded="disk full")
        await until(lambda: len(bench.ear.told("reported")) == 2)
    assert bench.ear.told("reported")[1][3] == {"agent_ready", "agent_state", "degraded"}


async def test_a_doubled_message_is_a_success_and_counts_once(bench: Bench) -> None:
    async with bench.running() as telemetry:
        assert bench.hear(telemetry, sequence=5) == 0
        bench.clock.advance(60_000)
        assert bench.hear(telemetry, sequence=5) == 0
        shown = telemetry.contact("instance-1")
        assert shown is not None
        assert shown.heard_ms == bench.clock.now_ms()
    assert len(bench.analytics.checkins) == 1


async def test_the_contracts_form_is_counted_as_sent(bench: Bench) -> None:
    async with bench.running() as telemetry:
        for _ in range(2):
            bench.clock.advance(300_000)
            given = Admitted(ONE, checkin(CONTRACT), "fra", ours=False)
            assert telemetry.receive(given) == 0
        shown = telemetry.contact("instance-1")
        assert shown is not None
        assert (shown.restarts, shown.bytes_in) == (2, 200)


async def test_silence_is_told_once_and_its_end_too(bench: Bench) -> None:
    async with bench.running() as telemetry:
        bench.hear(telemetry)
        heard_ms = bench.clock.now_ms()
        bench.pass_time(telemetry, 180_000)
        await settled()
        assert bench.ear.told("lost") == []
        bench.pass_time(telemetry, 10_000)
        await until(lambda: bench.ear.told("lost"))
        bench.pass_time(telemetry, HOUR_MS)
        await settled()
        assert bench.ear.told("lost") == [("lost", "instance-1", 1, heard_ms)]
        shown = telemetry.contact("instance-1")
        assert shown is not None
        assert shown.lost
        bench.hear(telemetry)
        await until(lambda: bench.ear.told("regained"))
    assert bench.ear.told("regained") == [("regained", "instance-1")]


async def test_a_machine_never_heard_is_lost_too(bench: Bench) -> None:
    async with bench.running() as telemetry:
        bench.pass_time(telemetry, 190_000)
        await until(lambda: bench.ear.told("lost"))
        shown = telemetry.contact("instance-1")
        assert shown is not None
        assert (shown.lost, shown.heard_ms) == (True, 0)
    assert bench.ear.told("lost") == [("lost", "instance-1", 1, 0)]


async def test_an_hour_without_the_plane_raises_no_alarm(bench: Bench) -> None:
    many = [facts(number) for number in range(1, 51)]
    for known in many:
        bench.machine_index.put(known)
    async with bench.running() as telemetry:
        for known in many:
            bench.hear(telemetry, known)
        await until(lambda: len(bench.ear.told("reported")) == 50)
    bench.clock.advance(HOUR_MS)
    async with bench.running() as telemetry:
        for second in range(180):
            bench.pass_time(telemetry, 1_000)
            if second % 60 == 59:
                for known in many:
                    bench.hear(telemetry, known)
        await settled()
    assert bench.ear.told("lost") == []
    assert bench.ear.told("regained") == []


@pytest.mark.parametrize("jump_ms", [-HOUR_MS, HOUR_MS, 365 * 24 * HOUR_MS])
async def test_a_step_of_the_clock_raises_no_alarm(bench: Bench, jump_ms: int) -> None:
    async with bench.running() as telemetry:
        for beat in range(12):
            bench.hear(telemetry)
            bench.pass_time(telemetry, 60_000)
            if beat == 5:
                bench.clock.jump(jump_ms)
        await settled()
    assert bench.ear.told("lost") == []


async def test_a_loss_told_before_a_restart_ends_after_it(bench: Bench) -> None:
    async with bench.running() as telemetry:
        bench.pass_time(telemetry, 190_000)
        await until(lambda: bench.ear.told("lost"))
    async with bench.running() as telemetry:
        shown = telemetry.contact("instance-1")
        assert shown is not None
        assert shown.lost
        bench.pass_time(telemetry, 400_000)
        await settled()
        assert len(bench.ear.told("lost")) == 1
        bench.hear(telemetry)
        await until(lambda: bench.ear.told("regained"))


async def test_facts_that_come_before_the_rows_are_loaded_do_not_replace_them(
    bench: Bench,
) -> None:
    # The engine starts first and commits: what was heard before must survive that.
    async with bench.running() as telemetry:
        bench.hear(telemetry)
        heard_ms = bench.clock.now_ms()
    bench.clock.advance(60_000)
    async with bench.running(facts(revision=9)) as telemetry:
        shown = telemetry.contact("instance-1")
        assert shown is not None
        assert shown.heard_ms == heard_ms


async def test_a_stopped_machine_is_not_missed(bench: Bench) -> None:
    async with bench.running() as telemetry:
        bench.hear(telemetry)
        bench.machine_index.put(facts(expected=False, desired="stopped", revision=2))
        bench.pass_time(telemetry, HOUR_MS)
        bench.machine_index.put(facts(expected=True, revision=3, epoch=2))
        bench.pass_time(telemetry, 170_000)
        await settled()
        assert bench.ear.told("lost") == []
        bench.pass_time(telemetry, 30_000)
        await until(lambda: bench.ear.told("lost"))


async def test_a_new_incarnation_that_stays_silent_is_told_again(bench: Bench) -> None:
    async with bench.running() as telemetry:
        bench.pass_time(telemetry, 190_000)
        await until(lambda: bench.ear.told("lost"))
        bench.machine_index.put(facts(epoch=2))
        bench.pass_time(telemetry, 190_000)
        await until(lambda: len(bench.ear.told("lost")) == 2)
    assert len(set(bench.ear.keys)) == 2


async def test_news_is_told_until_it_is_accepted(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.telemetry.notifier.RETRY_FIRST_MS", 1)
    bench.ear.deaf = True
    async with bench.running() as telemetry:
        bench.hear(telemetry)
        await until(lambda: bench.ear.refused >= 3)
        bench.ear.deaf = False
        await until(lambda: bench.ear.told("reported"))
    assert any(line[0] == "transition not accepted" for line in bench.log.lines)


async def test_news_not_accepted_before_a_restart_is_told_after_it(bench: Bench) -> None:
    bench.ear.deaf = True
    async with bench.running() as telemetry:
        bench.hear(telemetry)
        await until(lambda: bench.ear.refused)
    bench.ear.deaf = False
    async with bench.running():
        await until(lambda: bench.ear.told("reported"))


async def test_a_loss_that_may_have_been_accepted_is_taken_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.telemetry.notifier.RETRY_FIRST_MS", 1)
    async with bench.running() as telemetry:
        for round_ in (1, 2):
            bench.hear(telemetry)
            await until(lambda: bench.ear.told("reported"))
            bench.ear.silent = True
            bench.pass_time(telemetry, 190_000)
            await until(lambda round_=round_: len(bench.ear.told("lost")) == round_)  # type: ignore[misc]
            bench.hear(telemetry)
            bench.ear.silent = False
            await until(lambda round_=round_: len(bench.ear.told("regained")) == round_)  # type: ignore[misc]
        await settled()
    assert [news[0] for news in bench.ear.heard[1:]] == ["lost", "regained"] * 2


async def test_a_report_that_may_have_been_accepted_is_taken_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.telemetry.notifier.RETRY_FIRST_MS", 1)
    async with bench.running() as telemetry:
        bench.hear(telemetry, agentReady=True)
        await until(lambda: bench.ear.told("reported"))
        bench.ear.silent = True
        bench.clock.advance(60_000)
        bench.hear(telemetry, agentReady=False)
        await until(lambda: len(bench.ear.told("reported")) == 2)
        bench.clock.advance(60_000)
        bench.hear(telemetry, agentReady=True)
        bench.ear.silent = False
        await until(lambda: len(bench.ear.told("reported")) == 3)
        await settled()
    reports = bench.ear.told("reported")
    assert [news[2].agent_ready for news in reports] == [True, False, True]
    assert reports[2][3] == frozenset({"agent_ready", "agent_state"})


async def test_a_fault_with_one_machine_hides_no_other_ones_silence(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench.running(ONE, facts(2)) as telemetry:

        def of_instance(instance: str) -> MachineFacts:
            if instance == ONE.instance:
                raise KeyError("a bug")
            return facts(2)

        monkeypatch.setattr(bench.machine_index, "of_instance", of_instance)
        bench.pass_time(telemetry, 190_000)
        await until(lambda: bench.ear.told("lost"))
    assert [news[1] for news in bench.ear.told("lost")] == [facts(2).instance]
    assert [line[0] for line in bench.log.lines].count("silence not noted") == 1


async def test_lost_and_found_before_anybody_could_be_told_is_no_news(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bench.running() as telemetry:
        bench.hear(telemetry)
        await until(lambda: bench.ear.told("reported"))
        bench.pass_time(telemetry, 190_000)
        bench.hear(telemetry)
        await settled()
    assert bench.ear.told("lost") == []
    assert bench.ear.told("regained") == []


async def test_two_machines_are_reported_by_name(bench: Bench) -> None:
    async with bench.running() as telemetry:
        bench.hear(telemetry)
        bench.hear(telemetry, machineId="m7", bootId="boot-7")
        await until(lambda: bench.ear.heard and bench.ear.heard[-1][2].twins)
    assert bench.ear.heard[-1][2].twins == ("m1", "m7")


async def test_outcomes_reach_the_owner_once_told_and_are_bounded(bench: Bench) -> None:
    async with bench.running() as telemetry:
        bench.ear.deaf = True
        for start in range(0, OUTCOMES_KEPT + 16, 16):
            outcomes = [{"id": f"c{n}", "ok": True} for n in range(start, start + 16)]
            bench.clock.advance(60_000)
            assert bench.hear(telemetry, outcomes=outcomes) == 0
        assert telemetry._notifier.dropped_outcomes == 16
        bench.ear.deaf = False
        telemetry._notifier._queue.put_nowait(telemetry._entries["instance-1"].notice)
        await until(lambda: bench.ear.told("done"))
    assert len(bench.ear.told("done")[0][2]) == OUTCOMES_KEPT


async def test_too_many_checkins_are_refused_and_still_heard(bench: Bench) -> None:
    async with bench.running() as telemetry:
        waits = [bench.hear(telemetry) for _ in range(20)]
        assert waits[0] == 0
        assert waits[-1] > 0
        bench.pass_time(telemetry, 150_000)
        while bench.hear(telemetry) == 0:
            pass
        bench.pass_time(telemetry, 150_000)
        await settled()
    assert bench.ear.told("lost") == []
    assert len(bench.analytics.checkins) < 20


async def test_failing_stores_change_no_answer_and_lose_nothing_at_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.telemetry.write_loop.RETRY_FIRST_MS", 1)
    async with bench.running() as telemetry:
        bench.analytics.failing = bench.contacts.failing = True
        assert bench.hear(telemetry) == 0
        await until(lambda: telemetry.points.loss().failures > 1 and telemetry._sink.failures > 1)
        assert telemetry.points.loss().waiting == 1
        bench.analytics.failing = bench.contacts.failing = False
    assert len(bench.analytics.checkins) == 1
    assert len(await bench.contacts.load()) == 1


async def test_a_destroyed_instance_is_forgotten(bench: Bench) -> None:
    async with bench.running() as telemetry:
        bench.hear(telemetry)
        await until(lambda: bench.ear.told("reported"))
        bench.machine_index.remove("instance-1")
        assert telemetry.contact("instance-1") is None
        bench.pass_time(telemetry, HOUR_MS)
    assert await bench.contacts.load() == []
    assert bench.ear.told("lost") == []


async def test_a_long_poll_hears_a_change_at_once(bench: Bench) -> None:
    async with bench.running() as telemetry:
        poll = asyncio.create_task(telemetry.directive_after(ONE.sandbox, 1, wait_s=5))
        await until(lambda: len(telemetry.hub) == 1)
        bench.machine_index.put(facts(desired="stopped", revision=2))
        directive = await asyncio.wait_for(poll, patience(1))
        assert directive is not None
        assert (directive.desired, directive.revision) == ("stopped", 2)
        assert len(telemetry.hub) == 0


async def test_a_long_poll_behind_the_times_is_answered_at_once(bench: Bench) -> None:
    async with bench.running() as telemetry:
        directive = await telemetry.directive_after(ONE.sandbox, 0, wait_s=5)
        assert directive is not None
        assert directive.checkin_interval_ms == 60_000


async def test_a_long_poll_ends_empty_in_time_and_with_the_plane(bench: Bench) -> None:
    async with bench.running() as telemetry:
        bench.clock.advance(1)
        assert await telemetry.directive_after(ONE.sandbox, 1, wait_s=0) is None
        assert await telemetry.directive_after("ki_unknown", 1, wait_s=5) is None
        poll = asyncio.create_task(telemetry.directive_after(ONE.sandbox, 1, wait_s=5))
        await until(lambda: len(telemetry.hub) == 1)
    assert await poll is None


async def test_a_leased_command_ends_a_long_poll(bench: Bench) -> None:
    async with bench.running() as telemetry:
        poll = asyncio.create_task(telemetry.directive_after(ONE.sandbox, 1, wait_s=5))
        await until(lambda: len(telemetry.hub) == 1)
        bench.commands["instance-1"] = (Command(id="c1", name="agent.restart"),)
        telemetry.hub.wake(ONE.sandbox)
        directive = await poll
        assert directive is not None
        assert [command.id for command in directive.commands] == ["c1"]
