"""The live loop: order, answers, refusals, quarantine, claims, stale commits, passivation."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import pytest

from holdfast.actors.limits import TICK_EVENTS_MAX
from holdfast.actors.ports import (
    Accepted,
    Arrival,
    Commit,
    Journal,
    MailboxFullError,
    StaleError,
)
from holdfast.actors.record import decode_record
from holdfast.kernel.ids import Address
from holdfast.kernel.metrics import TICKS, Counter
from holdfast.sim.loop import SimClock
from holdfast.stores.memory.journal import MemoryStore
from tests.support.toys.lamp import (
    LAMP,
    BulbAdded,
    Cursed,
    Made,
    NoteWritten,
    Policy,
    Smashed,
    SwitchedOff,
    SwitchedOn,
)
from tests.unit.actors.rig import Rig, arrive, lamp, play, until


class Wrapped:
    """A journal whose commits a test can make fail; everything else goes through."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.fail: list[Exception] = []
        self.commits: list[Commit] = []
        self.pendings = 0
        self.slow_s = 0.0
        self.lose_answers = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)

    async def pending(self, actor: Address, limit: int) -> Any:
        self.pendings += 1
        rows = await self.journal.pending(actor, limit)
        await asyncio.sleep(self.slow_s)
        return rows

    async def commit(self, commit: Commit) -> None:
        if self.fail:
            raise self.fail.pop(0)
        await self.journal.commit(commit)
        self.commits.append(commit)
        if self.lose_answers:
            self.lose_answers -= 1
            raise ConnectionError("the answer was lost")


def wrap(journal: Journal) -> Journal:
    return cast("Journal", Wrapped(journal))


def wrapped(rig: Rig) -> Wrapped:
    journal: object = rig.journal
    assert isinstance(journal, Wrapped)
    return journal


def test_an_asked_event_is_answered_with_its_stamp() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            answer = await rig.ask("hall", Made("hall"))
            assert answer.fresh
            assert answer.stamp is not None
            assert (answer.stamp.seq, answer.stamp.tick, answer.stamp.outcome) == (1, 1, "applied")
            body, account, seq = (await rig.reader.view("lamps", "hall")) or (b"", "", 0)
            assert msgspec.json.decode(body)["name"] == "hall"
            assert (account, seq) == ("acme", 1)

    play(scenario)


def test_a_refusal_is_an_answer_with_its_code() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            answer = await rig.ask("hall", SwitchedOn())
            assert answer.stamp is not None
            assert (answer.stamp.outcome, answer.stamp.code) == ("refused", "nobody")
            (line,) = rig.log.named("event.refused")
            assert line["code"] == "nobody"
            assert line["event_id"] == answer.event

    play(scenario)


def test_a_repeated_key_gets_the_first_answer() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            first = await rig.ask("hall", Made("hall"), key="once")
            second = await rig.ask("hall", Made("hall"), key="once")
            assert second.event == first.event
            assert not second.fresh
            assert second.stamp == first.stamp

    play(scenario)


def test_who_asks_twice_at_once_hears_twice() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            answers = await asyncio.gather(
                *(rig.ask("hall", Made("hall"), key="once") for _ in range(3))
            )
            assert [answer.stamp for answer in answers].count(None) == 0
            assert sorted(answer.fresh for answer in answers) == [False, False, True]

    for seed in range(5):
        play(scenario, seed=seed)


def test_an_event_that_no_tick_takes_in_time_has_no_stamp_yet() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, wrap=wrap)
        async with rig:
            wrapped(rig).fail = [OSError("disk full")] * 10
            answer = await rig.ask("hall", Made("hall"), wait_ms=50)
            assert answer.stamp is None
            await until(lambda: len(rig.log_of(lamp("hall"))) == 1)
            assert len(rig.log.named("actor.commit_failed")) == 10

    play(scenario)


def test_events_are_taken_in_the_order_of_their_arrival() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("hall", Made("hall"))
            keys = [f"b{n}" for n in range(40)]
            for key in keys:
                await rig.engine.mailbox.tell([(lamp("hall"), arrive(BulbAdded(key), key))])
            await until(lambda: len(rig.log_of(lamp("hall"))) == 41)
            assert list((await rig.state("hall")).bulbs) == keys

    play(scenario)


def test_a_flood_is_taken_in_ticks_of_a_bounded_size() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, wrap=wrap)
        async with rig:
            many = [(lamp("hall"), arrive(Made("hall"), f"m{n}")) for n in range(500)]
            await rig.engine.mailbox.tell(many)
            await until(lambda: len(rig.log_of(lamp("hall"))) == 500)
            sizes = [len(commit.stamps) for commit in wrapped(rig).commits]
            assert max(sizes) == TICK_EVENTS_MAX
            assert sum(sizes) == 500

    play(scenario)


def test_a_flooded_actor_does_not_starve_another() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, wrap=wrap)
        async with rig:
            many = [(lamp("hall"), arrive(Made("hall"), f"m{n}")) for n in range(1_000)]
            await rig.engine.mailbox.tell(many)
            await rig.say("attic", Made("attic"))
            before = [str(commit.actor) for commit in wrapped(rig).commits]
            assert before.count("lamp/hall") <= 3

    play(scenario)


def test_a_full_mailbox_refuses_who_asks() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, wrap=wrap)
        async with rig:
            wrapped(rig).fail = [OSError("disk full")] * 5
            await rig.engine.mailbox.tell(
                [(lamp("hall"), arrive(Made("hall"), f"m{n}")) for n in range(1_024)]
            )
            with pytest.raises(MailboxFullError, match="1024"):
                await rig.ask("hall", Made("hall"))

    play(scenario)


def test_what_was_told_here_is_not_read_again() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, wrap=wrap)
        async with rig:
            await rig.say("hall", Made("hall"), BulbAdded("a"), BulbAdded("b"), BulbAdded("c"))
            assert wrapped(rig).pendings == 1

    play(scenario)


def test_one_cursed_event_is_quarantined_and_the_others_go_on() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            assert await rig.say("hall", Made("hall"), Cursed(), BulbAdded("a")) == [
                "applied",
                "quarantined",
                "applied",
            ]
            ((actor, row),) = await rig.reader.quarantined(account=None)
            assert actor == lamp("hall")
            assert row.code == "RuntimeError"
            told = rig.log.named("event.quarantined")[0]
            assert told["reason"] == "RuntimeError", "a replay by later code has the same text"
            assert re.fullmatch(r"holdfast/actors/working\.py:\d+ in \w+", told["place"]), told
            # A retry is a new arrival with the same body; a drop marks the first one.
            again = Arrival(
                body=row.body, dedupe=f"retry:{row.id}", version=row.version, source="api"
            )
            answer = await rig.engine.mailbox.ask(actor, again, wait_ms=1_000)
            assert answer.stamp is not None
            assert answer.stamp.outcome == "quarantined"
            assert await rig.journal.drop_quarantined(row.id, "ann")
            assert len(await rig.reader.quarantined(account=None)) == 1

    play(scenario)


def test_what_is_not_an_event_is_quarantined() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            arrival = Arrival(body=b'{"type":"dance"}', dedupe="x", version=1, source="api")
            answer = await rig.engine.mailbox.ask(lamp("hall"), arrival, wait_ms=1_000)
            assert answer.stamp is not None
            assert (answer.stamp.outcome, answer.stamp.code) == ("quarantined", "ValidationError")

    play(scenario)


def test_a_name_is_held_by_one_and_the_loser_hears_of_it_first() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("hall", Made("sun"))
            assert await rig.say("attic", Made("sun")) == ["applied"]
            assert (await rig.state("attic")).lost == ("sun",)
            log = rig.log_of(lamp("attic"))
            assert [row.source for row in log] == ["engine", "api"]
            assert log[0].by == "lamp/hall"
            assert rig.log.named("claim.lost")[0]["holder"] == "lamp/hall"
            # The holder gives it up with its life, and the next may have it.
            await rig.say("hall", Smashed())
            assert await rig.say("cellar", Made("sun")) == ["applied"]
            assert (await rig.state("cellar")).name == "sun"

    play(scenario)


def test_two_that_want_one_name_at_once_never_both_have_it() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await asyncio.gather(*(rig.ask(f"l{n}", Made("sun")) for n in range(6)))
            names = [(await rig.state(f"l{n}")).name for n in range(6)]
            losses = [(await rig.state(f"l{n}")).lost for n in range(6)]
            assert sorted(names) == ["", "", "", "", "", "sun"]
            assert losses.count(("sun",)) == 5

    for seed in range(5):
        play(scenario, seed=seed)


def test_a_stale_commit_drops_the_state_and_the_tick_is_made_again() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, wrap=wrap)
        async with rig:
            await rig.say("hall", Made("hall"))
            wrapped(rig).fail = [StaleError("somebody else wrote")] * 4
            assert await rig.say("hall", BulbAdded("a")) == ["applied"]
            assert len(rig.log.named("commit.stale")) == 4
            assert [row.seq for row in rig.log_of(lamp("hall"))] == [1, 2]

    play(scenario)


def test_a_second_plane_takes_the_lease_and_the_first_stops() -> None:
    async def scenario(clock: SimClock) -> None:
        store = MemoryStore()
        async with Rig(clock, store) as first:
            await first.say("hall", Made("hall"))
            async with Rig(clock, store) as second:
                answer = await first.ask("hall", BulbAdded("a"), wait_ms=100)
                assert answer.stamp is None
                assert first.engine.lease.lost
                assert "lease.lost" in first.log.at_least("critical")
                # It is accepted all the same, and the new owner finds it.
                await until(lambda: len(second.log_of(lamp("hall"))) == 2)
                assert list((await second.state("hall")).bulbs) == ["a"]

    play(scenario)


def test_an_event_of_newer_code_stops_its_actor_loudly_and_no_other() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            newer = Arrival(body=b"{}", dedupe="n", version=3, source="api")
            answer = await rig.engine.mailbox.ask(lamp("hall"), newer, wait_ms=100)
            assert answer.stamp is None
            assert rig.log.at_least("critical") == ["actor.given_up"]
            progress = rig.engine.owner.progress
            ((actor, waited_ms),) = progress.waiting()
            assert (actor, waited_ms >= 100) == (lamp("hall"), True)
            assert list(progress.stalled(0)) == []
            assert await rig.say("attic", Made("attic")) == ["applied"]
            assert rig.log_of(lamp("hall")) == []

    play(scenario)


def test_rules_that_raise_are_a_note_and_are_tried_again_by_the_alarm() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, policy=Policy(raises=True))
        async with rig:
            assert await rig.say("hall", Made("hall")) == ["applied"]
            await asyncio.sleep(200)
            records = [decode_record(body) for body in rig.ticks_of(lamp("hall"))]
            assert len(records) >= 3
            assert records[0].notes[0].text == "reconcile: RuntimeError"
            told = rig.log.named("rules.fault")[0]["place"]
            assert re.fullmatch(r"holdfast/actors/tick\.py:\d+ in plan", told), told

    play(scenario)


def test_an_action_whose_expectation_fails_is_a_conflict_and_does_nothing() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, policy=Policy(faithless=True))
        async with rig:
            await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn())
            assert rig.grid.calls == []
            assert rig.log.named("action.conflict")[0]["found"] == 0
            record = decode_record(rig.ticks_of(lamp("hall"))[-1])
            assert [decision.result for decision in record.decisions] == ["conflict"]

    play(scenario)


def test_idle_actors_leave_memory_and_come_back_as_they_were() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, resident_max=3)
        async with rig:
            for n in range(10):
                await rig.say(f"l{n}", Made(f"l{n}"), BulbAdded("a"))
            assert rig.engine.owner.loaded_count <= 4
            assert await rig.say("l0", BulbAdded("b")) == ["applied"]
            assert list((await rig.state("l0")).bulbs) == ["a", "b"]
            assert rig.log.named("rules.fault") == []

    play(scenario)


def test_a_digest_that_does_not_fit_is_a_note_and_no_silence() -> None:
    async def scenario(clock: SimClock) -> None:
        store = MemoryStore()
        async with Rig(clock, store) as rig:
            await rig.say("hall", Made("hall"))
        store.actors[lamp("hall")].digest = "f" * 32
        async with Rig(clock, store) as rig:
            assert await rig.say("hall", BulbAdded("a")) == ["applied"]
            assert "digest of seq 1" in rig.log.named("rules.fault")[0]["reason"]

    play(scenario)


def test_what_was_accepted_before_a_crash_is_taken_after_it() -> None:
    async def scenario(clock: SimClock) -> None:
        store = MemoryStore()
        dead = Rig(clock, store)
        for n in range(1_500):
            where = lamp(f"l{n}")
            await dead.journal.accept([(where, arrive(Made(f"l{n}"), "m"))])
        async with Rig(clock, store) as rig:
            await until(lambda: len(store.waiting) == 0)
            assert (await rig.state("l1499")).made

    play(scenario)


def test_events_that_another_process_accepted_are_found() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("hall", Made("hall"))
            await rig.journal.accept([(lamp("hall"), arrive(BulbAdded("a"), "other"))])
            await until(lambda: len(rig.log_of(lamp("hall"))) == 2, within_s=10)

    play(scenario)


def test_a_large_state_is_written_as_snapshots_and_loads_as_it_was() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, wrap=wrap)
        async with rig:
            await rig.say("hall", Made("hall"))
            long = "x" * 1_000
            for n in range(60):
                await rig.say("hall", NoteWritten("lamp/hall", f"{n}{long}"))
            await until(lambda: not rig.store.waiting)
            states = [commit.state is not None for commit in wrapped(rig).commits]
            assert states.count(False) > 20
            live = await rig.engine.owner.state(lamp("hall"))
        assert live is not None
        async with Rig(clock, rig.store) as next_rig:
            loaded = await next_rig.engine.owner.state(lamp("hall"))
            assert loaded is not None
            assert (loaded.state, loaded.seq, loaded.digest) == (live.state, live.seq, live.digest)
            assert next_rig.log.named("rules.fault") == []

    play(scenario)


def test_a_state_that_holds_the_loop_too_long_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.actors.tick_log.STATE_LOOP_BYTES_MAX", 20_000)

    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("hall", Made("x" * 19_000), Made("again"))
            assert rig.log.named("state.too_large") == []
            await rig.say("attic", Made("x" * 21_000))
            (line,) = rig.log.named("state.too_large")
            assert line["actor"] == "lamp/attic"

    play(scenario)


def test_a_listener_that_raises_stops_nothing() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:

            def broken(_committed: Any) -> None:
                raise ValueError("no page today")

            rig.engine.owner.listen(broken)
            assert await rig.say("hall", Made("hall"), BulbAdded("a")) == ["applied"] * 2
            assert len(rig.log.named("listener.fault")) >= 2

    play(scenario)


def test_converged_is_silent() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, wrap=wrap)
        async with rig:
            await rig.say("hall", Made("hall"), BulbAdded("a"), SwitchedOn(), SwitchedOff())
            await asyncio.sleep(86_400)  # the grid was looked at once, and answered
            commits, calls = len(wrapped(rig).commits), len(rig.grid.calls)
            rig.engine.owner.wake(lamp("hall"))
            await asyncio.sleep(86_400)
            assert len(wrapped(rig).commits) == commits
            assert len(rig.grid.calls) == calls

    play(scenario)


def test_random_orders_lose_nothing_and_double_nothing() -> None:
    async def scenario(clock: SimClock) -> None:
        rig = Rig(clock, wrap=wrap)
        async with rig:
            wrapped(rig).fail = [StaleError("race"), OSError("disk")]

            async def one(n: int) -> Sequence[Accepted]:
                await asyncio.sleep(n % 7 / 1_000)
                where = lamp(f"l{n % 5}")
                return await rig.engine.mailbox.tell([(where, arrive(BulbAdded(f"b{n}"), f"{n}"))])

            for n in range(5):
                await rig.ask(f"l{n}", Made(f"l{n}"), wait_ms=0)
            await asyncio.gather(*(one(n) for n in range(200)))
            await until(lambda: not rig.store.waiting)
            for n in range(5):
                bulbs = (await rig.state(f"l{n}")).bulbs
                assert sorted(bulbs) == sorted(f"b{m}" for m in range(n, 200, 5))
                log = rig.log_of(lamp(f"l{n}"))
                assert [row.seq for row in log] == list(range(1, len(log) + 1))

    for seed in range(8):
        play(scenario, seed=seed)


def test_the_toy_is_of_a_version_that_the_tests_know() -> None:
    assert LAMP.version == 2


def test_a_bug_of_the_owner_itself_costs_a_wait_and_not_the_loop() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            owner = rig.engine.owner
            go_on, failures = owner._go_on, [KeyError("a bug")]

            def broken(*args: Any) -> None:
                if failures:
                    raise failures.pop()
                go_on(*args)

            owner._go_on = broken  # type: ignore[method-assign,assignment]
            answer = await rig.ask("hall", Made("hall"), wait_ms=500)
            assert answer.stamp is not None, "the store has its stamp all the same"
            assert await rig.say("hall", BulbAdded("a")) == ["applied"]
            assert rig.log.named("actor.owner_failed")
            assert [row.seq for row in rig.log_of(lamp("hall"))] == [1, 2]

    play(scenario)


def test_a_figure_that_cannot_be_counted_stops_nothing() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            count = rig.meter.count

            def broken(metric: Counter, by: float = 1, **labels: str) -> None:
                if metric is TICKS:
                    raise KeyError(metric.name)
                count(metric, by, **labels)

            rig.meter.count = broken  # type: ignore[method-assign]
            assert await rig.say("hall", Made("hall"), BulbAdded("a")) == ["applied"] * 2
            assert rig.total.dropped == 2
            assert not rig.log.at_least("error", "critical")

    play(scenario)
