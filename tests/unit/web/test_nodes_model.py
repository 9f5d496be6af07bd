"""What the pages of nodes show: nothing is green that may not leave now."""

from __future__ import annotations

from typing import Any

import msgspec

from holdfast.letters.topics import NODE
from holdfast.web.hub import Batch, Change
from holdfast.web.limits import REDRAW_S
from holdfast.web.pages.nodes import class_row, entry_line, node_row, receipt_line
from holdfast.web.pages.observability import PAGE
from holdfast.web.parts.observer import observer_words, observer_work
from holdfast.wire.api.call import Call, Reply
from holdfast.wire.api.consent import (
    ConsentClass,
    ConsentEntry,
    ConsentList,
    ConsentReceipt,
    NodeConsent,
)
from holdfast.wire.api.instances import ObserverView
from holdfast.wire.consent import SignedDocument
from holdfast.wire.controller.checkin import ObserverWork, UnreadSources
from holdfast.wire.times import time_text
from tests.unit.web.sample_pages import SamplePages

NOW = 1_700_000_000_000
AT = time_text(NOW - 60_000)


def shown(**changes: Any) -> ConsentClass:
    plain = {"name": "logs", "contains": "lines", "status": "pending", "in_force": False}
    return msgspec.convert(plain | changes, ConsentClass)


def test_only_what_may_leave_now_is_green() -> None:
    rows = [
        class_row(shown(status=status, in_force=False, at=AT, backfill_from=AT), now_ms=NOW)
        for status in ("pending", "granted", "revoked", "expired")
    ]
    assert {row.badge.tone for row in rows} == {"off", "busy"}
    assert [row.is_granted for row in rows] == [False, True, False, False]
    row = class_row(shown(status="granted", in_force=True, at=AT, backfill_from=AT), now_ms=NOW)
    assert (row.badge.tone, row.title, row.older) == ("ok", "Logs", "no older content")


def test_why_no_observer_runs_is_said_and_nothing_of_one_that_does() -> None:
    assert observer_words(None) == observer_words(ObserverView(state="running")) == ""
    off = observer_words(ObserverView(state="off", reason="HOLDFAST_OBSERVER=false turns it off"))
    assert off == "No observer runs beside its agent: HOLDFAST_OBSERVER=false turns it off."
    failing = observer_words(ObserverView(state="failing", reason="it ended with code 4"))
    assert failing == "Its observer stopped, and is started again: it ended with code 4."
    stalled = observer_words(ObserverView(state="stalled", reason="it has said nothing for 180 s"))
    assert stalled == (
        "Its observer runs, and does not do its work: it has said nothing for 180 s."
    )


def test_what_an_observer_did_last_is_said() -> None:
    assert observer_work(None) == observer_work(ObserverView(state="running")) == ()
    work = ObserverWork(
        heard=NOW, looked=NOW, paused="the owner has not agreed", waiting=3, sources=2,
        bytes=1_500_000, oversized=1, unread=(UnreadSources(reason="a link", sources=4),),
    )  # fmt: skip
    assert observer_work(ObserverView(state="running", work=work)) == (
        f"heartbeat answered {time_text(NOW)}",
        f"files looked at {time_text(NOW)}",
        "nothing is sent: the owner has not agreed",
        "left to read: 1.5 MB (files: 2)",
        "uploads waiting: 3",
        "lines too long to send: 1",
        "cannot be read: 4 (a link)",
    )


def test_older_content_is_named() -> None:
    def of(since: str) -> tuple[str, bool]:
        found = shown(status="granted", in_force=True, at=AT, backfill_from=since)
        row = class_row(found, now_ms=NOW)
        return row.older, row.since is not None

    assert of(time_text(0)) == ("with all older content", False)
    assert of(AT) == ("no older content", False)
    assert of(time_text(NOW - 86_400_000)) == ("", True)
    assert class_row(shown(status="revoked", at=AT), now_ms=NOW).older == ""


def test_a_node_that_may_send_is_green_and_no_other() -> None:
    def of(state: str) -> str:
        plain = {
            "id": "nd_1", "account": "acme", "name": "laptop", "instance": "", "source": "auto",
            "state": state, "classes": ("logs",), "registered_at": AT,
        }  # fmt: skip
        return node_row(msgspec.convert(plain, NodeConsent), now_ms=NOW).badge.tone

    assert [of(state) for state in ("waiting", "sending", "refused", "closed")] == [
        "off", "ok", "off", "off",
    ]  # fmt: skip


def test_receipts_count_and_refusals_stand_out() -> None:
    document = SignedDocument(payload="", key="", signature="")
    receipt = ConsentReceipt(
        number=3, act="deleted", classes=("logs",), at=AT, by="ann", credential="session:ann",
        deleted={"logs": 1_200, "files": 1}, document=document,
    )  # fmt: skip
    assert receipt_line(receipt, now_ms=NOW).text == "1 of files, 1,200 of logs"
    entry = ConsentEntry(event="e1", at=AT, what="intent", by="agent", refused="it cannot")
    line = entry_line(entry, now_ms=NOW)
    assert (line.badge.text, line.badge.tone, line.text) == ("refused", "warn", "it cannot")
    line = entry_line(msgspec.structs.replace(entry, refused="", message="m"), now_ms=NOW)
    assert (line.badge.text, line.text) == ("looked at", "m")


class WithoutNodes(SamplePages):
    """A fleet of which no machine has registered."""

    def handlers(self) -> dict[str, Any]:
        async def none(_call: Call) -> Reply:
            return Reply(ConsentList(items=(), total=0, looked_at=0, granted=0))

        return super().handlers() | {"consent.list": none}


async def test_the_way_to_a_node_waits_for_no_machine_of_a_destroyed_instance() -> None:
    samples, path = WithoutNodes(), {"id": "in-0000"}
    samples.fleet.change("in-0000", status="running")
    html = await samples.show("page.observability", path=path)
    assert "Waiting for its machine to register." in html
    assert "its observer has not registered yet. Until then" in html
    for status in ("destroying", "destroyed"):
        samples.fleet.change("in-0000", status=status)
        html = await samples.show("page.observability", path=path)
        assert "Its machine never registered." in html
        assert "nothing ever left it" in html
        assert "registers within a minute" not in html
        assert "Until then" not in html


async def test_the_way_to_a_node_rests_however_much_the_fleet_changes() -> None:
    samples = WithoutNodes()
    assert PAGE.live is not None
    shown = samples.call("page.observability", path={"id": "in-0000"})
    page = PAGE.live(samples.pages.context, PAGE, shown)
    await page.full()
    assert samples.asked.count("consent.list") == 1
    batch = Batch((Change(NODE, "nd_1", "local", 1),), all_stale=False, dropped=0)
    for _ in range(20):
        assert await page.changed(batch) == ""
    assert samples.asked.count("consent.list") == 1
    assert 0 < page.idle_s <= REDRAW_S
    samples.clock.advance(int(REDRAW_S * 1_000))
    await page.changed(batch)
    assert samples.asked.count("consent.list") == 2
