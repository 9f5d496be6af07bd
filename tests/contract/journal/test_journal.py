"""What every journal must do; each test is a sentence of `actors/ports.py`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast.actors.definition import Claim, ViewRow
from holdfast.actors.limits import MAILBOX_PENDING_MAX, STATE_INLINE_BYTES_MAX
from holdfast.actors.ports import (
    Alarm,
    ClaimTakenError,
    LeaseLostError,
    Logged,
    MailboxFullError,
    Pending,
    Reader,
    StaleError,
)
from holdfast.kernel.ids import EventId, address, derive
from holdfast.stores.journal_rules import SNAPSHOT_EVENTS
from tests.contract.journal.conftest import Pruned, Store
from tests.contract.journal.rows import (
    NOW,
    A,
    B,
    accept,
    arrival,
    commit,
    effect,
    intent,
    letter,
    probe,
    stamps,
)

# ------------------------------------------------------------------------------- accepting


async def test_an_event_has_the_id_of_its_address_and_dedupe_key(journal: Pruned) -> None:
    assert await accept(journal, "k") == [derive(str(A), "k")]


async def test_accepted_events_wait_in_the_order_of_their_arrival(
    store: Store, journal: Pruned
) -> None:
    ids = await accept(journal, "z", "a", "m")
    found = await journal.pending(A, 10)
    assert [event.id for event in found] == ids
    assert found[0] == Pending(
        id=ids[0],
        body=b"body z",
        version=1,
        source="api",
        accepted_ms=store.clock.now_ms(),
        by="ada",
    )
    assert [event.id for event in await journal.pending(A, 2)] == ids[:2]
    assert await journal.pending(B, 10) == []


async def test_a_repeated_dedupe_key_returns_the_first(journal: Pruned) -> None:
    first = await journal.accept([(A, arrival("k"))])
    again = await journal.accept([(A, arrival("k")), (A, arrival("l")), (A, arrival("l"))])
    assert [event.fresh for event in first + again] == [True, False, True, False]
    assert first[0].id == again[0].id
    assert len(await journal.pending(A, 10)) == 2


async def test_a_dedupe_key_is_the_actors_own(journal: Pruned) -> None:
    taken = await journal.accept([(A, arrival("k")), (B, arrival("k"))])
    assert [event.fresh for event in taken] == [True, True]


async def test_a_dedupe_key_is_known_after_its_event_was_stamped(journal: Pruned) -> None:
    epoch = await journal.lease("me")
    ids = await accept(journal, "k")
    await journal.commit(commit(0, 1, epoch, stamps=stamps(ids, first=1, tick=1)))
    [again] = await journal.accept([(A, arrival("k"))])
    assert again == (ids[0], False)
    assert await journal.pending(A, 10) == []


async def test_accepting_nothing_is_nothing(journal: Pruned) -> None:
    assert await journal.accept([]) == []


async def test_many_producers_lose_nothing_and_keep_their_order(
    store: Store, journal: Pruned
) -> None:
    async def produce(name: str) -> list[EventId]:
        return [(await accept(journal, f"{name}.{n}", source="effect"))[0] for n in range(10)]

    ids = await asyncio.gather(*(produce(f"p{n}") for n in range(64)))
    waiting = [event.id for event in await journal.pending(A, 10_000)]
    assert sorted(waiting) == sorted(event for theirs in ids for event in theirs)
    place = {event: n for n, event in enumerate(waiting)}
    for theirs in ids:
        assert [place[event] for event in theirs] == sorted(place[event] for event in theirs)
    assert [e.id for e in await (await store.reopen()).pending(A, 10_000)] == waiting


async def test_one_key_from_many_at_once_is_fresh_once(journal: Pruned) -> None:
    taken = await asyncio.gather(*(journal.accept([(A, arrival("k"))]) for _ in range(64)))
    assert sum(event.fresh for [event] in taken) == 1
    assert len(await journal.pending(A, 10)) == 1


async def test_a_full_mailbox_refuses_people_but_not_outcomes(
    store: Store, journal: Pruned
) -> None:
    keys = [f"k{n}" for n in range(MAILBOX_PENDING_MAX)]
    ids = await accept(journal, *keys)
    with pytest.raises(MailboxFullError, match="instance/a"):
        await accept(journal, "more")
    with pytest.raises(MailboxFullError):
        await journal.accept([(B, arrival("other")), (A, arrival("more"))])
    assert await journal.pending(B, 1) == []
    assert await accept(journal, "k0") == ids[:1]
    await accept(journal, "outcome", source="effect")
    await accept(journal, "elsewhere", to=B)
    journal = await store.reopen()
    with pytest.raises(MailboxFullError):
        await accept(journal, "more", source="cli")
    epoch = await journal.lease("me")
    await journal.commit(commit(0, 1, epoch, stamps=stamps(ids[:64], first=1, tick=1)))
    await accept(journal, "more")


async def test_actors_that_wait_longest_come_first(journal: Pruned) -> None:
    epoch = await journal.lease("me")
    first = await accept(journal, "1", to=B)
    await accept(journal, "2", to=A)
    await accept(journal, "3", to=B)
    assert await journal.waiting_actors(10) == [B, A]
    assert await journal.waiting_actors(1) == [B]
    await journal.commit(commit(0, 1, epoch, actor=B, stamps=stamps(first, first=1, tick=1)))
    assert await journal.waiting_actors(10) == [A, B]


# ------------------------------------------------------------------------------ committing


async def test_a_commit_gives_events_their_place_and_intents_theirs_behind(
    journal: Pruned, reader: Reader
) -> None:
    epoch = await journal.lease("me")
    ids = await accept(journal, "a", "b")
    assert await journal.stamp(ids[0]) is None
    marks = stamps(ids, first=1, tick=1)
    made = intent("i1", seq=3, tick=1, cause=ids[1])
    await journal.commit(commit(0, 1, epoch, stamps=marks, intents=(made,)))
    assert await journal.pending(A, 10) == []
    assert [await journal.stamp(event) for event in ids] == list(marks)
    log = reader.log(A)
    assert [(e.seq, e.id, e.source) for e in log] == [
        (1, ids[0], "api"),
        (2, ids[1], "api"),
        (3, "i1", "intent"),
    ]
    assert log[2] == made
    assert (log[0].body, log[0].by, log[0].tick) == (b"body a", "ada", 1)


async def test_an_actor_is_loaded_as_it_was_committed(store: Store, journal: Pruned) -> None:
    assert await journal.load(A) is None
    epoch = await journal.lease("me")
    ids = await accept(journal, "a")
    assert await journal.load(A) is None
    await journal.commit(
        commit(
            0,
            1,
            epoch,
            stamps=stamps(ids, first=1, tick=1),
            alarm_ms=NOW + 5,
            alarm_changed=True,
        )
    )
    for loaded in (await journal.load(A), await (await store.reopen()).load(A)):
        assert loaded is not None
        assert (loaded.state, loaded.state_version) == (b"state instance/a 1", 1)
        assert (loaded.seq, loaded.state_seq, loaded.number, loaded.state_tick) == (1, 1, 1, 1)
        assert (loaded.digest, loaded.state_digest) == ("digest 1", "digest 1")
        assert (loaded.alarm_ms, loaded.since) == (NOW + 5, ())


async def test_a_state_that_is_not_written_is_folded_from_the_log_since(
    journal: Pruned, reader: Reader
) -> None:
    epoch = await journal.lease("me")
    large = b"x" * (STATE_INLINE_BYTES_MAX + 1)
    for number in range(1, 4):
        ids = await accept(journal, f"k{number}")
        state = large if number == 1 else None
        marks = stamps(ids, first=number, tick=number)
        await journal.commit(commit(number - 1, number, epoch, stamps=marks, state=state))
    for loaded in (await journal.load(A), reader.load(A)):
        assert loaded is not None
        assert loaded.state == large
        assert (loaded.state_seq, loaded.state_tick, loaded.seq, loaded.number) == (1, 1, 3, 3)
        assert (loaded.state_digest, loaded.digest) == ("digest 1", "digest 3")
        assert [event.seq for event in loaded.since] == [2, 3]


async def test_a_commit_on_another_basis_is_stale_and_writes_nothing(
    journal: Pruned, reader: Reader
) -> None:
    epoch = await journal.lease("me")
    ids = await accept(journal, "a", "b")
    await journal.commit(commit(0, 1, epoch, stamps=stamps(ids[:1], first=1, tick=1)))
    late: dict[str, Any] = {
        "stamps": stamps(ids[1:], first=1, tick=2),
        "effects": (effect("e"),),
        "letters": (letter(B, "l"),),
        "claims": (Claim("name", "x"),),
        "views": (ViewRow("v", "k", "local", b"{}"),),
        "probes": (probe("p"),),
    }
    for wrong in (commit(0, 2, epoch, **late), commit(2, 2, epoch, **late)):
        with pytest.raises(StaleError):
            await journal.commit(wrong)
    assert [e.id for e in await journal.pending(A, 10)] == ids[1:]
    assert await journal.waiting_effects(10) == []
    assert await journal.pending(B, 10) == []
    assert await journal.probes(10) == []
    assert reader.view("v", "k") is None
    assert len(reader.ticks(A)) == 1


async def test_a_tick_number_is_used_once(journal: Pruned) -> None:
    epoch = await journal.lease("me")
    await journal.commit(commit(0, 1, epoch))
    with pytest.raises(StaleError):
        await journal.commit(commit(0, 1, epoch))
    await journal.commit(commit(0, 2, epoch))


async def test_a_stamp_of_what_is_not_pending_is_stale(journal: Pruned) -> None:
    epoch = await journal.lease("me")
    ids = await accept(journal, "a")
    others = await accept(journal, "b", to=B)
    for wrong in (["nobody"], others):
        with pytest.raises(StaleError):
            await journal.commit(commit(0, 1, epoch, stamps=stamps(wrong, first=1, tick=1)))
    await journal.commit(commit(0, 1, epoch, stamps=stamps(ids, first=1, tick=1)))
    with pytest.raises(StaleError):
        await journal.commit(commit(1, 2, epoch, stamps=stamps(ids, first=2, tick=2)))


async def test_one_of_two_commits_at_once_wins(journal: Pruned, reader: Reader) -> None:
    epoch = await journal.lease("me")
    ids = await accept(journal, "a")
    same = commit(0, 1, epoch, stamps=stamps(ids, first=1, tick=1))
    results = await asyncio.gather(
        journal.commit(same),
        journal.commit(same),
        journal.commit(commit(0, 1, epoch, actor=B)),
        return_exceptions=True,
    )
    assert [type(result).__name__ for result in results] == ["NoneType", "StaleError", "NoneType"]
    assert len(reader.log(A)) == 1
    assert await journal.load(B) is not None


async def test_a_new_lease_ends_the_old_one(store: Store, journal: Pruned) -> None:
    old = await journal.lease("first")
    new = await journal.lease("second")
    assert new > old
    with pytest.raises(LeaseLostError):
        await journal.commit(commit(0, 1, old))
    assert await journal.load(A) is None
    journal = await store.reopen()
    assert await journal.lease("third") > new
    with pytest.raises(LeaseLostError):
        await journal.commit(commit(0, 1, new))


# ------------------------------------------------------------------------- claims, letters


async def test_a_claim_is_held_by_one_actor_at_a_time(journal: Pruned) -> None:
    epoch = await journal.lease("me")
    name = Claim("name", "blue")
    await journal.commit(commit(0, 1, epoch, claims=(name,)))
    await journal.commit(commit(0, 2, epoch, claims=(name,)))
    with pytest.raises(ClaimTakenError) as taken:
        await journal.commit(
            commit(0, 1, epoch, actor=B, claims=(name,), letters=(letter(A, "l"),))
        )
    assert (taken.value.claim, taken.value.holder) == (name, A)
    assert await journal.load(B) is None
    assert await journal.pending(A, 1) == []
    await journal.commit(commit(0, 1, epoch, actor=B, claims=(Claim("port", "blue"),)))


async def test_only_its_holder_releases_a_claim(journal: Pruned) -> None:
    epoch = await journal.lease("me")
    name = Claim("name", "blue")
    await journal.commit(commit(0, 1, epoch, claims=(name,)))
    await journal.commit(commit(0, 1, epoch, actor=B, releases=(name,)))
    with pytest.raises(ClaimTakenError):
        await journal.commit(commit(0, 2, epoch, actor=B, claims=(name,)))
    await journal.commit(commit(0, 2, epoch, releases=(name,)))
    await journal.commit(commit(0, 2, epoch, actor=B, claims=(name,)))


async def test_of_many_that_claim_at_once_one_gets_it(journal: Pruned) -> None:
    epoch = await journal.lease("me")
    name = Claim("port", "8701")
    actors = [address("instance", f"i{n}") for n in range(16)]
    results = await asyncio.gather(
        *(journal.commit(commit(0, 1, epoch, actor=a, claims=(name,))) for a in actors),
        return_exceptions=True,
    )
    winners = [a for a, result in zip(actors, results, strict=True) if result is None]
    assert len(winners) == 1
    lost = [r for r in results if isinstance(r, ClaimTakenError)]
    assert [error.holder for error in lost] == winners * 15


async def test_a_letter_is_pending_for_its_receiver_once(journal: Pruned) -> None:
    epoch = await journal.lease("me")
    letters = (letter(B, "a/1/0"), letter(B, "a/1/1"), letter(A, "a/1/2"))
    await journal.commit(commit(0, 1, epoch, letters=letters))
    await journal.commit(commit(0, 2, epoch, letters=letters[:1]))
    found = await journal.pending(B, 10)
    assert [event.body for event in found] == [b"letter a/1/0", b"letter a/1/1"]
    assert found[0] == Pending(
        id=EventId(derive(str(B), "a/1/0")),
        body=b"letter a/1/0",
        version=1,
        source="letter",
        accepted_ms=NOW + 1,
        by=str(A),
    )
    assert await journal.waiting_actors(10) == [B, A]


# ----------------------------------------------------------------------- effects, probes


async def test_effects_wait_in_the_order_of_their_lanes(journal: Pruned, reader: Reader) -> None:
    epoch = await journal.lease("me")
    rows = (effect("z", ordinal=0), effect("a", ordinal=1), effect("m", lane="mail", ordinal=2))
    await journal.commit(commit(0, 1, epoch, effects=rows))
    await journal.commit(commit(0, 1, epoch, actor=B, effects=(effect("b", actor=B),)))
    assert await journal.waiting_effects(10) == [*rows, effect("b", actor=B)]
    page = await journal.waiting_effects(2)
    assert [row.id for row in page] == ["z", "a"]
    assert [row.id for row in await journal.waiting_effects(2, page[-1].id)] == ["m", "b"]
    assert [row.id for row in reader.effects(A)] == ["m", "a", "z"]
    assert [row.id for row in reader.effects(A, limit=1)] == ["m"]
    with pytest.raises(ValueError, match="nobody"):
        await journal.waiting_effects(2, "nobody")


async def test_a_finished_effect_leaves_its_outcome_behind_once(
    journal: Pruned, reader: Reader
) -> None:
    epoch = await journal.lease("me")
    await journal.commit(commit(0, 1, epoch, effects=(effect("e"), effect("f", ordinal=1))))
    outcome = (A, arrival("outcome e", source="effect", cause="e"))
    first = await journal.finish_effect("e", "done", outcome)
    again = await journal.finish_effect("e", "expired", outcome)
    assert first is not None
    assert again is not None
    assert (first.fresh, again.fresh) == (True, False)
    assert await journal.finish_effect("f", "unwanted", None) is None
    assert await journal.finish_effect("nobody", "done", (A, arrival("x"))) is None
    assert [event.id for event in await journal.pending(A, 10)] == [first.id]
    assert await journal.waiting_effects(10) == []
    assert [(row.id, row.status) for row in reader.effects(A)] == [("f", "unwanted"), ("e", "done")]


async def test_a_newer_intent_supersedes_what_waits_in_its_lane(
    journal: Pruned, reader: Reader
) -> None:
    epoch = await journal.lease("me")
    old = (effect("e1"), effect("e2", ordinal=1), effect("mail", lane="mail", ordinal=2))
    await journal.commit(commit(0, 1, epoch, effects=old))
    await journal.commit(commit(0, 1, epoch, actor=B, effects=(effect("theirs", actor=B),)))
    await journal.finish_effect("e1", "done", None)
    new = (effect("e3"), effect("e4", ordinal=1, supersedes=True), effect("e5", ordinal=2))
    await journal.commit(commit(0, 2, epoch, effects=new))
    assert [row.id for row in await journal.waiting_effects(10)] == ["mail", "theirs", "e4", "e5"]
    assert {row.id: row.status for row in reader.effects(A)} == {
        "e1": "done",
        "e2": "superseded",
        "mail": "waiting",
        "e3": "superseded",
        "e4": "waiting",
        "e5": "waiting",
    }
    # It was under way when it was superseded, and came to something after all.
    assert await journal.finish_effect("e2", "done", (A, arrival("late"))) is not None
    assert {row.id: row.status for row in reader.effects(A)}["e2"] == "done"


async def test_probes_stand_until_they_are_taken_down(journal: Pruned) -> None:
    epoch = await journal.lease("me")
    await journal.commit(commit(0, 1, epoch, probes=(probe("p2"), probe("p1"))))
    await journal.commit(commit(0, 1, epoch, actor=B, probes=(probe("p0", actor=B),)))
    found = await journal.probes(10)
    assert found == [probe("p1"), probe("p2"), probe("p0", actor=B)]
    assert await journal.probes(10, (str(A), "p1")) == found[1:]
    assert await journal.probes(1) == found[:1]
    await journal.commit(
        commit(0, 2, epoch, unprobes=("p2",), probes=(probe("p1", period_ms=9_000),))
    )
    assert await journal.probes(10) == [probe("p1", period_ms=9_000), probe("p0", actor=B)]


async def test_a_probes_answer_is_remembered_with_its_event(journal: Pruned) -> None:
    epoch = await journal.lease("me")
    await journal.commit(commit(0, 1, epoch, probes=(probe("p"),)))
    first = await journal.answer_probe(A, "p", "digest", arrival("p 1", source="probe"))
    again = await journal.answer_probe(A, "p", "digest", arrival("p 1", source="probe"))
    assert first is not None
    assert again == (first.id, False)
    assert [row.answer for row in await journal.probes(10)] == ["digest"]
    await journal.commit(commit(0, 2, epoch, unprobes=("p",)))
    assert await journal.answer_probe(A, "p", "other", arrival("p 2")) is None
    assert [event.id for event in await journal.pending(A, 10)] == [first.id]


async def test_alarms_come_the_earliest_first_and_change_only_when_told(journal: Pruned) -> None:
    epoch = await journal.lease("me")
    for n, actor in enumerate((A, B)):
        await journal.commit(
            commit(0, 1, epoch, actor=actor, alarm_ms=NOW + 10 - n, alarm_changed=True)
        )
    await journal.commit(commit(0, 2, epoch, alarm_ms=None))
    assert await journal.alarms(NOW + 10, 10) == [Alarm(B, NOW + 9), Alarm(A, NOW + 10)]
    assert await journal.alarms(NOW + 9, 10) == [Alarm(B, NOW + 9)]
    assert await journal.alarms(NOW + 10, 1) == [Alarm(B, NOW + 9)]
    await journal.commit(commit(0, 2, epoch, actor=B, alarm_ms=None, alarm_changed=True))
    assert await journal.alarms(NOW + 99, 10) == [Alarm(A, NOW + 10)]


# -------------------------------------------------------------------------------- reading


async def test_views_are_paged_by_key_and_account(journal: Pruned, reader: Reader) -> None:
    epoch = await journal.lease("me")
    rows = tuple(
        ViewRow("fleet", key, account, key.encode())
        for key, account in (("c", "ada"), ("a", "ada"), ("b", "bob"), ("d", "ada"))
    )
    ids = await accept(journal, "k")
    await journal.commit(commit(0, 1, epoch, stamps=stamps(ids, first=1, tick=1), views=rows))
    assert reader.view("fleet", "b") == (b"b", "bob", 1)
    assert reader.view("other", "b") is None
    assert reader.views("fleet", account=None) == [(k, k.encode(), 1) for k in "abcd"]
    assert [key for key, _, _ in reader.views("fleet", account="ada", limit=2)] == ["a", "c"]
    assert [key for key, _, _ in reader.views("fleet", account="ada", after="c")] == ["d"]
    await journal.commit(
        commit(
            1,
            2,
            epoch,
            views=(ViewRow("fleet", "a", "bob", b"A"), ViewRow("fleet", "c", "ada", None)),
        )
    )
    assert reader.views("fleet", account="bob") == [("a", b"A", 1), ("b", b"b", 1)]
    assert [key for key, _, _ in reader.views("fleet", account="ada")] == ["d"]


async def test_the_log_and_the_ticks_are_paged_both_ways(journal: Pruned, reader: Reader) -> None:
    epoch = await journal.lease("me")
    for number in range(1, 6):
        ids = await accept(journal, f"k{number}")
        marks = stamps(ids, first=number, tick=number)
        record = None if number == 3 else b"record %d" % number
        await journal.commit(commit(number - 1, number, epoch, stamps=marks, record=record))
    assert [e.seq for e in reader.log(A, after=2, limit=2)] == [3, 4]
    assert [e.seq for e in reader.log_tail(A, limit=2)] == [5, 4]
    assert [e.seq for e in reader.log_tail(A, before=4, limit=2)] == [3, 2]
    assert reader.ticks(A, after=1, limit=2) == [b"record 2", b"record 4"]
    assert reader.log(B) == []
    assert reader.ticks(B) == []


async def test_a_reader_sees_what_waits(journal: Pruned, reader: Reader) -> None:
    await accept(journal, "a", "b")
    assert reader.pending(A, 10) == await journal.pending(A, 10)
    assert len(reader.pending(A, 1)) == 1


async def test_an_actor_is_loaded_as_it_once_was(journal: Pruned, reader: Reader) -> None:
    epoch = await journal.lease("me")
    last = SNAPSHOT_EVENTS * 2 + 10
    for number in range(1, last + 1):
        ids = await accept(journal, f"k{number}")
        marks = stamps(ids, first=number, tick=number)
        await journal.commit(commit(number - 1, number, epoch, stamps=marks))
    at = SNAPSHOT_EVENTS + 5
    loaded = reader.load(A, at_seq=at)
    assert loaded is not None
    assert (loaded.state_seq, loaded.seq, loaded.number) == (SNAPSHOT_EVENTS, at, at)
    assert loaded.state == b"state instance/a %d" % SNAPSHOT_EVENTS
    assert loaded.state_digest == f"digest {SNAPSHOT_EVENTS}"
    assert loaded.digest == f"digest {at}"
    assert [e.seq for e in loaded.since] == list(range(SNAPSHOT_EVENTS + 1, at + 1))
    exact = reader.load(A, at_seq=SNAPSHOT_EVENTS)
    assert exact is not None
    assert (exact.since, exact.digest) == ((), f"digest {SNAPSHOT_EVENTS}")
    early = reader.load(A, at_seq=3)
    assert early is not None
    assert (early.state, early.state_seq, len(early.since)) == (None, 0, 3)
    assert reader.load(A, at_seq=last) == reader.load(A) == await journal.load(A)
    assert reader.load(B, at_seq=1) is None


async def test_policies_are_kept_by_hash(journal: Pruned, reader: Reader) -> None:
    await journal.keep_policy("h", b"policy")
    await journal.keep_policy("h", b"policy")
    assert reader.policy("h") == b"policy"
    assert reader.policy("other") is None


async def test_quarantined_events_are_listed_until_they_are_dropped(
    journal: Pruned, reader: Reader
) -> None:
    epoch = await journal.lease("me")
    ids = await accept(journal, "a", "b")
    theirs = await accept(journal, "c", to=B)
    bad = stamps(ids, first=1, tick=1, outcome="quarantined")
    await journal.commit(commit(0, 1, epoch, stamps=bad))
    bad = stamps(theirs, first=1, tick=1, outcome="quarantined")
    await journal.commit(commit(0, 1, epoch, actor=B, account="bob", stamps=bad))
    found = reader.quarantined(account=None)
    assert [(actor, event.id) for actor, event in found] == [
        (B, theirs[0]),
        (A, ids[1]),
        (A, ids[0]),
    ]
    assert [event.id for _, event in reader.quarantined(account="bob")] == theirs
    assert len(reader.quarantined(account="local", limit=1)) == 1
    assert await journal.drop_quarantined(ids[1], "ada")
    assert not await journal.drop_quarantined(ids[1], "ada")
    assert not await journal.drop_quarantined(EventId("nobody"), "ada")
    assert [event.id for _, event in reader.quarantined(account="local")] == ids[:1]
    dropped = reader.log(A)[1]
    assert (dropped.outcome, dropped.by, dropped.code) == ("dropped", "ada", "why")
    assert "dropped by ada" in dropped.message


async def test_an_operation_is_followed_to_its_outcomes(journal: Pruned, reader: Reader) -> None:
    epoch = await journal.lease("me")
    [event] = await accept(journal, "start")
    waiting = reader.operation(event)
    assert waiting is not None
    assert isinstance(waiting.event, Pending)
    assert (waiting.actor, waiting.account) == (A, "")
    await journal.commit(
        commit(
            0,
            1,
            epoch,
            stamps=stamps([event], first=1, tick=1),
            intents=(intent("i1", seq=2, tick=1, cause=event),),
            effects=(effect("e1", cause="i1"), effect("e2", ordinal=1, cause=event)),
        )
    )
    outcome = await journal.finish_effect(
        "e1", "done", (A, arrival("e1 done", source="effect", cause="e1"))
    )
    assert outcome is not None
    await journal.commit(
        commit(
            2,
            2,
            epoch,
            stamps=stamps([outcome.id], first=3, tick=2),
            intents=(intent("i2", seq=4, tick=2, cause=outcome.id),),
            effects=(effect("e3", cause="i2"),),
        )
    )
    await accept(journal, "unrelated")
    found = reader.operation(event)
    assert found is not None
    assert isinstance(found.event, Logged)
    assert found.account == "local"
    assert [(row.id, row.status) for row in found.effects] == [
        ("e1", "done"),
        ("e2", "waiting"),
        ("e3", "waiting"),
    ]
    assert [row.id for row in found.outcomes] == [outcome.id]
    assert reader.operation(EventId("nobody")) is None


async def test_operations_are_what_was_asked_for_newest_first(
    journal: Pruned, reader: Reader
) -> None:
    epoch = await journal.lease("me")
    first = await accept(journal, "1", source="cli")
    await accept(journal, "2", source="effect")
    theirs = await accept(journal, "3", to=B)
    last = await accept(journal, "4")
    assert [o.event.id for o in reader.operations(account=None)] == [*last, *theirs, *first]
    assert reader.operations(account="local") == []
    await journal.commit(commit(0, 1, epoch, stamps=stamps(first, first=1, tick=1)))
    await journal.commit(commit(0, 1, epoch, actor=B, account="bob"))
    assert [o.event.id for o in reader.operations(account=None, limit=1)] == last
    assert [o.event.id for o in reader.operations(account="local")] == [*last, *first]
    assert [o.event.id for o in reader.operations(account="bob")] == theirs
    assert [o.event.id for o in reader.operations(account=None, actor=A)] == [*last, *first]
    assert reader.operations(account="bob", actor=A) == []


async def test_what_replays_need_outlives_the_rest(store: Store, journal: Pruned) -> None:
    epoch = await journal.lease("me")
    last = SNAPSHOT_EVENTS * 3
    for number in range(1, last + 1):
        [event] = await accept(journal, f"k{number}")
        marks = stamps(
            [event], first=number, tick=number, outcome="quarantined" if number == 2 else "applied"
        )
        effects = (effect(f"e{number}"),) if number in {1, last} else ()
        await journal.commit(commit(number - 1, number, epoch, stamps=marks, effects=effects))
    await journal.finish_effect("e1", "done", None)
    cut = SNAPSHOT_EVENTS * 2
    assert await journal.prune(NOW) == 0
    assert await journal.prune(NOW + cut + 1) > 0
    assert await journal.prune(NOW + cut + 1) == 0
    reader = store.reader()
    assert [e.seq for e in reader.log(A)] == [2, *range(cut + 1, last + 1)]
    assert reader.load(A, at_seq=cut - 1) is None
    kept = reader.load(A, at_seq=cut + 1)
    assert kept is not None
    assert (kept.state_seq, len(kept.since)) == (cut, 1)
    assert len(reader.ticks(A)) == last - cut
    assert [row.id for row in reader.effects(A)] == [f"e{last}"]
    reader.close()
    # A key that was forgotten is taken again; one that was kept is not.
    taken = await journal.accept([(A, arrival("k1")), (A, arrival(f"k{last}"))])
    assert [event.fresh for event in taken] == [True, False]
    journal = await store.reopen()
    assert [e.id for e in await journal.pending(A, 5)] == [taken[0].id]


async def test_closing_finishes_what_was_promised(store: Store, journal: Pruned) -> None:
    promised = [asyncio.ensure_future(accept(journal, f"k{n}")) for n in range(20)]
    await asyncio.sleep(0)
    await journal.close()
    await asyncio.gather(*promised)
    await journal.close()
    assert len(await (await store.reopen()).pending(A, 100)) == 20
