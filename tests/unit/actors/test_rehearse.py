"""Rehearsal: a dry run is the tick that follows, a replay is what was, and why is the rules'."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.actors.commit import fold_loaded, fold_rows, hex_digest
from holdfast.actors.kinds import hash_policy, make_kind
from holdfast.actors.record import decode_record
from holdfast.actors.rehearsal_worker import (
    Ahead,
    Back,
    Look,
    Why,
    look_ahead,
    look_at,
    look_back,
    look_into,
)
from holdfast.actors.rehearse import Glance, differences, dry_run, explain, show
from holdfast.actors.stored import UnknownActorError
from holdfast.actors.tick import begin, tick
from holdfast.kernel.clock import ManualClock
from holdfast.sim.loop import SimClock
from holdfast.stores.memory.journal import MemoryJournal, MemoryReader, MemoryStore
from tests.support.toys.lamp import (
    LAMP,
    BulbAdded,
    Cursed,
    Event,
    Made,
    Policy,
    SwitchedOff,
    SwitchedOn,
    encode_event,
)
from tests.unit.actors.histories import ENDED, HALL, LIVES, NOW, live, rows, split
from tests.unit.actors.rig import Rig, arrive, play

KIND = make_kind(LAMP, Policy())
KINDS = {"lamp": KIND}
SIZES = st.lists(st.integers(1, 7), min_size=1, max_size=5)


@settings(deadline=None)
@given(past=LIVES, coming=LIVES)
def test_a_dry_run_is_the_tick_that_follows(past: list[Event], coming: list[Event]) -> None:
    folded = live(KIND, split(rows(past), [5]))[-1][0].after
    pending = rows([*past, *coming])[len(past) :][:64]
    now_ms = NOW + 10_000_000
    (step,) = dry_run(KIND, folded, pending, now_ms=now_ms).steps
    follows = tick(LAMP, KIND.policy, folded, pending, now_ms, folded.number + 1)
    assert step == show(follows)
    assert step.digest == hex_digest(follows.after.digest)


@settings(deadline=None)
@given(events=LIVES)
def test_explaining_every_entity_is_the_plan_of_the_tick(events: list[Event]) -> None:
    folded = live(KIND, split(rows(events), [5]))[-1][0].after
    now_ms = NOW + 10_000_000
    follows = tick(LAMP, KIND.policy, folded, [], now_ms, folded.number + 1)
    explained = [explain(KIND, folded, key, now_ms=now_ms) for key in LAMP.entities(folded.state)]
    actions = sorted((a.rule, a.name, a.entity) for one in explained for a in one.actions)
    assert actions == sorted((d.rule, d.name, d.entity) for d in follows.decisions)
    suppressed = {tuple(s) for one in explained for s in one.suppressed}
    assert suppressed == follows.after.reasons


async def remember(events: list[Event], sizes: list[int], policy: Policy) -> MemoryStore:
    """Write a history as the owner would have."""
    store = MemoryStore()
    clock = ManualClock(NOW)
    journal = MemoryJournal(store, clock=clock)
    kind = make_kind(LAMP, policy)
    epoch = await journal.lease("test")
    await journal.keep_policy(kind.policy_hash, kind.policy_body)
    accepted = await journal.accept(
        [(HALL, arrive(event, f"{n}")) for n, event in enumerate(events)]
    )
    assert all(one.fresh for one in accepted)
    pending = await journal.pending(HALL, 1_000)
    for _, commit in live(kind, split(pending, sizes)):
        await journal.commit(msgspec.structs.replace(commit, lease_epoch=epoch))
    return store


def seen(glance: Glance) -> tuple[bytes, int, str, int]:
    """Return what is compared of an actor that was looked at."""
    assert glance.last is not None
    body = LAMP.encode_state(glance.folded.state)
    return (
        body,
        glance.now_ms,
        hash_policy(KIND.definition.encode_policy(glance.kind.policy)),
        (glance.last.number),
    )


@settings(deadline=None, max_examples=30)
@given(events=st.one_of(LIVES, ENDED), sizes=SIZES)
def test_an_actor_is_shown_as_it_was_after_each_of_its_ticks(
    events: list[Event], sizes: list[int]
) -> None:
    async def scenario(_clock: SimClock) -> None:
        store = await remember(events, sizes, Policy())
        reader = MemoryReader(store)
        records = [decode_record(body) for body in await reader.ticks(HALL)]
        folded = begin(LAMP, HALL)
        log = await reader.log(HALL)
        for record in records:
            rows_of_tick = [row for row in log if record.basis < row.seq <= record.seq]
            state, faults = fold_rows(LAMP, folded.state, rows_of_tick)
            assert faults == []
            folded = msgspec.structs.replace(folded, state=state)
            asked = Look(actor="lamp/hall", now_ms=0, view=f"{__name__}:seen", tick=record.number)
            assert await look_at(reader, KINDS, asked) == (
                LAMP.encode_state(state), record.now_ms, record.policy, record.number,
            )  # fmt: skip
        beyond = Look(actor="lamp/hall", now_ms=0, view=f"{__name__}:seen", tick=10_000)
        with pytest.raises(UnknownActorError, match="is not kept"):
            await look_at(reader, KINDS, beyond)

    play(scenario)


@settings(deadline=None)
@given(events=st.one_of(LIVES, ENDED), sizes=SIZES, from_seq=st.integers(0, 30))
def test_a_replay_of_any_history_matches(
    events: list[Event], sizes: list[int], from_seq: int
) -> None:
    async def scenario(_clock: SimClock) -> None:
        store = await remember(events, sizes, Policy())
        replay = await look_back(
            MemoryReader(store), KINDS, Back(actor="lamp/hall", from_seq=from_seq)
        )
        assert replay.divergences == ()
        assert replay.match
        if from_seq == 0:
            assert replay.bit_equal
            assert replay.events == len(await MemoryReader(store).log(HALL))

    play(scenario)


def test_a_replay_decides_by_the_policy_of_its_time() -> None:
    async def scenario(_clock: SimClock) -> None:
        events = [Made("sun"), BulbAdded("a"), BulbAdded("b"), SwitchedOn()]
        store = await remember(events, [2], Policy(lit_max=1))
        reader = MemoryReader(store)
        assert (await look_back(reader, KINDS, Back(actor="lamp/hall"))).match
        what_if = await look_back(reader, KINDS, Back(actor="lamp/hall", what_if=True))
        assert what_if.differences == 1
        assert what_if.bit_equal is None
        found = what_if.divergences[0]
        assert found.path.startswith("decisions[1]")
        assert found.recorded is None
        less = Back(actor="lamp/hall", what_if=True, policy={"lit_max": 1})
        assert (await look_back(reader, KINDS, less)).differences == 0

    play(scenario)


def test_rules_that_changed_are_found_with_their_path() -> None:
    async def scenario(_clock: SimClock) -> None:
        events = [Made("sun"), BulbAdded("a"), SwitchedOn(), SwitchedOff(), SwitchedOn()]
        store = await remember(events, [1], Policy())
        row = store.ticks[HALL][3]
        record = decode_record(row.record or b"")
        changed = msgspec.structs.replace(
            record,
            decisions=(msgspec.structs.replace(record.decisions[0], reason="it was dark"),),
        )
        store.ticks[HALL][3] = row._replace(record=msgspec.json.encode(changed))
        replay = await look_back(MemoryReader(store), KINDS, Back(actor="lamp/hall"))
        assert replay.differences == 1
        (found,) = replay.divergences
        assert (found.number, found.path) == (3, "decisions[0].reason")
        assert (found.recorded, found.rehearsed) == ("it was dark", "a should shine")
        # It goes on from the log: the ticks after it are equal again.
        assert replay.ticks == 5
        assert replay.bit_equal

    play(scenario)


def test_a_digest_that_was_not_is_found() -> None:
    async def scenario(_clock: SimClock) -> None:
        store = await remember([Made("sun"), BulbAdded("a")], [1], Policy())
        row = store.ticks[HALL][2]
        record = msgspec.structs.replace(decode_record(row.record or b""), digest="0" * 32)
        store.ticks[HALL][2] = row._replace(record=msgspec.json.encode(record))
        replay = await look_back(MemoryReader(store), KINDS, Back(actor="lamp/hall"))
        assert not replay.match
        assert [found.path for found in replay.divergences] == ["digest"]

    play(scenario)


def test_a_dry_run_goes_forward_and_shows_what_it_would_do() -> None:
    async def scenario(_clock: SimClock) -> None:
        store = await remember([Made("sun"), BulbAdded("a")], [1], Policy())
        journal = MemoryJournal(store, clock=ManualClock(NOW))
        await journal.accept(
            [(HALL, arrive(SwitchedOn(), "on")), (HALL, arrive(Cursed(), "curse"))]
        )
        before = store.clone()
        run = await look_ahead(
            MemoryReader(store), KINDS, Ahead(actor="lamp/hall", now_ms=NOW, ticks=3)
        )
        assert vars(store) == vars(before)
        first, second, third = run.steps
        assert [one.outcome for one in first.inputs] == ["applied", "quarantined"]
        assert first.decisions[0].entity == "a"
        assert first.calls[0][1:] == ("bulb/a", "grid")
        assert run.change.begun == ("light: LightBulb a",)
        # A rehearsal has no outcomes, so the rules try again at each deadline.
        assert [step.now_ms for step in run.steps] == [NOW, NOW + 60_000, NOW + 120_000]
        assert second.decisions[0].rule == third.decisions[0].rule == "light"
        assert (run.seq, run.waiting, run.truncated) == (2, 0, False)

    play(scenario)


def test_a_dry_run_until_drained_takes_everything_that_waits() -> None:
    pending = rows([Made("sun"), *(BulbAdded(f"b{n}") for n in range(200))])
    run = dry_run(KIND, begin(LAMP, HALL), pending, now_ms=NOW, until="drained")
    assert [len(step.inputs) for step in run.steps] == [64, 64, 64, 9]
    one = dry_run(KIND, begin(LAMP, HALL), pending, now_ms=NOW)
    assert (len(one.steps), one.waiting, one.truncated) == (1, 137, True)


def test_violations_are_named_before_and_after() -> None:
    many = [Made("sun"), *(BulbAdded(f"b{n}") for n in range(51))]
    run = dry_run(KIND, begin(LAMP, HALL), rows(many), now_ms=NOW)
    assert run.violations_before == ()
    assert [note.number for note in run.violations_after] == [2]


def test_what_if_looks_ahead_with_invented_events_and_another_policy() -> None:
    async def scenario(_clock: SimClock) -> None:
        store = await remember([Made("sun"), BulbAdded("a"), BulbAdded("b")], [1], Policy())
        reader = MemoryReader(store)
        asked = Ahead(
            actor="lamp/hall",
            now_ms=NOW,
            events=(encode_event(SwitchedOn()),),
            policy={"lit_max": 1},
        )
        (step,) = (await look_ahead(reader, KINDS, asked)).steps
        assert [decision.entity for decision in step.decisions] == ["a"]
        assert [tuple(one) for one in step.suppressed] == [("light", "enough is lit", "b")]
        for wrong, name in (
            (Ahead(actor="lamp/hall", now_ms=NOW, policy={"lit": 1}), "lit"),
            (Ahead(actor="lamp/hall", now_ms=NOW, policy={"lit_max": "x"}), "lit_max"),
            (Ahead(actor="lamp/hall", now_ms=NOW, events=(b'{"type":"x"}',)), "events"),
        ):
            with pytest.raises(ValueError, match=name):
                await look_ahead(reader, KINDS, wrong)

    play(scenario)


def test_why_tells_the_rules_and_the_tick_that_took_an_event() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("hall", Made("sun"), BulbAdded("a"))
            answer = await rig.ask("hall", SwitchedOn())
            await rig.say("hall", SwitchedOff())
            asked = Why(actor="lamp/hall", entity="a", now_ms=clock.now_ms(), event=answer.event)
            why = await look_into(rig.reader, KINDS, asked)
            assert [one.because for one in why.suppressed] == ["the lamp is off"]
            assert why.last is not None
            assert why.last.decisions[0].reason == "a should shine"
            with pytest.raises(UnknownActorError, match="lamp/none"):
                await look_into(rig.reader, KINDS, Why(actor="lamp/none", now_ms=0))
            with pytest.raises(UnknownActorError, match="tick 99"):
                await look_into(rig.reader, KINDS, Why(actor="lamp/hall", now_ms=0, tick=99))
            with pytest.raises(UnknownActorError, match="kind"):
                await look_into(rig.reader, KINDS, Why(actor="town/x", now_ms=0))

    play(scenario)


def test_what_the_live_owner_did_replays_to_the_bit() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("hall", Made("sun"), *(BulbAdded(f"b{n}") for n in range(30)))
            for _ in range(20):
                await rig.say("hall", SwitchedOn(), SwitchedOff())
            replay = await look_back(rig.reader, {"lamp": rig.kind}, Back(actor="lamp/hall"))
            assert replay.divergences == ()
            assert replay.bit_equal
            middle = len(rig.log_of(HALL, limit=10_000)) // 2
            asked = Back(actor="lamp/hall", from_seq=middle)
            late = await look_back(rig.reader, {"lamp": rig.kind}, asked)
            assert late.divergences == ()
            assert 0 < late.ticks < replay.ticks

    for seed in range(3):
        play(scenario, seed=seed)


def test_differences_have_paths() -> None:
    old: Any = {"a": [1, {"b": 2}], "c": 3}
    new: Any = {"a": [1, {"b": 4}, 5], "c": 3}
    assert list(differences(old, new)) == [("a[1].b", 2, 4), ("a[2]", None, 5)]
    assert list(differences(old, old)) == []


def test_nothing_is_known_of_a_fresh_actor() -> None:
    restored = fold_loaded(LAMP, HALL, None)
    assert restored.folded == begin(LAMP, HALL)
    assert restored.notes == ()


def test_a_replay_of_a_pruned_history_begins_where_it_is_kept() -> None:
    async def scenario(clock: SimClock) -> None:
        async with Rig(clock) as rig:
            await rig.say("hall", Made("sun"), BulbAdded("a"))
            for _ in range(25):
                await rig.say("hall", SwitchedOn(), SwitchedOff())
            await asyncio.sleep(1)
            half_ms = clock.now_ms()
            for _ in range(25):
                await rig.say("hall", SwitchedOn(), SwitchedOff())
            whole = await look_back(rig.reader, KINDS, Back(actor="lamp/hall"))
            assert whole.match
            assert await rig.journal.prune(half_ms) > 0
            kept = await look_back(rig.reader, KINDS, Back(actor="lamp/hall"))
            assert kept.match
            assert kept.first_tick > 1
            assert kept.last_tick == whole.last_tick
            assert 0 < kept.ticks < whole.ticks
            with pytest.raises(ValueError, match=r"from_seq 3: .* from \d+ on"):
                await look_back(rig.reader, KINDS, Back(actor="lamp/hall", from_seq=3))

    play(scenario)


def test_a_dry_run_says_what_would_still_wait() -> None:
    async def scenario(clock: SimClock) -> None:
        journal = MemoryJournal(MemoryStore(), clock=clock)
        rig = Rig(clock, journal.store)
        async with rig:
            await rig.say("hall", Made("sun"))
        for n in range(100):
            await journal.accept([(HALL, arrive(BulbAdded(f"b{n}"), f"k{n}"))])
        one = await look_ahead(rig.reader, KINDS, Ahead(actor="lamp/hall", now_ms=clock.now_ms()))
        assert (len(one.steps), one.waiting, one.truncated) == (1, 36, True)
        two = Ahead(actor="lamp/hall", now_ms=clock.now_ms(), ticks=2)
        assert (await look_ahead(rig.reader, KINDS, two)).waiting == 0

    play(scenario)


def test_a_dry_run_tells_which_reasons_are_new_and_which_are_gone() -> None:
    done = live(KIND, split(rows([Made("sun"), BulbAdded("a"), BulbAdded("b")]), [3]))
    before, record = done[-1][0].after, decode_record(done[-1][1].record or b"")
    run = dry_run(KIND, before, rows([SwitchedOn()]), now_ms=NOW, last=record)
    assert run.change.begun == ("light: LightBulb a", "light: LightBulb b")
    assert run.change.ended == ("light: left alone, the lamp is off",)
    still = dry_run(KIND, before, [], now_ms=NOW, last=record)
    assert still.change.same == ("light: left alone, the lamp is off",)
    assert (still.change.begun, still.change.ended) == ((), ())
