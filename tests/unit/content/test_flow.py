"""Whatever a node sends: without consent nothing is stored, with it nothing twice, and no error."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from holdfast.content.accept import ROUTES
from holdfast.content.directory import Directory
from holdfast.content.flow import ContentFlow, Deletion, Quota
from holdfast.content.gaps import Gaps
from holdfast.content.limits import GAP_AGAIN_MS, GAP_OPEN_MS, GAP_TRIES
from holdfast.content.ports import UsageQuery
from holdfast.content.records import Node
from holdfast.kernel.clock import DAY_MS, ManualClock
from holdfast.kernel.log import NoLog
from holdfast.kernel.metrics import NoMeter
from holdfast.stores.memory.content import MemoryContent
from holdfast.wire.api.clawmetry import PendingQuery, Upload
from holdfast.wire.consent import (
    CLASSES,
    ContentClass,
    Grant,
    SignedDocument,
    encode_document,
    node_of_name,
    to_base64url,
)
from holdfast.wire.times import time_text
from tests.support.toys.consents import ToyConsents
from tests.unit.content.test_accept import FIELDS

NODE = node_of_name("local", "n")


def signed(backfill_from_ms: int) -> SignedDocument:
    """Return a grant that lets out nothing older than a time."""
    grant = Grant(
        version=1, node=NODE, number=1, classes=CLASSES, at_ms=1, backfill_from_ms=backfill_from_ms
    )
    return SignedDocument(payload=to_base64url(encode_document(grant)), key="k", signature="")


class Rig:
    """A flow over a store in memory, with one node."""

    def __init__(self, *classes: ContentClass, version: str = "0.12.937") -> None:
        self.clock = ManualClock(1_796_000_000_000)
        self.store, self.consents, self.gaps = MemoryContent(), ToyConsents(), Gaps()
        self.counted: list[str] = []
        self.directory = Directory(
            self.store, clock=self.clock, entropy=lambda n: b"e" * n, log=NoLog()
        )
        self.node = Node(
            no=1, id=NODE, account="local", name="n", key="k", version=version
        )  # fmt: skip
        self.directory._put_node(self.node)
        self.consents.grant(NODE, classes)
        self.flow = ContentFlow(
            self.store, self.directory, self.consents, self.gaps, clock=self.clock, log=NoLog(),
            meter=NoMeter(), quota=Quota(10**9, 10**9, 10**9), counted=self.counted.append,
        )  # fmt: skip

    async def send(self, route: str, **fields: Any) -> str:
        raw = msgspec.json.encode(fields)
        body = msgspec.json.decode(raw, type=Upload)
        return await self.flow.take(self.node, f"clawmetry.{route}", body, len(raw))

    async def rows(self) -> int:
        return sum(one.rows for one in await self.store.stored(1))


SENT = st.lists(st.tuples(st.sampled_from(sorted(ROUTES)), FIELDS), max_size=4)


@given(SENT)
def test_without_consent_nothing_is_stored(sent: list[tuple[str, dict[str, Any]]]) -> None:
    async def run() -> None:
        rig = Rig()
        for route, fields in sent:
            await rig.send(route.removeprefix("clawmetry."), **fields)
        assert await rig.rows() == 0
        assert not rig.store._streams
        assert rig.node.stored_bytes == 0

    asyncio.run(run())


@given(SENT)
def test_with_consent_a_repeat_stores_nothing(sent: list[tuple[str, dict[str, Any]]]) -> None:
    async def run() -> None:
        rig = Rig(*CLASSES)
        for route, fields in sent:
            await rig.send(route.removeprefix("clawmetry."), **fields)
            once, size = await rig.rows(), rig.node.stored_bytes
            await rig.send(route.removeprefix("clawmetry."), **fields)
            assert await rig.rows() - once <= (0 if "memory" not in route else 4)
            assert "memory" in route or rig.node.stored_bytes == size
        assert rig.node.stored_bytes == rig.store._size(1)

    asyncio.run(run())


async def test_a_node_whose_counters_changed_is_named_and_no_other() -> None:
    rig = Rig(*CLASSES)
    deletion = Deletion(rig.store, rig.directory, rig.counted.append)
    await rig.send("events", events=[{"id": 1}])
    assert rig.counted == []
    day = {"day": "2026-11-30", "models": [{"model": "m", "turns": 1}]}
    for named in (1, 1, 2):  # a repeat changes nothing
        await rig.send("autonomy", snapshots=[{**day, "sessions": named}])
    assert rig.counted == [NODE, NODE]
    await deletion.delete(NODE, ("transcripts",))
    assert rig.counted == [NODE, NODE]
    await deletion.delete(NODE, ("counters",))
    assert rig.counted == [NODE, NODE, NODE]


async def test_a_node_whose_counters_were_purged_is_named() -> None:
    rig = Rig(*CLASSES)
    await rig.flow.purge()
    await rig.send("autonomy", snapshots=[{"day": "2026-11-30", "models": [{"model": "m"}]}])
    rig.counted.clear()
    await rig.flow.purge()
    assert (rig.counted, await rig.rows()) == ([], 1)
    rig.clock.advance(rig.flow.quota.keep_counters_ms + 1)
    await rig.flow.purge()
    assert (rig.counted, await rig.rows(), rig.node.stored_bytes) == ([NODE], 0, 0)


async def test_what_is_deleted_is_no_longer_counted_against_the_quota() -> None:
    rig = Rig(*CLASSES)
    await rig.send("events", events=[{"id": 1}])
    await rig.send("logs", lines=["x"])
    deletion = Deletion(rig.store, rig.directory, rig.counted.append)
    rig.node.facts = {"os": "Linux", "tool_calls_today": "7"}
    assert await deletion.delete(NODE, ("transcripts",)) == {"transcripts": 1}
    assert rig.node.stored_bytes == rig.store._size(1) == len('"x"')
    assert await deletion.delete("nd_none", ("logs",)) == {"logs": 0}
    assert "tool_calls_today" in rig.node.facts
    await deletion.delete(NODE, ("counters",))
    (kept,) = (await rig.store.load()).nodes
    assert rig.node.facts == kept.facts == {"os": "Linux"}


async def test_consent_that_goes_while_a_body_is_read_stores_nothing() -> None:
    rig = Rig(*CLASSES)
    sending = asyncio.create_task(
        rig.send("events", events=[{"id": number} for number in range(500)])
    )
    await asyncio.sleep(0)  # it has read a part
    rig.consents.revoke(NODE)
    assert await sending == "consent"
    assert await rig.rows() == 0


async def test_a_gap_is_asked_for_some_times_and_then_closed() -> None:
    rig = Rig()
    await rig.send("events", encrypted=True, blob="QUJD")
    rig.consents.grant(NODE)
    since = {"session_id": "s", "updated_at": rig.clock.now_ms()}
    await rig.send("sessions", sessions=[since])
    asked: list[str] = []
    for _ in range(GAP_TRIES):
        assert rig.gaps.count_open(rig.node, rig.clock.now_ms()) == 1
        asked += [one.id for one in rig.gaps.next_questions(rig.node, rig.clock.now_ms())]
        assert not rig.gaps.next_questions(rig.node, rig.clock.now_ms())
        assert rig.gaps.count_open(rig.node, rig.clock.now_ms()) == 1, "its answer may come"
        rig.clock.advance(GAP_AGAIN_MS)
    assert not rig.gaps.next_questions(rig.node, rig.clock.now_ms())
    assert asked == [asked[0]] * GAP_TRIES
    assert rig.gaps.answered(rig.node, asked[0]) == "s", "a late answer is taken"
    rig.clock.advance(GAP_OPEN_MS)
    await rig.send("sessions", sessions=[since])
    assert (rig.node.gap_from_ms, rig.gaps.count_open(rig.node, rig.clock.now_ms())) == (0, 0)


async def test_nothing_is_asked_for_that_a_backfill_leaves_out() -> None:
    rig = Rig()
    await rig.send("events", encrypted=True, blob="QUJD")
    since = {"session_id": "s", "updated_at": rig.clock.now_ms()}
    rig.consents.grant(NODE, document=signed(rig.clock.now_ms() - 1))
    await rig.send("sessions", sessions=[since])
    assert rig.gaps.count_open(rig.node, rig.clock.now_ms()) == 0
    rig.consents.grant(NODE)
    await rig.send("sessions", sessions=[since])
    (question,) = rig.gaps.next_questions(rig.node, rig.clock.now_ms())
    # The grant is narrowed before the answer comes.
    rig.consents.grant(NODE, document=signed(rig.clock.now_ms() - 1))
    assert await rig.send("cache", id=question.id, blob="QUJD") == "unused"
    assert "transcripts" not in {one.of for one in await rig.store.stored(1)}


async def test_days_before_the_backfill_are_not_stored() -> None:
    rig = Rig(*CLASSES)
    rig.consents.grant(NODE, document=signed(rig.clock.now_ms() - DAY_MS))
    days = [time_text(rig.clock.now_ms() - ago * DAY_MS)[:10] for ago in (0, 1, 2, 30)]
    assert await rig.send("autonomy", snapshots=[{"day": day} for day in days]) == "stored"
    kept = {one.name for one in await rig.store.streams(1, of="counters", after=0, limit=9)}
    assert kept == {f"day:{day}" for day in days[:2]}, "one that ends after it is let out"


async def test_an_older_client_has_no_gap() -> None:
    rig = Rig(version="0.12.170")
    assert await rig.send("events", encrypted=True, blob="QUJD") == "consent"
    assert rig.node.gap_from_ms == 0


async def ask_and_answer(rig: Rig, session: str = "s") -> str:
    """Have a session of a gap named, asked for and answered; return the question's id."""
    since = {"session_id": session, "updated_at": rig.clock.now_ms()}
    await rig.send("sessions", sessions=[since])
    (question,) = rig.gaps.next_questions(rig.node, rig.clock.now_ms())
    assert await rig.send("cache", id=question.id, blob="QUJD") == "stored"
    return question.id


async def test_a_second_deferral_has_answered_sessions_asked_for_again() -> None:
    rig = Rig()
    await rig.send("events", encrypted=True, blob="QUJD")
    rig.consents.grant(NODE)
    first = await ask_and_answer(rig)
    rig.clock.advance(GAP_AGAIN_MS)
    assert not rig.gaps.next_questions(rig.node, rig.clock.now_ms())
    rig.consents.revoke(NODE)
    await rig.send("events", encrypted=True, blob="QUJD")
    rig.clock.advance(GAP_OPEN_MS)
    rig.consents.grant(NODE)
    assert await ask_and_answer(rig) == first
    assert rig.node.gap_from_ms, "other sessions may still be named"


async def test_what_meets_the_quota_or_a_bad_disk_is_a_gap_of_a_newer_client() -> None:
    for version, has_gap in (("0.12.937", True), ("0.12.170", False)):
        rig = Rig(*CLASSES, version=version)
        rig.store.failing = True
        assert await rig.send("events", events=[{"id": 1}]) == "failed"
        assert bool(rig.node.gap_from_ms) is has_gap
        rig.store.failing = False
        rig.node.gap_from_ms = 0
        rig.flow.quota = Quota(120, 10**9, 10**9)
        assert await rig.send("events", events=[{"id": 2, "said": "x" * 200}]) == "quota"
        assert bool(rig.node.gap_from_ms) is has_gap
        assert not rig.flow.may_ask(rig.node), "an answer would not fit either"
        rig.flow.quota = Quota(10**9, 10**9, 10**9)
        assert rig.flow.may_ask(rig.node)


async def test_sessions_with_one_long_beginning_have_a_question_each() -> None:
    rig = Rig()
    await rig.send("events", encrypted=True, blob="QUJD")
    rig.consents.grant(NODE)
    now_ms = rig.clock.now_ms()
    names = [f"{'s' * 200}{number}" for number in range(3)]
    await rig.send("sessions", sessions=[{"session_id": n, "updated_at": now_ms} for n in names])
    asked = rig.gaps.next_questions(rig.node, now_ms)
    assert [one.args.session_id for one in asked] == names
    assert len({one.id for one in asked}) == 3
    assert msgspec.convert(msgspec.to_builtins(asked), tuple[PendingQuery, ...]) == asked


async def test_it_is_told_why_nothing_of_a_body_is_kept() -> None:
    rig = Rig(*CLASSES)
    rig.consents.grant(NODE, document=signed(rig.clock.now_ms()))
    assert await rig.send("events", events=[7]) == "unreadable"
    assert await rig.send("snapshot", blob="QUJD") == "unused"
    old, new = ({"id": at, "ts": rig.clock.now_ms() - at} for at in (1, 0))
    assert await rig.send("events", events=[old]) == "older"
    assert await rig.send("events", events=[old, new, 7]) == "stored"
    assert await rig.send("events", events=[new]) == "stored", "it is there"
    assert await rig.rows() == 1


async def test_numbers_of_days_are_kept_and_left_out_with_the_days() -> None:
    rig = Rig(*CLASSES)
    now_ms = rig.clock.now_ms()
    days = [time_text(now_ms - ago * DAY_MS)[:10] for ago in range(4)]
    snapshots = [{"day": day, "models": [{"model": "m", "input": 5}]} for day in days]
    query = UsageQuery((1,), "day", days[-1], days[0])
    rig.consents.grant(NODE, document=signed(now_ms - 2 * DAY_MS))
    await rig.send("autonomy", snapshots=snapshots)
    assert [one.day for one in await rig.store.usage(query)] == sorted(days[:3])
    rig.flow.quota = Quota(10**9, DAY_MS, 3 * DAY_MS)
    await rig.send("logs", lines=["x"])
    rig.clock.advance(2 * DAY_MS)
    await rig.flow.purge()
    assert {one.of for one in await rig.store.stored(1)} == {"counters"}
    assert len(await rig.store.usage(query)) == 3
    rig.clock.advance(2 * DAY_MS)
    await rig.flow.purge()
    assert (await rig.rows(), await rig.store.usage(query)) == (0, [])
    assert rig.node.stored_bytes == 0
