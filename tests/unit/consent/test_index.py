"""The committed rows of nodes in memory: standings, numbers, counts, and damaged rows."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from holdfast.actors.definition import ViewRow
from holdfast.consent.index import NodeIndex
from holdfast.consent.state import encode_row
from holdfast.consent.views import NODE_VIEW, RECEIPT_VIEW
from holdfast.kernel.clock import DAY_MS, ManualClock
from holdfast.wire.consent import UNKNOWN
from tests.unit.consent.rig import NODE, Driver, grant, registered, revoke


class Rows:
    """A reader of one view, in pages."""

    def __init__(self, rows: dict[str, bytes]) -> None:
        self._rows = sorted(rows.items())

    async def views(
        self, view: str, *, account: str | None, after: str = "", limit: int = 1_000
    ) -> list[tuple[str, bytes, int]]:
        assert (view, account) == (NODE_VIEW, None)
        return [(key, body, 1) for key, body in self._rows if key > after][:limit]


def commit(*rows: ViewRow, landed: bool = True) -> Any:
    """Return a committed tick, or one that was not written."""
    return SimpleNamespace(tick=SimpleNamespace(views=rows), commit=object() if landed else None)


def test_the_index_says_what_was_committed() -> None:
    driver = Driver()
    index = NodeIndex(driver.clock)
    assert index.standing(NODE) == UNKNOWN
    assert (index.of(NODE), index.is_news(NODE, 1), index.of_instance("i1")) == (None, False, None)

    def take() -> None:
        index.on_commit(commit(*driver.rows.values()))

    driver.ok(registered(instance="i1"))
    take()
    assert index.standing(NODE).reason == "intent_pending"
    assert index.counts("acme") == {"nodes": 1, "looked_at": 0, "granted": 0}
    driver.ok(grant("logs", until_ms=driver.clock.now_ms() + DAY_MS))
    take()
    assert index.standing(NODE) == driver.standing()
    assert index.standing(NODE).classes == {"logs"}
    assert [index.is_news(NODE, number) for number in (1, 2, 3)] == [False, False, True]
    found = index.of_instance("i1")
    assert found is not None
    assert found.node == NODE
    assert index.counts(None) == {"nodes": 1, "looked_at": 1, "granted": 1}
    assert dict(index.counts("other")) == {}
    driver.clock.advance(DAY_MS)
    assert index.standing(NODE).classes == frozenset()
    before = index.of(NODE)
    driver.ok(revoke("logs"))
    index.on_commit(commit(*driver.rows.values(), landed=False))
    assert index.of(NODE) == before
    take()
    assert index.counts("acme") == {"nodes": 1, "looked_at": 1, "granted": 0}
    index.on_commit(commit(ViewRow(NODE_VIEW, NODE, "acme", None)))
    assert index.standing(NODE) == UNKNOWN
    assert index.of_instance("i1") is None
    assert index.counts(None) == {"nodes": 0, "looked_at": 0, "granted": 0}


def test_a_damaged_row_allows_nothing() -> None:
    driver = Driver()
    driver.ok(registered())
    driver.ok(grant("logs"))
    body = encode_row(driver.state)
    grant_text = driver.state.grant
    assert grant_text is not None
    wrong = body.replace(grant_text.payload.encode(), b"!" * len(grant_text.payload))
    rows = {
        "nd_1": b"{", "nd_2": b"\xff", "nd_3": b'{"node":"nd_3","classes":{"all":{}}}',
        "nd_4": body.replace(b'"granted"', b'"grunted"'), "nd_5": wrong,
        "nd_6": body.replace(grant_text.payload.encode(), b"e30"), NODE: body,
    }  # fmt: skip
    index = NodeIndex(ManualClock())
    asyncio.run(index.fill(Rows(rows)))  # type: ignore[arg-type]
    for key in rows.keys() - {NODE}:
        assert index.standing(key) == UNKNOWN, key
    assert index.standing(NODE).classes == {"logs"}
    assert index.damaged == {"nd_1", "nd_2", "nd_3", "nd_4", "nd_5"}
    index.on_commit(commit(ViewRow(NODE_VIEW, "nd_1", "acme", body)))
    assert index.damaged == {"nd_2", "nd_3", "nd_4", "nd_5"}
    index.on_commit(commit(ViewRow(RECEIPT_VIEW, "x", "acme", b"{")))
    assert index.standing("x") == UNKNOWN
