"""What every store of content must do: each thing is stored once, and deleted whole.

Run on memory and on SQLite.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import apsw
import msgspec
import pytest

from holdfast.content.gate import Admitted
from holdfast.content.limits import PURGE_ROWS
from holdfast.content.ports import ContentStore, ItemQuery, UsageBy, UsageQuery
from holdfast.content.records import (
    ABOUT,
    DAY,
    Keep,
    Node,
    NodeKey,
    Refused,
    Row,
    Usage,
    UsageSum,
    Written,
)
from holdfast.kernel.clock import DAY_MS
from holdfast.stores.memory.content import MemoryContent
from holdfast.stores.migrate import migrate, shipped
from holdfast.stores.sqlite import MIGRATIONS
from holdfast.stores.sqlite.content import open_content
from holdfast.wire.consent import CLASSES, ContentClass
from holdfast.wire.times import day_of
from tests.support.patience import patience

NOW = 1_796_000_000_000
FAR = 2**62


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ContentStore]:
    opened: ContentStore = (
        MemoryContent()
        if request.param == "memory"
        else open_content(tmp_path / "content.db", now_ms=NOW)
    )
    yield opened
    await opened.close()


def row(
    name: str, *, stream: str = "session:s", keep: Keep = "once", at_ms: int = NOW, said: str = ""
) -> Row:
    body = msgspec.json.encode(said or name)
    return Row(stream, keep, name.encode(), at_ms, sealed=False, body=body)


async def put(
    store: ContentStore,
    *rows: Row,
    node: int = 1,
    of: ContentClass = "transcripts",
    at_ms: int = NOW,
) -> Written:
    return await store.write(Admitted(node, of, rows, at_ms))


async def bodies(
    store: ContentStore,
    name: str = "session:s",
    of: ContentClass = "transcripts",
    *,
    newest_first: bool = False,
) -> list[str]:
    start = FAR if newest_first else 0
    found, _ = await store.items(ItemQuery(1, of, name, start, start, 500, newest_first))
    return [msgspec.json.decode(one.body) for one in found]


async def test_a_replay_is_stored_once(store: ContentStore) -> None:
    assert await put(store, row("a"), row("b"), row("a")) == Written(2, 1, 6)
    for _ in range(3):
        assert await put(store, row("a"), row("b")) == Written(0, 2, 0)
    assert await bodies(store) == ["a", "b"]
    assert await put(store, row("a"), node=2) == Written(1, 0, 3)
    assert await put(store, row("a", stream="session:t")) == Written(1, 0, 3)


async def test_the_latest_replaces_the_one_before(store: ContentStore) -> None:
    for said, stored in (("one", 1), ("one", 0), ("three", 1)):
        written = await put(store, row("about", keep="latest", said=said), of="metadata")
        assert written.stored == stored
    assert await bodies(store, of="metadata") == ["three"]
    (stream,) = await store.streams(1, of=None, after=0, limit=9)
    assert (stream.rows, stream.size) == (1, len('"three"'))


async def test_a_version_is_kept_where_it_differs_from_the_newest(store: ContentStore) -> None:
    for at_ms, name in enumerate(("a", "a", "b", "a"), NOW):
        sent = row(name, stream="file:M.md", keep="version", at_ms=at_ms)
        await put(store, sent, of="memory", at_ms=at_ms)
    assert await bodies(store, "file:M.md", "memory", newest_first=True) == ["a", "b", "a"]


async def test_rows_are_paged_by_their_time_both_ways(store: ContentStore) -> None:
    await put(store, *[row(str(n), at_ms=NOW + n % 3) for n in range(9)])
    for down in (False, True):
        bound = (FAR, FAR) if down else (0, 0)
        seen: list[tuple[int, int]] = []
        more = True
        while more:
            page, more = await store.items(
                ItemQuery(1, "transcripts", "session:s", bound[0], bound[1], 2, down)
            )
            seen += [(one.at_ms, one.no) for one in page]
            bound = seen[-1]
        assert seen == sorted(seen, reverse=down)
        assert len(set(seen)) == 9
    assert await store.items(ItemQuery(1, "transcripts", "session:t", 0, 0, 2)) == ([], False)


async def test_a_page_ends_before_it_has_too_many_bytes(store: ContentStore) -> None:
    sizes = (100, 30, 30, 30, 100, 200, 10)
    await put(store, *[row(str(n), at_ms=NOW + n, said="x" * (s - 2)) for n, s in enumerate(sizes)])
    for down, pages in (
        (False, [[100], [30, 30, 30], [100], [200], [10]]),
        (True, [[10], [200], [100], [30, 30, 30], [100]]),
    ):
        bound = (FAR, FAR) if down else (0, 0)
        for number, sizes_of_page in enumerate(pages, 1):
            page, more = await store.items(
                ItemQuery(1, "transcripts", "session:s", *bound, 4, down, bytes_max=100)
            )
            assert [len(one.body) for one in page] == sizes_of_page
            assert more is (number < len(pages))
            bound = (page[-1].at_ms, page[-1].no)
    page, more = await store.items(
        ItemQuery(1, "transcripts", "session:s", NOW, 0, 3, bytes_max=10**6)
    )
    assert ([len(one.body) for one in page], more) == ([100, 30, 30], True)


async def test_a_session_is_its_transcript_and_its_metadata(store: ContentStore) -> None:
    await put(store, row("about", keep="latest", said="title", at_ms=NOW + 5), of="metadata")
    await put(store, row("a"), row("b", at_ms=NOW + 1))
    await put(store, row("c", stream="session:t", at_ms=NOW - 9))
    await put(store, row("d", stream="sealed"), row("e", stream="sealed"))
    await put(store, row("other", keep="latest", said="not about it"), of="metadata")
    first, second = await store.sessions(1, below_ms=FAR, below=FAR, limit=9)
    assert (first.name, first.events, first.last_ms) == ("session:s", 2, NOW + 5)
    assert msgspec.json.decode(first.about) == "title"
    assert (second.name, second.events, second.about) == ("session:t", 1, b"")
    (again,) = await store.sessions(1, below_ms=first.last_ms, below=first.no, limit=9)
    assert again == second
    counts = {(one.of, one.sealed): one.rows for one in await store.stored(1)}
    assert counts == {
        ("metadata", False): 2, ("transcripts", False): 3, ("transcripts", True): 2
    }  # fmt: skip


async def test_cron_jobs_are_listed_with_what_is_known_of_them_and_no_other(
    store: ContentStore,
) -> None:
    for number in range(3):
        job = Row(f"cron:j{number}", "latest", ABOUT, NOW, sealed=False, body=b"{}")
        await put(store, job, row("s"), of="metadata")
    again = Row("cron:j1", "latest", ABOUT, NOW + 9, sealed=False, body=b'{"x":1}')
    await put(store, again, of="metadata", at_ms=NOW + 9)
    found = await store.jobs(1, after=0, limit=2)
    assert [(one.name, one.received_ms, one.body) for one in found] == [
        ("cron:j0", NOW, b"{}"), ("cron:j1", NOW + 9, b'{"x":1}'),
    ]  # fmt: skip
    assert [one.name for one in await store.jobs(1, after=found[-1].no, limit=9)] == ["cron:j2"]
    assert not await store.jobs(2, after=0, limit=9)


async def test_what_is_stored_of_a_class_has_the_times_of_its_first_and_last_row(
    store: ContentStore,
) -> None:
    await put(store, row("a", stream="sealed", at_ms=NOW - 5), row("b", stream="sealed"), of="logs")
    await put(store, row("c", stream="log", at_ms=NOW + 7), of="logs")
    assert [(one.sealed, one.rows, one.first_ms, one.last_ms) for one in await store.stored(1)] == [
        (False, 1, NOW + 7, NOW + 7), (True, 2, NOW - 5, NOW),
    ]  # fmt: skip


async def test_a_class_is_deleted_whole_and_counted(store: ContentStore) -> None:
    for of in CLASSES:
        await put(store, row("a"), row("b"), of=of)
        await put(store, row("a"), node=2, of=of)
    assert await store.delete(1, ("logs", "memory")) == {"logs": 2, "memory": 2}
    assert await store.delete(1, ("logs", "memory")) == {"logs": 0, "memory": 0}
    assert {one.of for one in await store.stored(1)} == set(CLASSES) - {"logs", "memory"}
    assert {one.of for one in await store.stored(2)} == set(CLASSES)
    assert await put(store, row("a"), of="logs") == Written(1, 0, 3)


async def test_a_purge_goes_by_receipt_and_tells_what_it_freed(store: ContentStore) -> None:
    await put(store, *[row(str(n)) for n in range(10)], at_ms=NOW - 10)
    await put(store, row("x", stream="session:t"), node=2, at_ms=NOW - 10)
    await put(store, row("new", at_ms=1))
    purged = await store.purge(NOW, counters_before_ms=NOW)
    assert (purged.rows, dict(purged.freed)) == (11, {1: 30, 2: 3})
    assert (await store.purge(NOW, counters_before_ms=NOW)).rows == 0
    assert await bodies(store) == ["new"]
    assert await store.streams(2, of=None, after=0, limit=9) == []
    assert PURGE_ROWS > 11


def day_row(day: str, *usage: Usage) -> Row:
    body = msgspec.json.encode([day, usage])
    return Row(DAY + day, "latest", b"about", NOW, sealed=False, body=body, usage=usage)


async def used(
    store: ContentStore, by: UsageBy = "day", *, nodes: tuple[int, ...] = (1,)
) -> list[UsageSum]:
    return list(await store.usage(UsageQuery(nodes, by, "2026-11-01", "2026-11-30")))


A, B = Usage("a", 1, 2, 30, 40, 5, 6, 0), Usage("b", 1, 1, 10, 10, 0, 0, 250_000)


async def test_what_a_day_of_counters_says_is_summed_and_replaced_with_it(
    store: ContentStore,
) -> None:
    await put(store, day_row("2026-11-02", A, B), day_row("2026-11-03", A), of="counters")
    await put(store, day_row("2026-11-03", A), day_row("2026-10-31", A), node=2, of="counters")
    await put(store, day_row("2026-11-03", A), of="counters")
    assert await used(store) == [
        UsageSum(0, "2026-11-02", *A), UsageSum(0, "2026-11-02", *B), UsageSum(0, "2026-11-03", *A)
    ]  # fmt: skip
    twice = A._replace(turns=2, tool_calls=4, input=60, output=80, cache_read=10, cache_write=12)
    assert await used(store, "node", nodes=(2, 1)) == [
        UsageSum(1, "", *twice), UsageSum(1, "", *B), UsageSum(2, "", *A)
    ]  # fmt: skip
    told = A._replace(reported=7)
    await put(store, day_row("2026-11-03", told), of="counters")
    assert await used(store, "node") == [
        UsageSum(1, "", *A), UsageSum(1, "", *told), UsageSum(1, "", *B)
    ]  # fmt: skip
    await put(store, day_row("2026-11-02"), of="counters")
    assert await used(store) == [UsageSum(0, "2026-11-03", *told)]
    assert await used(store, nodes=()) == []


async def test_what_was_read_from_a_day_goes_with_it(store: ContentStore) -> None:
    await put(store, day_row("2026-11-02", A), of="counters", at_ms=NOW - 10)
    await put(store, day_row("2026-11-03", A), of="counters")
    await put(store, day_row("2026-11-02", A), node=2, of="counters")
    await store.delete(2, ("metadata", "transcripts"))
    await store.purge(NOW, counters_before_ms=NOW)
    assert await used(store, nodes=(1, 2)) == [
        UsageSum(0, "2026-11-02", *A), UsageSum(0, "2026-11-03", *A)
    ]  # fmt: skip
    await store.delete(2, ("counters",))
    assert await used(store, nodes=(1, 2)) == [UsageSum(0, "2026-11-03", *A)]
    await put(store, day_row("2026-11-03", A), node=2)
    assert await used(store, nodes=(2,)) == [], "only counters say what was used"


async def test_counters_are_kept_for_their_own_time(store: ContentStore) -> None:
    await put(store, row("a"), at_ms=NOW - 10)
    await put(store, day_row("2026-11-02", A), of="counters", at_ms=NOW - 10)
    await put(store, day_row("2026-11-03", A), of="counters", at_ms=NOW - 20)
    assert (await store.purge(NOW, counters_before_ms=NOW - 15)).rows == 2
    assert (await store.purge(NOW, counters_before_ms=NOW - 15)).rows == 0
    assert await used(store) == [UsageSum(0, "2026-11-02", *A)]
    await put(store, row("b"), at_ms=NOW - 10)
    assert (await store.purge(NOW - 15, counters_before_ms=NOW)).rows == 1
    assert (await used(store), await bodies(store)) == ([], ["b"])


async def test_a_change_of_what_was_used_on_an_earlier_day_is_counted(store: ContentStore) -> None:
    today, before = day_row(str(day_of(NOW))), day_row(str(day_of(NOW - DAY_MS)))
    assert today.stream != before.stream
    counts = [store.past_changes]
    for change in (
        put(store, today, of="counters"),
        put(store, before),
        put(store, before, today, of="counters"),
        store.delete(1, ("counters",)),
        store.purge(NOW, counters_before_ms=NOW),
    ):
        await change
        counts.append(store.past_changes)
    assert counts == [0, 0, 0, 1, 2, 3]


async def test_numbers_of_a_file_of_before_are_read_by_its_migration() -> None:
    steps = shipped(MIGRATIONS / "content")
    file = apsw.Connection(":memory:")
    migrate(file, steps[:1], now_ms=NOW)
    model = {"model": "a", "turns": 1, "tool_calls": 2, "input": 3, "output": 4, "cost": 0.25}
    days: dict[str, object] = {
        "day:2026-11-02": {"models": [model, {**model, "model": "b", "input": -1}, 5]},
        "day:2026-11-03": {"models": [{"model": "c", "input": "x"}, {"output": 1}]},
        "day:2026-11-04": {"models": "none"},
        "day:some day": {"models": [model]},
    }
    bodies = {name: msgspec.json.encode(body) for name, body in days.items()}
    for no, (name, body) in enumerate((bodies | {"day:2026-11-05": b"{"}).items()):
        file.execute("INSERT INTO streams VALUES (?, 1, 'counters', ?, 1, 1, 1, 1)", (no, name))
        file.execute("INSERT INTO items VALUES (?, ?, x'00', 1, 1, 0, ?)", (no, no, body))
    migrate(file, steps, now_ms=NOW)
    assert file.execute("SELECT * FROM usage ORDER BY day").fetchall() == [
        (1, "2026-11-02", "a", 1, 2, 3, 4, 0, 0, 250_000),
        (1, "2026-11-03", "", 0, 0, 0, 1, 0, 0, 0),
    ]


async def test_keys_nodes_and_counts_are_loaded_as_they_were_put(store: ContentStore) -> None:
    key = NodeKey(id="nk_1", hash="h", name="k", account="a", created_ms=1)
    await store.add_key(key)
    await store.revoke_key("nk_1", 5)
    await store.revoke_key("nk_1", 9)
    await store.note_uses({"nk_1": 7, "nk_none": 1})
    node = Node(no=3, id="nd_1", account="a", name="n", key="nk_1", facts={"os": "Linux"})
    node.refused["logs", "consent"] = Refused(1, 10, 1, 1)
    await store.put_nodes([node])
    node.heard_ms, node.gap_from_ms, node.intents_refused = 9, 4, 2
    node.refused["logs", "consent"].bytes = 20
    await store.put_nodes([node])
    await put(store, row("a"), node=3)
    kept = await store.load()
    assert [(one.revoked_ms, one.last_used_ms) for one in kept.keys] == [(5, 7)]
    (found,) = kept.nodes
    assert (found.heard_ms, found.gap_from_ms, found.facts) == (9, 4, {"os": "Linux"})
    assert (found.intents_refused, found.stored_bytes) == (2, 3)
    assert kept.refused == [(3, "logs", "consent", Refused(1, 20, 1, 1))]
    assert kept.last_no == 3
    await put(store, row("orphan"), node=8)
    assert (await store.load()).last_no == 8


async def test_a_key_is_added_in_place_of_those_that_it_supersedes(store: ContentStore) -> None:
    first, second, third = (
        NodeKey(id=f"nk_{n}", hash=f"h{n}", name="k", account="a", created_ms=n) for n in range(3)
    )
    await store.add_key(first)
    await store.add_key(second)
    await store.add_key(third, superseded=["nk_0", "nk_none"])
    assert {one.id for one in (await store.load()).keys} == {"nk_1", "nk_2"}
    await store.note_uses({"nk_0": 7})
    assert len((await store.load()).keys) == 2


def files_with(folder: Path, marker: bytes) -> list[Path]:
    return [path for path in folder.iterdir() if marker in path.read_bytes()]


async def test_nothing_of_what_is_deleted_stays_in_the_files(tmp_path: Path) -> None:
    store = open_content(tmp_path / "content.db", now_ms=NOW)
    secret = row("a", said="MARKER-" + "x" * 20_000)
    await put(store, secret)
    assert files_with(tmp_path, b"MARKER-")
    await store.delete(1, ("transcripts",))
    ends = time.monotonic() + patience(10)
    while found := files_with(tmp_path, b"MARKER-"):
        assert time.monotonic() < ends, found
        await put(store, row("b"))
    assert (tmp_path / "content.db").stat().st_mode & 0o777 == 0o600
    await store.close()


async def test_a_budget_is_replaced_and_deleted(store: ContentStore) -> None:
    assert list(await store.budgets()) == []
    await store.put_budget(2, b"two")
    await store.put_budget(1, b"one")
    await store.put_budget(2, b"another")
    assert list(await store.budgets()) == [(1, b"one"), (2, b"another")]
    await store.put_budget(1, None)
    await store.put_budget(7, None)
    assert list(await store.budgets()) == [(2, b"another")]
