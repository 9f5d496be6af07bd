"""What every store of corrections must do: equal corrections are one row, whatever the route.

Run on memory and on SQLite.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import permutations
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.corrections.gradata import empty, read_events, read_single
from holdfast.corrections.limits import (
    EVENT_IDS_KEPT,
    GRADATA_CUT,
    GRADATA_SINGLE_CUT,
    PURGE_ROWS,
)
from holdfast.corrections.ports import CorrectionQuery, CorrectionRow, CorrectionsStore, LessonQuery
from holdfast.corrections.records import Arrival, Brain, BrainKey, Forgotten, Written
from holdfast.stores.memory.corrections import MemoryCorrections
from holdfast.stores.sqlite.corrections import open_corrections
from holdfast.wire.api.ingest import IngestRequest
from holdfast.wire.limits import INGEST_ROWS_MAX, PREVIEW_MAX
from tests.support.toys.brains import NOW, arrival, correction, event, lesson

FAR = 2**62


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[CorrectionsStore]:
    opened: CorrectionsStore = (
        MemoryCorrections()
        if request.param == "memory"
        else open_corrections(tmp_path / "intake.db", now_ms=NOW)
    )
    yield opened
    await opened.close()


async def put(store: CorrectionsStore, *arrivals: Arrival, forgotten_ms: int = 0) -> list[Written]:
    return await store.write(arrivals, forgotten=Forgotten(forgotten_ms, forgotten_ms))


async def rows(store: CorrectionsStore, **query: Any) -> list[CorrectionRow]:
    asked = CorrectionQuery(None, FAR, 500, **query)
    if not asked.words:
        return list(await store.corrections(asked))
    found = await store.search(asked)
    assert not found.below
    return list(found.rows)


def synced(draft: str, final: str, *, session: int | None = 3, event_id: str = "ULID-1") -> Arrival:
    """Return a correction as /sync of the gradata SDK brings it."""
    found = {
        "event_id": event_id, "type": "CORRECTION", "session": session,
        "created_at": "2026-05-28T10:00:00+00:00",
        "data": {"draft_text": draft[:GRADATA_CUT], "final_text": final[:GRADATA_CUT],
                 "category": "TONE", "severity": "major"},
    }  # fmt: skip
    read = empty()
    read_events([msgspec.Raw(msgspec.json.encode(found))], NOW, read)
    made = arrival(route="sync", source="gradata sync")
    made.corrections = read.corrections
    return made


async def test_what_was_sent_is_held_whole(store: CorrectionsStore) -> None:
    sent = arrival(correction(1, "größe", "Größe", context="why"), lesson(2), event(3))
    (written,) = await put(store, sent)
    assert (written.accepted, written.deduplicated, written.lessons) == (3, 0, True)
    assert written.standing.numbers.high_water == 3
    whole = await store.correction(1, "local")
    assert whole is not None
    assert (whole.draft, whole.final, whole.context) == ("größe", "Größe", "why")
    assert (whole.event_ids, whole.source, whole.seq) == (("c-1",), "src-1", 1)
    assert await store.correction(1, "other") is None
    assert await store.correction(2, None) is None


async def test_a_replay_changes_nothing(store: CorrectionsStore) -> None:
    sent = arrival(correction(1), lesson(2), event(3))
    await put(store, sent)
    for _ in range(3):
        (again,) = await put(store, sent)
        assert (again.accepted, again.deduplicated) == (0, 3)
        assert again.standing.numbers.high_water == 3
    assert [max(row.via) for row in await rows(store)] == [1]


async def test_a_replay_within_one_group_changes_nothing(store: CorrectionsStore) -> None:
    sent = arrival(correction(1), event(2))
    first, second = await put(store, sent, sent)
    assert (first.accepted, second.accepted, second.deduplicated) == (2, 0, 2)
    assert [max(row.via) for row in await rows(store)] == [1]


@pytest.mark.parametrize("grouped", [True, False])
async def test_a_repeat_raises_the_count_and_another_session_is_a_recurrence(
    store: CorrectionsStore, *, grouped: bool
) -> None:
    sent = [
        arrival(correction(1)),
        arrival(correction(2)),  # a repeat, by a sender that does not count
        arrival(correction(3, session="s2")),
        arrival(correction(4, session=None, day="2026-05-28")),
        arrival(correction(5, session=None, day="2026-05-29")),
    ]
    if grouped:
        await put(store, *sent)
    else:
        for one in sent:
            await put(store, one)
    found = await rows(store)
    assert [(row.session, max(row.via), row.recurrences) for row in found] == [
        (None, 1, 3), (None, 1, 3), ("s2", 1, 3), ("s1", 2, 3)
    ]  # fmt: skip
    whole = await store.correction(found[-1].no, None)
    assert whole is not None
    assert whole.event_ids == ("c-1", "c-2")


async def test_a_sender_that_counts_is_believed_and_its_steps_may_skip_or_turn(
    store: CorrectionsStore,
) -> None:
    await put(store, arrival(correction(3, event_id="c-1~3", count=3)))
    await put(store, arrival(correction(1, event_id="c-1", count=1)))
    await put(store, arrival(correction(2, event_id="c-1~2", count=2)))
    assert [max(row.via) for row in await rows(store)] == [3]
    await put(store, arrival(correction(4, event_id="c-1~50", count=50)))
    assert [max(row.via) for row in await rows(store)] == [50]


async def test_an_event_id_is_one_correction_whatever_it_says_later(
    store: CorrectionsStore,
) -> None:
    await put(store, arrival(correction(1, "a", "b")))
    (again,) = await put(store, arrival(correction(9, "c", "d", event_id="c-1")))
    assert (again.accepted, again.deduplicated) == (0, 1)
    (other,) = await put(store, arrival(correction(1, "c", "d"), brain=2))
    assert other.accepted == 1, "an id of one brain says nothing about another's"


@pytest.mark.parametrize("ours_first", [True, False])
@pytest.mark.parametrize("length", [20, GRADATA_CUT, 5 * GRADATA_CUT])
@pytest.mark.parametrize("grouped", [True, False])
async def test_one_correction_by_three_routes_is_one_and_whole(
    store: CorrectionsStore, *, ours_first: bool, length: int, grouped: bool
) -> None:
    draft, final = "d" * length, "f" * length
    ours = arrival(correction(1, draft, final, session="3", severity="minor"))
    pushed = synced(draft, final, event_id="ULID-2")
    pushed.route = "push"
    sent = [ours, synced(draft, final), pushed]
    if not ours_first:
        sent.reverse()
    if grouped:
        written = await put(store, *sent)
    else:
        written = [(await put(store, one))[0] for one in sent]
    assert [one.accepted for one in written] == [1, 0, 0]
    (row,) = await rows(store)
    assert row.via == (1, 0, 1, 1, 0)
    whole = await store.correction(row.no, None)
    assert whole is not None
    assert (whole.draft, whole.final) == (draft, final)
    again = [(await put(store, one))[0].accepted for one in sent]
    assert again == [0, 0, 0]


def written_through(draft: str, final: str, *, session: int = 3) -> Arrival:
    """Return a correction as the write-through of the gradata SDK brings it."""
    cut = {"draft": draft[:GRADATA_SINGLE_CUT], "final": final[:GRADATA_SINGLE_CUT]}
    sent = {"correction": {**cut, "session": session}, "event_id": "single-1"}
    read = read_single(msgspec.json.decode(msgspec.json.encode(sent), type=IngestRequest), NOW)
    assert read is not None
    made = arrival(route="single", source="gradata single")
    made.corrections = [read]
    return made


@pytest.mark.parametrize("groups", [(3,), (1, 1, 1), (1, 2), (2, 1)])
@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_a_text_that_two_routes_cut_at_two_lengths_is_one_in_every_order(
    store: CorrectionsStore, *, order: tuple[int, ...], groups: tuple[int, ...]
) -> None:
    draft = "d" * GRADATA_SINGLE_CUT + " behindboth ".ljust(4_000, "d")
    final = "f" * 12_000
    routes = [
        arrival(correction(1, draft, final, session="3")),
        written_through(draft, final),
        synced(draft, final),
    ]
    waiting = [routes[at] for at in order]
    for many in groups:
        await put(store, *waiting[:many])
        del waiting[:many]
    (row,) = await rows(store)
    assert row.via == (1, 1, 1, 0, 0)
    whole = await store.correction(row.no, None)
    assert whole is not None
    assert (whole.draft, whole.final) == (draft, final)
    assert [one.no for one in await rows(store, words='"behindboth"')] == [row.no]


async def test_texts_that_differ_behind_the_cut_stay_two(store: CorrectionsStore) -> None:
    long = "w" * GRADATA_CUT
    await put(store, arrival(correction(1, long + "a", "x"), correction(2, long + "b", "x")))
    assert len(await rows(store)) == 2


async def test_gaps_are_named_and_closed_and_refused_numbers_count_as_come(
    store: CorrectionsStore,
) -> None:
    await put(store, arrival(correction(1), correction(5, "x", "y")))
    poison = {"seq": 3, "kind": "?", "event_id": "p", "payload": {}}
    (written,) = await put(store, arrival(poison, correction(9, "z", "y")))
    assert written.standing.numbers.gaps == ((2, 2), (4, 4), (6, 8))
    assert written.standing.numbers.high_water == 1
    (written,) = await put(store, arrival(correction(2, "q", "y", event_id="q"), source="another"))
    assert written.standing.numbers.gaps == ((1, 1),)
    (written,) = await put(store, arrival(correction(2, "r", "y")))
    assert written.standing.numbers.high_water == 3
    kept = await store.load(refused_since_hour=0)
    assert {s.source: s.numbers.gaps for s in kept.standings} == {
        "src-1": ((4, 4), (6, 8)), "another": ((1, 1),)
    }  # fmt: skip
    counts = {(c.sdk, c.accepted, c.deduplicated, c.refused) for c in kept.counts}
    assert counts == {("holdfast/0.1.0", 5, 0, 1)}


async def test_a_number_that_is_used_again_for_something_new_loses_nothing(
    store: CorrectionsStore,
) -> None:
    await put(store, arrival(*[correction(n, f"a{n}", "b") for n in range(1, 6)]))
    # A folder that was put back from a copy numbers its rows from an earlier number on.
    restored = [correction(n, f"new{n}", "b", event_id=f"n-{n}") for n in range(3, 6)]
    (written,) = await put(store, arrival(*restored))
    assert written.accepted == 3


async def test_what_was_forgotten_is_not_taken_again(store: CorrectionsStore) -> None:
    old = arrival(*[correction(n, f"word{n}", "b") for n in range(1, 4)], event(4))
    await put(store, old)
    gone = 0
    while part := await store.purge(Forgotten(NOW + 1, NOW)):
        gone += part
    assert gone == 3
    assert not await rows(store)
    assert not await rows(store, words='"word1"')
    (again,) = await put(store, old, forgotten_ms=NOW + 1)
    assert (again.accepted, again.deduplicated) == (0, 4)
    (new,) = await put(store, arrival(correction(5, "new", "b")), forgotten_ms=NOW)
    assert new.accepted == 1
    assert [row.no for row in await rows(store)] == [4], "a number is never used twice"


async def test_a_page_dated_in_the_future_hides_no_older_row(store: CorrectionsStore) -> None:
    ahead = [correction(n, f"ahead{n}", "b") for n in range(1, PURGE_ROWS + 2)]
    ahead += [event(n) for n in range(PURGE_ROWS + 2, 2 * PURGE_ROWS + 3)]
    for start in range(0, len(ahead), INGEST_ROWS_MAX):
        sent = arrival(*ahead[start : start + INGEST_ROWS_MAX])
        sent.received_ms = NOW + 1_000
        await put(store, sent)
    last = 2 * PURGE_ROWS + 3
    await put(store, arrival(correction(last, "late", "b"), event(last + 1)))
    gone = 0
    while part := await store.purge(Forgotten(NOW + 1, NOW + 1)):
        gone += part
    assert gone == 2
    assert not await rows(store, words='"late"')
    assert (await store.extent(1))[1] == PURGE_ROWS + 1
    while part := await store.purge(Forgotten(NOW + 1_001, NOW + 1_001)):
        gone += part
    assert gone == 2 + 2 * (PURGE_ROWS + 1)


async def test_lessons_take_the_newest_telling_and_keep_what_people_decided(
    store: CorrectionsStore,
) -> None:
    await put(store, arrival(lesson(2, confidence=0.7)))
    decided = await store.decide(1, "approved", by="ada", account="local", now_ms=NOW + 5)
    assert decided is not None
    assert (decided.decision, decided.decided_by, decided.decided_ms) == (
        "approved",
        "ada",
        NOW + 5,
    )
    assert await store.decide(1, "rejected", by="eve", account="other", now_ms=NOW) is None
    (newer,) = await put(store, arrival(lesson(3, confidence=0.9, state="RULE")))
    late = {**lesson(1, confidence=0.1), "at_ms": NOW + 500}  # before its clock was set back
    (older,) = await put(store, arrival(late))
    assert (newer.accepted, older.accepted, older.lessons) == (1, 0, False)
    query = LessonQuery("local", FAR, FAR, 10)
    (row,) = await store.lessons(query)
    assert (row.confidence, row.state, row.decision) == (0.9, "RULE", "approved")
    assert not await store.lessons(query._replace(account="other"))
    assert not await store.lessons(query._replace(decision=""))


async def test_decisions_are_given_in_their_order_a_page_at_a_time(
    store: CorrectionsStore,
) -> None:
    await put(store, arrival(*(lesson(n, f"l{n}") for n in range(1, 6))))
    for no in (3, 1, 5, 3):
        await store.decide(no, "approved", by="ada", account=None, now_ms=NOW)
    found = await store.verdicts(1, since=0, limit=2)
    assert [(row.lesson_id, row.verdict_no) for row in found] == [("l1", 2), ("l5", 3)]
    assert [row.no for row in await store.verdicts(1, since=3, limit=2)] == [3]
    assert await store.verdicts(2, since=0, limit=2) == []
    await store.take_verdicts(1, 3, NOW)
    await store.take_verdicts(1, 2, NOW)
    assert (await store.load(refused_since_hour=0)).verdicts == [(1, 4, 3)]


async def test_search_finds_all_words_in_any_text_and_narrows_by_account(
    store: CorrectionsStore,
) -> None:
    await put(
        store,
        arrival(correction(1, "the quick brown fox", "a slow Größe", category="style")),
        arrival(correction(1, "the quick red fox", "b", severity="major"), brain=2),
    )
    assert len(await rows(store, words='"quick" "fox"')) == 2
    assert [r.brain for r in await rows(store, words='"quick" "grosse" *')] == []
    assert [r.brain for r in await rows(store, words='"quick" "groß" *')] == [1]
    assert [r.brain for r in await rows(store, words='"quick"', brain=2)] == [2]
    assert [r.brain for r in await rows(store, words='"quick"', severity="major")] == [2]
    assert [r.brain for r in await rows(store, category="STYLE")] == [1]
    assert [r.brain for r in await rows(store)] == [2, 1]


async def test_ids_of_one_correction_are_bounded(store: CorrectionsStore) -> None:
    many = EVENT_IDS_KEPT + 20
    await put(store, *[arrival(correction(n)) for n in range(1, many + 1)])
    (row,) = await rows(store)
    whole = await store.correction(row.no, None)
    assert whole is not None
    assert len(whole.event_ids) == EVENT_IDS_KEPT
    assert max(row.via) == many
    (again,) = await put(store, arrival(correction(many)))  # known by its number alone
    assert again.deduplicated == 1
    assert max((await rows(store))[0].via) == many


async def test_what_is_held_in_memory_comes_back(store: CorrectionsStore, tmp_path: Path) -> None:
    made = await store.add_brain(Brain(no=0, id="brn_1", name="kalle", account="local"))
    same = await store.add_brain(Brain(no=0, id="brn_2", name="kalle", account="local"))
    assert (made.no, made) == (1, same)
    await store.add_alias("local", "uuid-1", made.no)
    await store.add_alias("local", "uuid-1", 7)
    poison = {"seq": 1, "kind": "?", "event_id": "p", "payload": {}}
    await put(store, arrival(poison, queue={"depth": 5, "oldest_ms": 70}))
    kept = await store.load(refused_since_hour=0)
    assert list(kept.brains) == [made]
    assert list(kept.aliases) == [("local", "uuid-1", 1)]
    (standing,) = kept.standings
    assert (standing.depth, standing.oldest_ms, standing.heard_ms) == (4, 70, NOW)
    assert [(brain, many) for brain, _, many in kept.refused] == [(1, 1)]


async def test_events_lessons_and_senders_go_when_their_time_is_over(
    store: CorrectionsStore,
) -> None:
    await put(store, arrival(event(1), lesson(2, "kept"), lesson(3, "gone")))
    await store.decide(1, "approved", by="ada", account=None, now_ms=NOW)
    assert await store.purge(Forgotten(NOW + 100, NOW + 100)) == 1
    kept = await store.load(refused_since_hour=0)
    assert not kept.standings
    query = LessonQuery(None, FAR, FAR, 10)
    assert [row.lesson_id for row in await store.lessons(query)] == ["kept"]
    (again,) = await put(store, arrival(event(1)))
    assert again.accepted == 1


async def test_keys_are_used_and_revoked_once(store: CorrectionsStore) -> None:
    for name in ("a", "b"):
        key = BrainKey(id=name, hash=f"hash-{name}", name=name, account="local", created_at_ms=NOW)
        await store.add_key(key)
    await store.note_uses({"a": NOW + 5, "nobody": NOW})
    await store.note_uses({"a": NOW + 3})
    await store.revoke_key("b", NOW + 1)
    await store.revoke_key("b", NOW + 2)
    await store.revoke_key("nobody", NOW)
    kept = {key.id: key for key in (await store.load(refused_since_hour=0)).keys}
    assert [(key.last_used_at_ms, key.revoked_at_ms) for key in (kept["a"], kept["b"])] == [
        (NOW + 5, None), (None, NOW + 1)
    ]  # fmt: skip


async def test_a_brain_is_counted_by_hour_and_session(store: CorrectionsStore) -> None:
    await put(
        store,
        arrival(correction(1), correction(2, "a", session="s2", severity="major")),
        arrival(correction(3, "b", session=None)),
        arrival(correction(1), brain=2),
    )
    hour = (NOW - 1_000) // 3_600_000
    assert await store.hours(1, hour) == [(hour, "major", 1), (hour, "minor", 2)]
    assert await store.hours(1, hour + 1) == []
    assert await store.extent(1) == (2, 3)
    assert await store.extent(3) == (0, 0)


def by_route(route: str, number: int) -> Arrival:
    """Return one correction as a route brings it, with what that route knows."""
    if route == "single":
        made = written_through("a draft", "a final")
        made.corrections[0].severity = "minor"
        return made
    table: dict[str, dict[str, Any]] = {
        "ingest": {"severity": "moderate", "category": "TONE"},
        "push": {"severity": "major", "category": "STYLE", "summary": "tone changed",
                 "edit_distance": 0.4, "classifications": ["TONE"]},
        "correct": {"severity": "unknown", "category": "UNKNOWN", "context": {"a": 1}},
    }  # fmt: skip
    sent = correction(number, "a draft", "a final", session="3", event_id=route, **table[route])
    return arrival(sent, route=route)  # type: ignore[arg-type]  # a name of the table above


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("order", list(permutations(("ingest", "single", "push", "correct"))))
async def test_what_any_route_knows_is_joined_and_the_chart_counts_what_the_list_shows(
    store: CorrectionsStore, *, order: tuple[str, ...], grouped: bool
) -> None:
    sent = [by_route(route, number) for number, route in enumerate(order, 1)]
    if grouped:
        await put(store, *sent)
    else:
        for one in sent:
            await put(store, one)
    (row,) = await rows(store)
    assert (row.severity, row.category) == ("moderate", "TONE")
    assert (row.summary, row.edit_distance) == ("tone changed", 0.4)
    whole = await store.correction(row.no, None)
    assert whole is not None
    assert (whole.classifications, whole.context) == (("TONE",), '{"a":1}')
    counted = [(severity, many) for _, severity, many in await store.hours(1, 0)]
    assert counted == [(row.severity, 1)]
    assert [one.no for one in await rows(store, words='"changed"')] == [row.no]


async def test_a_preview_is_cut_between_letters_and_not_at_nul(store: CorrectionsStore) -> None:
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
    draft, final = "a\0b" + family * 600, "x" * PREVIEW_MAX
    await put(store, arrival(correction(1, draft, final)))
    await put(store, arrival(correction(2, "a\0b", final)))
    short, long = await rows(store)
    assert (short.draft, short.final, bool(short.cut)) == ("a\0b", final, False)
    assert long.cut
    assert long.draft == "a\0b" + family * ((PREVIEW_MAX - 3) // 5)


async def test_a_text_that_a_route_may_have_cut_says_so(store: CorrectionsStore) -> None:
    await put(store, synced("d" * GRADATA_CUT, "f"))
    await put(store, arrival(correction(2, "whole", "text")))
    told = [await store.correction(no, None) for no in (1, 2)]
    assert [one.truncated for one in told if one is not None] == [True, False]
