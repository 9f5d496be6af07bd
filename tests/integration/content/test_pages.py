"""Pages and exports of large rows: no more of a stream is in memory than one page."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast.content import limits
from holdfast.content.ports import ItemPage, ItemQuery
from tests.integration.content.conftest import Watchtower

SIZES = (3_000_000, 900_000, 3_000_004, 6_000_000, 40)


async def test_no_page_and_no_export_reads_more_than_a_page(
    tower: Watchtower, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower.consents.grant(tower.node)
    for size in SIZES:
        await tower.send("/ingest/events", encrypted=True, blob="A" * size)
    store: Any = tower.plane.subjects.content.observed.store
    read: list[list[int]] = []
    items = store.items

    async def recorded(query: ItemQuery) -> ItemPage:
        page: ItemPage = await items(query)
        read.append([len(one.body) for one in page.rows])
        return page

    monkeypatch.setattr(store, "items", recorded)
    path, after = f"/api/nodes/{tower.node}/turns?sealed=true", ""
    while True:
        page = await tower.get(path + after)
        if not page["next"]:
            break
        after = f"&after={page['next']}"
    expected = [[3_000_000, 900_000], [3_000_004], [6_000_000], [40]]
    assert read == expected
    read.clear()
    lines = (await tower.ask("GET", f"/api/nodes/{tower.node}/export")).body.splitlines()
    assert [len(msgspec.json.decode(line)["blob"]) for line in lines] == [*SIZES]
    assert read == expected
    assert limits.PAGE_BYTES_MAX < 6_000_000
