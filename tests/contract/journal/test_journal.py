"""What every journal must do; each test is a sentence of `actors/ports.py`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import structs

from holdfast.actors.definition import Claim, ViewRow
from holdfast.actors.limits import MAILBOX_PENDING_MAX, STATE_INLINE_BYTES_MAX
from holdfast.actors.ports import (
    Alarm,
    ClaimTakenError,
    Journal,
    LeaseLostError,
    MailboxFullError,
    Pending,
    Reader,
    StaleError,
)
from holdfast.kernel.ids import EventId, address, derive
from tests.contract.journal.conftest import Store
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


async def test_an_event_has_the_id_of_its_address_and_dedupe_key(journal: Journal) -> None:
    assert await accept(journal, "k") == [derive(str(A), "k")]


async def test_accepted_events_wait_in_the_order_of_their_arrival(
    store: Store, journal: Journal
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


async def test_a_repeated_dedupe_key_returns_the_first(journal: Journal) -> None:
    first = await journal.accept([(A, arrival("k"))])
    again = await journal.accept([(A, arrival("k")), (A, arrival("l")), (A, arrival("l"))])
    assert [event.fresh for event in first + again] == [True, False, True, False]
    assert first[0].id == again[0].id
    assert len(await journal.pending(A, 10)) == 2


async def test_a_dedupe_key_is_the_actors_own(journal: Journal) -> None:
    taken = await journal.accept([(A, arrival("k")), (B, arrival("k"))])
    assert [event.fresh for event in taken] == [True, True]


async def test_a_dedupe_key_is_known_after_its_event_was_stamped(journal: Journal) -> None:
    epoch = await journal.lease("me")
    ids = await accept(journal, "k")
    await journal.commit(commit(0, 1, epoch, stamps=stamps(ids, first=1, tick=1)))
    [again] = await journal.accept([(A, arrival("k"))])
    assert again == (ids[0], False)
    assert await journal.pending(A, 10) == []


async def test_what_was_asked_for_with_a_key_is_kept_once(store: Store, journal: Journal) -> None:
    event = EventId(derive(str(A), "k"))
    assert await journal.keep_asked(event, "one") == "one"
    assert await journal.keep_asked(event, "another") == "one"
    assert await store.open().keep_asked(event, "another") == "one", "it is durable"
    assert await journal.keep_asked(EventId(derive(str(B), "k")), "another") == "another"


async def test_what_was_asked_for_is_forgotten_like_the_keys(
    store: Store, journal: Journal
) -> None:
    event = EventId(derive(str(A), "k"))
    await journal.keep_asked(event, "one")
    before_ms = store.clock.now_ms()
    assert await journal.prune(before_ms) == 0
    assert await journal.keep_asked(event, "another") == "one"
    assert await journal.prune(before_ms + 1) == 1
    assert await journal.keep_asked(event, "another") == "another"


async def test_accepting_nothing_is_nothing(journal: Journal) -> None:
    assert await journal.accept([]) == []


async def test_many_producers_lose_nothing_and_keep_their_order(
    store: Store, journal: Journal
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


async def test_one_key_from_many_at_once_is_fresh_once(journal: Journal) -> None:
    taken = await asyncio.gather(*(journal.accept([(A, arrival("k"))]) for _ in range(64)))
    assert sum(event.fresh for [event] in taken) == 1
    assert len(await journal.pending(A, 10)) == 1


async def test_a_full_mailbox_refuses_people_but_not_outcomes(
    store: Store, journal: Journal
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


async def test_actors_that_wait_longest_come_first(journal: Journal) -> None:
    epoch = await journal.lease("me")
    first = await accept(journal, "1", to=B)
    await accept(journal, "2", to=A)
    await accept(journal, "3", to=B)
    assert await journal.waiting_actors(10) == [B, A]
    assert await journal.waiting_actors(1) == [B]
    assert await journal.waiting_actors(1, 1) == [A]
    assert await journal.waiting_actors(1, 2) == []
    await journal.commit(commit(0, 1, epoch, actor=B, stamps=stamps(first, first=1, tick=1)))
    assert await journal.waiting_actors(10) == [A, B]


# ------------------------------------------------------------------------------ committing


async def test_a_commit_gives_events_their_place_and_intents_theirs_behind(
    journal: Journal, reader: Reader
) -> None:
    epoch = await journal.lease("me")
    ids = await accept(journal, "a", "b")
    assert await journal.stamp(ids[0]) is None
    marks = stamps(ids, first=1, tick=1)
    made = intent("i1", seq=3, tick=1, cause=ids[1])
    await journal.commit(commit(0, 1, epoch, stamps=marks, intents=(made,)))
    assert await journal.pending(A, 10) == []
    assert [await journal.stamp(event) for event in ids] == list(marks)
    log = await reader.log(A)
    assert [(e.seq, e.id, e.source) for e in log] == [
        (1, ids[0], "api"),
        (2, ids[1], "api"),
        (3, "i1", "intent"),
    ]
    assert log[2] == made
    assert (log[0].body, log[0].by, log[0].tick) == (b"body a", "ada", 1)


async def test_an_actor_is_loaded_as_it_was_committed(store: Store, journal: Journal) -> None:
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
    journal: Journal, reader: Reader
) -> None:
    epoch = await journal.lease("me")
    large = b"x" * (STATE_INLINE_BYTES_MAX + 1)
    for number in range(1, 4):
        ids = await accept(journal, f"k{number}")
        state = large if number == 1 else None
        marks = stamps(ids, first=number, tick=number)
        await journal.commit(commit(number - 1, number, epoch, stamps=marks, state=state))
    for loaded in (await journal.load(A), await reader.load(A)):
        assert loaded is not None
        assert loaded.state == large
        assert (loaded.state_seq, loaded.state_tick, loaded.seq, loaded.number) == (1, 1, 3, 3)
        assert (loaded.state_digest, loaded.digest) == ("digest 1", "digest 3")
        assert [event.seq for event in loaded.since] == [2, 3]


async def test_a_commit_on_another_basis_is_stale_and_writes_nothing(
    journal: Journal, reader: Reader
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
    assert await reader.view("v", "k") is None
    assert len(await reader.ticks(A)) == 1


async def test_a_tick_number_is_used_once(journal: Journal) -> None:
    epoch = await journal.lease("me")
    await journal.commit(commit(0, 1, epoch))
    with pytest.raises(StaleError):
        await journal.commit(commit(0, 1, epoch))
    await journal.commit(commit(0, 2, epoch))


async def test_a_stamp_of_what_is_not_pending_is_stale(journal: Journal) -> None:
    epoch = await journal.lease("me")
    ids = await accept(journal, "a")
    others = await accept(journal, "b", to=B)
    for wrong in (["nobody"], others):
        with pytest.raises(StaleError):
            await journal.commit(commit(0, 1, epoch, stamps=stamps(wrong, first=1, tick=1)))
    await journal.commit(commit(0, 1, epoch, stamps=stamps(ids, first=1, tick=1)))
    with pytest.raises(StaleError):
        await journal.commit(commit(1, 2, epoch, stamps=stamps(ids, first=2, tick=2)))


async def test_one_of_two_commits_at_once_wins(journal: Journal, reader: Reader) -> None:
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
    assert len(await reader.log(A)) == 1
    assert await journal.load(B) is not None


async def test_a_new_lease_ends_the_old_one(store: Store, journal: Journal) -> None:
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


async def test_a_claim_is_held_by_one_actor_at_a_time(journal: Journal) -> None:
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


async def test_only_its_holder_releases_a_claim(journal: Journal) -> None:
    epoch = await journal.lease("me")
    name = Claim("name", "blue")
    await journal.commit(commit(0, 1, epoch, claims=(name,)))
    await journal.commit(commit(0, 1, epoch, actor=B, releases=(name,)))
    with pytest.raises(ClaimTakenError):
        await journal.commit(commit(0, 2, epoch, actor=B, claims=(name,)))
    await journal.commit(commit(0, 2, epoch, releases=(name,)))
    await journal.commit(commit(0, 2, epoch, actor=B, claims=(name,)))


async def test_of_many_that_claim_at_once_one_gets_it(journal: Journal) -> None:
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


async def test_a_letter_is_pending_for_its_receiver_once(journal: Journal) -> None:
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


async def test_effects_wait_in_the_order_of_their_lanes(journal: Journal, reader: Reader) -> None:
    epoch = await journal.lease("me")
    rows = (effect("z", ordinal=0), effect("a", ordinal=1), effect("m", lane="mail", ordinal=2))
    await journal.commit(commit(0, 1, epoch, effects=rows))
    await journal.commit(commit(0, 1, epoch, actor=B, effects=(effect("b", actor=B),)))
    assert await journal.waiting_effects(10) == [*rows, effect("b", actor=B)]
    page = await journal.waiting_effects(2)
    assert [row.id for row in page] == ["z", "a"]
    assert [row.id for row in await journal.waiting_effects(2, page[-1].id)] == ["m", "b"]
    assert [row.id for row in await reader.effects(A)] == ["m", "a", "z"]
    assert [row.id for row in await reader.effects(A, limit=1)] == ["m"]
    with pytest.raises(ValueError, match="nobody"):
        await journal.waiting_effects(2, "nobody")


async def test_a_finished_effect_leaves_its_outcome_behind_once(
    journal: Journal, reader: Reader
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
    assert [(row.id, row.status) for row in await reader.effects(A)] == [
        ("f", "unwanted"),
        ("e", "done"),
    ]


async def test_a_newer_intent_supersedes_what_waits_in_its_lane(
    journal: Journal, reader: Reader
) -> None:
    epoch = await journal.lease("me")
    old = (effect("e1"), effect("e2", ordinal=1), effect("mail", lane="mail", ordinal=2))
    await journal.commit(commit(0, 1, epoch, effects=old))
    await journal.commit(commit(0, 1, epoch, actor=B, effects=(effect("theirs", actor=B),)))
    await journal.finish_effect("e1", "done", None)
    new = (effect("e3"), effect("e4", ordinal=1, supersedes=True), effect("e5", ordinal=2))
    await journal.commit(commit(0, 2, epoch, effects=new))
    assert [row.id for row in await journal.waiting_effects(10)] == ["mail", "theirs", "e4", "e5"]
    assert {row.id: row.status for row in await reader.effects(A)} == {
        "e1": "done",
        "e2": "superseded",
        "mail": "waiting",
        "e3": "superseded",
        "e4": "waiting",
        "e5": "waiting",
    }
    # It was under way when it was superseded, and came to something after all.
    assert await journal.finish_effect("e2", "done", (A, arrival("late"))) is not None
    assert {row.id: row.status for row in await reader.effects(A)}["e2"] == "done"


async def test_probes_stand_until_they_are_taken_down(journal: Journal) -> None:
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


async def test_a_probe_that_asks_the_same_at_other_times_keeps_its_answer(
    journal: Journal,
) -> None:
    epoch = await journal.lease("one")
    await journal.commit(commit(0, 1, epoch, probes=(probe("p"), probe("q"))))
    for key in ("p", "q"):
        await journal.answer_probe(A, key, "digest", arrival(f"{key} 1", source="probe"))
    other = structs.replace(probe("q"), epoch=2)
    await journal.commit(commit(0, 2, epoch, probes=(probe("p", period_ms=9_000), other)))
    rows = await journal.probes(10)
    assert [(row.period_ms, row.epoch, row.answer) for row in rows] == [
        (9_000, 1, "digest"),
        (1_000, 2, ""),
    ]


async def test_a_probes_answer_is_remembered_with_its_event(journal: Journal) -> None:
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


async def test_alarms_come_the_earliest_first_and_change_only_when_told(journal: Journal) -> None:
    epoch = await journal.lease("me")
    for n, actor in enumerate((A, B)):
        await journal.commit(
            commit(0, 1, epoch, actor=actor, alarm_ms=NOW + 10 - n, alarm_changed=True)
        )
    await journal.commit(commit(0, 2, epoch, alarm_ms=None))
    assert await journal.alarms(NOW + 10, 10) == [Alarm(B, NOW + 9), Alarm(A, NOW + 10)]
    assert await journal.alarms(NOW + 9, 10) == [Alarm(B, NOW + 9)]
    assert await journal.alarms(NOW + 10, 1) == [Alarm(B, NOW + 9)]
    assert await journal.alarms(NOW + 10, 1, Alarm(B, NOW + 9)) == [Alarm(A, NOW + 10)]
    assert await journal.alarms(NOW + 10, 1, Alarm(A, NOW + 10)) == []
    await journal.commit(commit(0, 2, epoch, actor=B, alarm_ms=None, alarm_changed=True))
    assert await journal.alarms(NOW + 99, 10) == [Alarm(A, NOW + 10)]


async def test_closing_finishes_what_was_promised(store: Store, journal: Journal) -> None:
    promised = [asyncio.ensure_future(accept(journal, f"k{n}")) for n in range(20)]
    await asyncio.sleep(0)
    await journal.close()
    await asyncio.gather(*promised)
    await journal.close()
    assert len(await (await store.reopen()).pending(A, 100)) == 20
