"""What every reader must show; each test is a sentence of `actors/ports.py`."""

from __future__ import annotations

from holdfast.actors.definition import ViewRow
from holdfast.actors.ports import (
    Journal,
    Logged,
    Pending,
    Reader,
)
from holdfast.kernel.ids import EventId
from holdfast.stores.journal_rules import SNAPSHOT_EVENTS
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
    probe,
    stamps,
)


async def test_views_are_paged_by_key_and_account(journal: Journal, reader: Reader) -> None:
    epoch = await journal.lease("me")
    rows = tuple(
        ViewRow("fleet", key, account, key.encode())
        for key, account in (("c", "ada"), ("a", "ada"), ("b", "bob"), ("d", "ada"))
    )
    ids = await accept(journal, "k")
    await journal.commit(commit(0, 1, epoch, stamps=stamps(ids, first=1, tick=1), views=rows))
    assert await reader.view("fleet", "b") == (b"b", "bob", 1)
    assert await reader.view("other", "b") is None
    assert await reader.views("fleet", account=None) == [(k, k.encode(), 1) for k in "abcd"]
    assert [key for key, _, _ in await reader.views("fleet", account="ada", limit=2)] == ["a", "c"]
    assert [key for key, _, _ in await reader.views("fleet", account="ada", after="c")] == ["d"]
    await journal.commit(
        commit(
            1,
            2,
            epoch,
            views=(ViewRow("fleet", "a", "bob", b"A"), ViewRow("fleet", "c", "ada", None)),
        )
    )
    assert await reader.views("fleet", account="bob") == [("a", b"A", 1), ("b", b"b", 1)]
    assert [key for key, _, _ in await reader.views("fleet", account="ada")] == ["d"]


async def test_the_log_and_the_ticks_are_paged_both_ways(journal: Journal, reader: Reader) -> None:
    epoch = await journal.lease("me")
    for number in range(1, 6):
        ids = await accept(journal, f"k{number}")
        marks = stamps(ids, first=number, tick=number)
        record = None if number == 3 else b"record %d" % number
        await journal.commit(commit(number - 1, number, epoch, stamps=marks, record=record))
    assert [e.seq for e in await reader.log(A, after=2, limit=2)] == [3, 4]
    assert [e.seq for e in await reader.log_tail(A, limit=2)] == [5, 4]
    assert [e.seq for e in await reader.log_tail(A, before=4, limit=2)] == [3, 2]
    assert await reader.ticks(A, after=1, limit=2) == [b"record 2", b"record 4"]
    assert await reader.log(B) == []
    assert await reader.ticks(B) == []


async def test_a_reader_sees_what_waits(journal: Journal, reader: Reader) -> None:
    await accept(journal, "a", "b")
    assert await reader.pending(A, 10) == await journal.pending(A, 10)
    assert len(await reader.pending(A, 1)) == 1


async def test_an_actor_is_loaded_as_it_once_was(journal: Journal, reader: Reader) -> None:
    epoch = await journal.lease("me")
    last = SNAPSHOT_EVENTS * 2 + 10
    for number in range(1, last + 1):
        ids = await accept(journal, f"k{number}")
        marks = stamps(ids, first=number, tick=number)
        await journal.commit(commit(number - 1, number, epoch, stamps=marks))
    at = SNAPSHOT_EVENTS + 5
    loaded = await reader.load(A, at_seq=at)
    assert loaded is not None
    assert (loaded.state_seq, loaded.seq, loaded.number) == (SNAPSHOT_EVENTS, at, at)
    assert loaded.state == b"state instance/a %d" % SNAPSHOT_EVENTS
    assert loaded.state_digest == f"digest {SNAPSHOT_EVENTS}"
    assert loaded.digest == f"digest {at}"
    assert [e.seq for e in loaded.since] == list(range(SNAPSHOT_EVENTS + 1, at + 1))
    exact = await reader.load(A, at_seq=SNAPSHOT_EVENTS)
    assert exact is not None
    assert (exact.since, exact.digest) == ((), f"digest {SNAPSHOT_EVENTS}")
    early = await reader.load(A, at_seq=3)
    assert early is not None
    assert (early.state, early.state_seq, len(early.since)) == (None, 0, 3)
    assert await reader.load(A, at_seq=last) == await reader.load(A) == await journal.load(A)
    assert await reader.load(B, at_seq=1) is None


async def test_policies_are_kept_by_hash(journal: Journal, reader: Reader) -> None:
    await journal.keep_policy("h", b"policy")
    await journal.keep_policy("h", b"policy")
    assert await reader.policy("h") == b"policy"
    assert await reader.policy("other") is None


async def test_quarantined_events_are_listed_until_they_are_dropped(
    journal: Journal, reader: Reader
) -> None:
    epoch = await journal.lease("me")
    ids = await accept(journal, "a", "b")
    theirs = await accept(journal, "c", to=B)
    bad = stamps(ids, first=1, tick=1, outcome="quarantined")
    await journal.commit(commit(0, 1, epoch, stamps=bad))
    bad = stamps(theirs, first=1, tick=1, outcome="quarantined")
    await journal.commit(commit(0, 1, epoch, actor=B, account="bob", stamps=bad))
    found = await reader.quarantined(account=None)
    assert [(actor, event.id) for actor, event in found] == [
        (B, theirs[0]),
        (A, ids[1]),
        (A, ids[0]),
    ]
    assert [event.id for _, event in await reader.quarantined(account="bob")] == theirs
    assert len(await reader.quarantined(account="local", limit=1)) == 1
    for after, then in ((theirs[0], ids[1]), (ids[1], ids[0])):
        page = await reader.quarantined(account=None, after=after, limit=1)
        assert [event.id for _, event in page] == [then]
    assert await reader.quarantined(account=None, after=ids[0]) == []
    assert await reader.quarantined(account=None, after="nobody") == []
    assert [event.id for _, event in await reader.quarantined(account=None, actor=B)] == theirs
    assert await reader.quarantined(account="local", actor=B) == []
    assert await journal.drop_quarantined(ids[1], "ada")
    assert not await journal.drop_quarantined(ids[1], "ada")
    assert not await journal.drop_quarantined(EventId("nobody"), "ada")
    assert [event.id for _, event in await reader.quarantined(account="local")] == ids[:1]
    dropped = (await reader.log(A))[1]
    assert (dropped.outcome, dropped.by, dropped.code) == ("dropped", "ada", "why")
    assert "dropped by ada" in dropped.message


async def test_an_operation_is_followed_to_its_outcomes(journal: Journal, reader: Reader) -> None:
    epoch = await journal.lease("me")
    [event] = await accept(journal, "start")
    waiting = await reader.operation(event)
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
    found = await reader.operation(event)
    assert found is not None
    assert isinstance(found.event, Logged)
    assert found.account == "local"
    assert [(row.id, row.status) for row in found.effects] == [
        ("e1", "done"),
        ("e2", "waiting"),
        ("e3", "waiting"),
    ]
    assert [row.id for row in found.outcomes] == [outcome.id]
    assert await reader.operation(EventId("nobody")) is None


async def test_operations_are_what_was_asked_for_newest_first(
    journal: Journal, reader: Reader
) -> None:
    epoch = await journal.lease("me")
    first = await accept(journal, "1", source="cli")
    await accept(journal, "2", source="effect")
    theirs = await accept(journal, "3", to=B)
    last = await accept(journal, "4")
    assert [o.event.id for o in await reader.operations(account=None)] == [*last, *theirs, *first]
    assert await reader.operations(account="local") == []
    await journal.commit(commit(0, 1, epoch, stamps=stamps(first, first=1, tick=1)))
    await journal.commit(commit(0, 1, epoch, actor=B, account="bob"))
    assert [o.event.id for o in await reader.operations(account=None, limit=1)] == last
    assert [o.event.id for o in await reader.operations(account="local")] == [*last, *first]
    assert [o.event.id for o in await reader.operations(account="bob")] == theirs
    assert [o.event.id for o in await reader.operations(account=None, actor=A)] == [*last, *first]
    assert await reader.operations(account="bob", actor=A) == []


async def test_operations_are_read_in_pages(journal: Journal, reader: Reader) -> None:
    epoch = await journal.lease("me")
    first = await accept(journal, "1", "2", source="cli")
    await accept(journal, "3", to=B)
    await accept(journal, "4")
    await journal.commit(commit(0, 1, epoch, stamps=stamps(first, first=1, tick=1)))
    for account, actor in ((None, None), ("local", None), (None, A)):
        whole = [o.event.id for o in await reader.operations(account=account, actor=actor)]
        assert len(whole) >= 3
        pages, page = list[str](), [""]
        while page:
            found = await reader.operations(account=account, actor=actor, after=page[-1], limit=1)
            pages += (page := [o.event.id for o in found])
        assert pages == whole
    assert await reader.operations(account=None, after="gone") == []


async def test_what_replays_need_outlives_the_rest(store: Store, journal: Journal) -> None:
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
    assert [e.seq for e in await reader.log(A)] == [2, *range(cut + 1, last + 1)]
    assert await reader.load(A, at_seq=cut - 1) is None
    kept = await reader.load(A, at_seq=cut + 1)
    assert kept is not None
    assert (kept.state_seq, len(kept.since)) == (cut, 1)
    assert len(await reader.ticks(A)) == last - cut
    assert [row.id for row in await reader.effects(A)] == [f"e{last}"]
    await reader.close()
    # A key that was forgotten is taken again; one that was kept is not.
    taken = await journal.accept([(A, arrival("k1")), (A, arrival(f"k{last}"))])
    assert [event.fresh for event in taken] == [True, False]
    journal = await store.reopen()
    assert [e.id for e in await journal.pending(A, 5)] == [taken[0].id]


async def test_a_log_too_short_for_a_snapshot_is_forgotten_too(
    store: Store, journal: Journal
) -> None:
    epoch = await journal.lease("me")
    for number in (1, 2, 3):
        [event] = await accept(journal, f"k{number}")
        marks = stamps([event], first=number, tick=number)
        await journal.commit(commit(number - 1, number, epoch, stamps=marks))
    assert await journal.prune(NOW + 1) == 0
    # Its oldest event is old, its newest is not: its present state is kept from now on.
    assert await journal.prune(NOW + 2) == 0
    assert await journal.prune(NOW + 4) > 0
    assert await journal.prune(NOW + 4) == 0
    reader = store.reader()
    assert await reader.log(A) == []
    loaded = await reader.load(A)
    assert loaded is not None
    assert (loaded.seq, loaded.state) == (3, f"state {A} 3".encode())
    kept = await journal.load_older(A, 4)
    assert kept is not None
    assert (kept.state, kept.state_seq, kept.digest) == (loaded.state, 3, loaded.digest)
    await reader.close()


async def test_an_actor_is_made_from_older_states_or_its_first_event(journal: Journal) -> None:
    epoch = await journal.lease("me")
    last = SNAPSHOT_EVENTS + 2
    for number in range(1, last + 1):
        [event] = await accept(journal, f"k{number}")
        marks = stamps([event], first=number, tick=number)
        await journal.commit(commit(number - 1, number, epoch, stamps=marks))
    newest = await journal.load_older(A, last + 1)
    assert newest is not None
    assert (newest.state_seq, len(newest.since)) == (SNAPSHOT_EVENTS, 2)
    assert (newest.seq, newest.number, newest.digest) == (last, last, f"digest {last}")
    first = await journal.load_older(A, newest.state_seq)
    assert first is not None
    assert (first.state, first.state_seq, len(first.since)) == (None, 0, last)
    assert first.state_version == newest.state_version
    await journal.prune(NOW + SNAPSHOT_EVENTS + 1)
    assert await journal.load_older(A, newest.state_seq) is None
    assert await journal.load_older(B, 1) is None


async def test_an_actor_is_forgotten_as_a_whole_unless_something_of_it_is_left(
    store: Store, journal: Journal
) -> None:
    epoch = await journal.lease("me")
    [event, held] = await accept(journal, "k1", "k2")
    await journal.commit(
        commit(
            0, 1, epoch, stamps=stamps([event], first=1, tick=1),
            effects=(effect("e1"),), probes=(probe("p"),), alarm_ms=NOW, alarm_changed=True,
        )
    )  # fmt: skip
    assert await journal.actors(10) == [A]
    assert await journal.forget(A, NOW + 1) == 0, "it has newer events"
    await journal.commit(
        commit(1, 2, epoch, stamps=stamps([held], first=2, tick=2), alarm_changed=True)
    )
    assert await journal.forget(A, NOW + 9) == 0, "an effect waits"
    await journal.finish_effect("e1", "done", None)
    assert await journal.forget(A, NOW + 9) == 0, "a probe stands"
    await journal.commit(commit(2, 3, epoch, unprobes=("p",)))
    [waiting] = await accept(journal, "k3")
    assert await journal.forget(A, NOW + 9) == 0, "an event waits"
    marks = stamps([waiting], first=3, tick=4)
    await journal.commit(commit(2, 4, epoch, stamps=marks))
    assert await journal.forget(A, NOW + 9) == 3
    assert await journal.forget(A, NOW + 9) == 0
    reader = store.reader()
    assert await journal.load(A) is None
    assert await journal.actors(10) == []
    assert await reader.log(A) == []
    assert await reader.ticks(A) == []
    assert await reader.effects(A) == []
    # Its address may be used again, from the beginning.
    [again] = await accept(journal, "k1")
    await journal.commit(commit(0, 1, epoch, stamps=stamps([again], first=1, tick=1)))
    assert await journal.actors(10, str(A)) == []
    await reader.close()


async def test_a_quarantined_event_keeps_its_actor(journal: Journal) -> None:
    epoch = await journal.lease("me")
    [event] = await accept(journal, "k1")
    marks = stamps([event], first=1, tick=1, outcome="quarantined")
    await journal.commit(commit(0, 1, epoch, stamps=marks))
    assert await journal.forget(A, NOW + 9) == 0
    await journal.drop_quarantined(event, "ada")
    assert await journal.forget(A, NOW + 9) == 1
