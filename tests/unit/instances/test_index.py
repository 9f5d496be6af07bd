"""The index of the fleet, against lists that are filtered, sorted and counted the plain way."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any, get_args

import pytest

from holdfast.instances.index import (
    FleetIndex,
    Heard,
    Query,
    Row,
    Sort,
    list_cursor,
    list_query,
)
from holdfast.instances.views import INSTANCE_VIEW
from holdfast.letters.machine import LastContact
from holdfast.stores.sqlite.fleet import SqliteFleet
from holdfast.wire.api.call import Refusal
from holdfast.wire.controller.checkin import MachineStatus
from tests.support.logs import Lines
from tests.support.patience import patience

STATUSES = ("running", "stopped", "provisioned")
COLUMNS = {"contact": "contact_ms"}


@pytest.fixture
async def store() -> AsyncIterator[SqliteFleet]:
    made = SqliteFleet()
    yield made
    await made.close()


def some_rows(many: int, chance: random.Random) -> dict[str, Row]:
    return {
        (one := f"id-{number:04d}"): Row(
            id=one,
            account=chance.choice(("acme", "other")),
            name=f"name-{chance.randrange(many // 2)}",
            status=chance.choice(STATUSES),
            agent=chance.choice(("demo", "openclaw")),
            attention=chance.random() < 0.2,
            created=f"2026-01-{chance.randrange(1, 29):02d}T00:00:00.000Z",
            restarts=chance.randrange(3),
            contact_ms=chance.randrange(5),
            load=chance.choice((-1, 0, 500, 1_500)),
            health=chance.choice((2, 6, 18)),
        )
        for number in range(many)
    }


def passes(row: Row, query: Query) -> bool:
    return (
        query.account in {None, row.account}
        and (not query.statuses or row.status in query.statuses)
        and (not query.healths or row.health in query.healths)
        and query.agent in {"", row.agent}
        and query.attention in {None, row.attention}
        and (query.text.lower() in row.name or query.text.lower() in row.id)
    )


def in_order(rows: dict[str, Row], query: Query) -> list[str]:
    kept = sorted((r for r in rows.values() if passes(r, query)), key=lambda r: (r.name, r.id))
    column = COLUMNS.get(query.sort, query.sort)
    kept.sort(key=lambda r: getattr(r, column), reverse=query.descending)
    return [row.id for row in kept]


async def all_pages(store: SqliteFleet, query: Query) -> list[str]:
    found: list[str] = []
    while True:
        page = await store.page(query)
        found += page.ids
        if page.following is None:
            assert page.total == len(found)
            return found
        assert len(page.ids) == query.limit
        query = query._replace(after=page.following)


async def test_lists_are_those_of_filtering_and_sorting_everything(store: SqliteFleet) -> None:
    chance = random.Random(7)
    rows = some_rows(120, chance)
    await store.apply(list(rows.values()), [], [])
    for sort in get_args(Sort):
        for descending in (False, True):
            query = Query(
                account=chance.choice((None, "acme", "nobody")),
                limit=chance.choice((1, 7, 500)),
                statuses=chance.choice(((), ("running",), ("running", "stopped"))),
                agent=chance.choice(("", "demo")),
                attention=chance.choice((None, True, False)),
                text=chance.choice(("", "NAME-1", "id-00", "none")),
                sort=sort,
                descending=descending,
                healths=chance.choice(((), (2, 6))),
            )
            assert await all_pages(store, query) == in_order(rows, query), query
    for sort in get_args(Sort):
        for descending in (False, True):
            query = Query(account=None, limit=13, sort=sort, descending=descending)
            assert await all_pages(store, query) == in_order(rows, query), query


async def test_counts_follow_every_change(store: SqliteFleet) -> None:
    chance = random.Random(8)
    rows: dict[str, Row] = {}
    for _ in range(20):
        fresh = {row.id: row for row in some_rows(40, chance).values() if chance.random() < 0.3}
        gone = [one for one in rows if one not in fresh and chance.random() < 0.2]
        await store.apply(list(fresh.values()), gone, [])
        rows = {one: row for one, row in (rows | fresh).items() if one not in gone}
        for account in (None, "acme"):
            page = await store.page(Query(account=account, limit=500))
            of_account = [row for row in rows.values() if account in {None, row.account}]
            assert page.counts == Counter(row.status for row in of_account)
            assert page.healths == Counter(row.health for row in of_account)
            assert page.total == len(of_account) == len(page.ids)
    await store.clear()
    assert await store.page(Query(account=None, limit=1)) == ((), None, 0, {}, {})


async def test_a_check_in_moves_a_row_and_counts_restarts_upwards(store: SqliteFleet) -> None:
    rows = some_rows(4, random.Random(1))
    running = [
        Row(**{f: getattr(r, f) for f in r.__struct_fields__} | {"status": s, "restarts": 5})
        for r, s in zip(rows.values(), ("running", "stopped", "running", "running"), strict=True)
    ]
    await store.apply(running, [], [Heard("id-0001", 9, 99, 700), Heard("id-0002", 2, 98, 800)])
    by_contact = await store.page(Query(account=None, limit=2, sort="contact", descending=True))
    assert by_contact.ids == ("id-0001", "id-0002")
    by_restarts = await store.page(Query(account=None, limit=1, sort="restarts", descending=True))
    assert by_restarts.ids == ("id-0001",)
    by_load = await store.page(Query(account=None, limit=9, sort="load"))
    assert by_load.ids[0] == "id-0001", "a machine that does not run has no load"


@pytest.mark.parametrize(
    "cursor", ["x", "o100", "=", "////", "W10", "WyJuYW1lIiwxXQ", "_" * 256, "W" * 200]
)
def test_a_strange_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(Refusal) as refusal:
        list_query({"after": cursor}, None, limit=100)
    assert (refusal.value.status, refusal.value.problem.code) == (400, "bad_cursor")


async def test_a_cursor_is_of_one_order_only_and_short(store: SqliteFleet) -> None:
    await store.apply(list(some_rows(9, random.Random(2)).values()), [], [])
    query = list_query({"sort": "-contact"}, None, limit=2)
    cursor = list_cursor(query, (await store.page(query)).following)
    assert list_query({"after": cursor, "sort": "-contact"}, None, limit=100).after is not None
    with pytest.raises(Refusal):
        list_query({"after": cursor, "sort": "contact"}, None, limit=100)
    longest = (await store.page(query)).following
    assert longest is not None
    mark = longest._replace(value="v" * 63, name="n" * 63, id="0" * 36)
    assert len(list_cursor(query, mark)) <= 256


class Nothing:
    def contact(self, instance: str) -> LastContact | None:
        if instance != "id-1":
            return None
        return LastContact(
            heard_ms=5, restarts=2, status=MachineStatus(uptime_seconds=0, load_avg_5m=0.5)
        )


class Rows:
    """A reader of one view, which calls `during` at each page."""

    def __init__(self, bodies: dict[str, bytes], during: Any = None) -> None:
        self.bodies, self.during = bodies, during

    async def views(
        self, view: str, *, account: str | None, after: str = "", limit: int = 1_000
    ) -> list[tuple[str, bytes, int]]:
        assert (view, account) == (INSTANCE_VIEW, None)
        page = [(k, self.bodies[k], 1) for k in sorted(self.bodies) if k > after][:limit]
        if self.during is not None:
            self.during()
        return page

    async def view(self, _view: str, key: str) -> tuple[bytes, str, int] | None:
        return self.bodies[key], "acme", 1


def body(name: str, **more: str) -> bytes:
    given = {"status": "running", "desired": "running", "account": "acme"} | more
    texts = ",".join(f'"{key}":"{value}"' for key, value in given.items())
    return (
        f'{{"id":"i","name":"{name}","agent":"demo",{texts},"restarts":0,'
        '"last_contact_at":null,"created_at":null}'
    ).encode()


async def test_damaged_rows_are_listed_with_what_is_known(store: SqliteFleet) -> None:
    whole = body("alpha")
    reader: Any = Rows(
        {
            "id-1": whole,
            "id-2": whole[:40],
            "id-3": body("future", status="dreaming"),
            "id-4": b"\xff\x00",
            "id-5": b"[]",
        }
    )
    index = FleetIndex(store, reader, Nothing(), log=Lines())
    await index.fill()
    page = await index.page(Query(account="acme", limit=9))
    assert set(page.ids) == {"id-1", "id-2", "id-3", "id-4", "id-5"}
    assert page.counts == {"running": 1, "unknown": 4}
    assert (await index.page(Query(account="acme", limit=9, text="future"))).ids == ("id-3",)
    damaged = await index.page(Query(account="acme", limit=9, attention=True))
    assert damaged.total == 4


async def test_a_list_waits_for_the_index_and_then_says_so(
    store: SqliteFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader: Any = Rows({"id-1": body("alpha")})
    index = FleetIndex(store, reader, Nothing(), log=Lines())
    monkeypatch.setattr("holdfast.instances.index.READY_WAIT_S", 0.01)
    with pytest.raises(Refusal) as refusal:
        await index.page(Query(account=None, limit=1))
    assert refusal.value.status == 503
    monkeypatch.setattr("holdfast.instances.index.READY_WAIT_S", patience(30))
    asked = asyncio.ensure_future(index.page(Query(account=None, limit=1)))
    await index.fill()
    assert (await asked).ids == ("id-1",)


async def test_a_failure_is_told_and_the_index_filled_anew(
    store: SqliteFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast.instances.index.RETRY_S", 0.0)
    monkeypatch.setattr("holdfast.instances.index.FLUSH_S", 0.0)
    log, failures = Lines(), [OSError("no memory")]
    reader: Any = Rows({"id-1": body("alpha")})
    index = FleetIndex(store, reader, Nothing(), log=log)
    apply = store.apply

    async def failing(*given: Any) -> None:
        if failures:
            raise failures.pop()
        await apply(*given)

    monkeypatch.setattr(store, "apply", failing)
    running = asyncio.ensure_future(index.run())
    try:
        async with asyncio.timeout(patience(30)):
            assert (await index.page(Query(account=None, limit=1))).ids == ("id-1",)
    finally:
        running.cancel()
    assert log.at_least("error")
