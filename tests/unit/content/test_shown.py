"""What is shown of log lines, tool calls, sub-agents and cron jobs, whatever a client sent."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.content import limits
from holdfast.content.cron_jobs import cron_job
from holdfast.content.gate import Admitted
from holdfast.content.log_lines import Search, log_row
from holdfast.content.log_search import search_logs
from holdfast.content.ports import ItemQuery
from holdfast.content.records import LOG, AboutRow, ItemRow, Row, SessionRow
from holdfast.content.tool_calls import timed
from holdfast.content.views import session_view, turn
from holdfast.stores.memory.content import MemoryContent
from holdfast.wire.api.content import CronJob, LogRow, SessionView, Turn
from holdfast.wire.times import time_text
from tests.unit.content.test_accept import FIELDS

NOW = 1_796_000_000_000


def row(value: Any, *, no: int = 1, at_ms: int = NOW) -> ItemRow:
    return ItemRow(no, at_ms, at_ms, sealed=False, body=msgspec.json.encode(value))


def said(**message: Any) -> dict[str, Any]:
    return {"type": "message", "message": message}


@pytest.mark.parametrize(
    ("line", "level", "message"),
    [
        ({"0": '{"module":"x"}', "1": "said", "_meta": {"logLevelName": "WARN"}}, "warn", "said"),
        ({"level": "error", "msg": "m"}, "error", "m"),
        ({"level": 30, "message": "m"}, "info", "m"),
        ({"level": 7}, "", ""),
        ({"severity": "Critical"}, "fatal", ""),
        ("2026-11-30 [ERROR] no", "error", ""),
        ("time=x level=debug msg=y", "debug", ""),
        ("there was an error", "", ""),
        ({"level": "odd"}, "", ""),
        ("level=odd", "", ""),
    ],
)  # fmt: skip
def test_a_line_has_the_level_that_it_says(line: Any, level: str, message: str) -> None:
    found = log_row(row(line))
    assert (found.level, found.message) == (level, message)


@given(FIELDS)
def test_whatever_was_sent_is_shown_and_is_a_message(found: dict[str, Any]) -> None:
    for shown, kind in (
        (log_row(row(found)), LogRow),
        (timed([turn(row(found))])[0], Turn),
        (cron_job(AboutRow(1, "cron:j", NOW, msgspec.json.encode(found))), CronJob),
        (
            session_view(SessionRow(1, "session:s", 1, 1, 1, 1, msgspec.json.encode(found))),
            SessionView,
        ),
    ):
        msgspec.json.decode(msgspec.json.encode(shown), type=kind)


def test_a_call_has_the_time_until_its_answer_in_the_form_of_each_agent() -> None:
    openclaw = [
        said(role="assistant", content=[{"type": "toolCall", "id": "c1", "name": "exec"}]),
        said(role="toolResult", toolCallId="c1", content="done", isError=True),
    ]
    claude = [
        {"message": {"role": "assistant", "content": [
            {"type": "tool_use", "id": "c2", "name": "Bash", "input": {}}]}},
        {"message": {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "c2", "content": "x"}]}},
    ]  # fmt: skip
    codex = [
        {"payload": {"type": "function_call", "call_id": "c3", "name": "shell"}},
        {"payload": {"type": "function_call_output", "call_id": "c3", "output": "y"}},
    ]
    events = (*openclaw, *claude, *codex)
    rows = [row(one, no=at, at_ms=NOW + at * 1_500) for at, one in enumerate(events)]
    calls = [call for one in timed([turn(each) for each in rows]) for call in one.calls]
    assert [(call.name, call.is_answer, call.took_ms, call.failed) for call in calls] == [
        ("exec", False, 1_500, True), ("exec", True, 1_500, True),
        ("Bash", False, 1_500, False), ("Bash", True, 1_500, False),
        ("shell", False, 1_500, False), ("shell", True, 1_500, False),
    ]  # fmt: skip


def test_an_answer_that_says_its_own_time_is_believed_and_one_without_a_call_has_none() -> None:
    answer = said(role="toolResult", toolCallId="c", details={"durationMs": 42})
    (with_time,) = timed([turn(row(answer))])
    assert [call.took_ms for call in with_time.calls] == [42]
    (without,) = timed([turn(row(said(role="toolResult", toolCallId="c")))])
    assert [call.took_ms for call in without.calls] == [None]


@pytest.mark.parametrize(
    ("about", "parent"),
    [
        ({"session_key": "agent:main:main"}, ""),
        ({"session_key": "agent:main:subagent:a"}, "agent:main:main"),
        ({"session_key": "agent:main:subagent:a:subagent:b"}, "agent:main:subagent:a"),
        ({"session_key": "agent:x:subagent:a", "spawned_by": "agent:x:cron:1"}, "agent:x:cron:1"),
        ({}, ""),
    ],
)
def test_a_sub_agent_names_the_session_that_started_it(about: dict[str, str], parent: str) -> None:
    found = session_view(SessionRow(1, "session:s", 1, 1, 1, 1, msgspec.json.encode(about)))
    assert found.parent == parent


def test_a_cron_job_says_when_it_ran_and_how_that_ended() -> None:
    state = {"nextRunAtMs": NOW, "lastRunAtMs": NOW - 1, "lastStatus": "error",
             "lastError": "no", "lastDurationMs": 12}  # fmt: skip
    data = {"name": "tidy", "enabled": True, "expr": "0 * * * *", "state": state}
    found = cron_job(AboutRow(1, "cron:j1", NOW, msgspec.json.encode({"data": data})))
    assert (found.id, found.name, found.schedule, found.result) == (
        "j1", "tidy", "0 * * * *", "error"
    )  # fmt: skip
    assert (found.next_at, found.error, found.took_ms) == (time_text(NOW), "no", 12)
    every = {"schedule": {"kind": "every", "everyMs": 60000}}
    found = cron_job(AboutRow(1, "cron:j1", NOW, msgspec.json.encode({"data": every})))
    assert (found.schedule, found.enabled, found.next_at) == ("every 60000", None, None)


async def filled(lines: list[str]) -> MemoryContent:
    store = MemoryContent()
    rows = [
        Row(LOG, "once", str(at).encode(), NOW + at, sealed=False, body=msgspec.json.encode(line))
        for at, line in enumerate(lines)
    ]
    await store.write(Admitted(1, "logs", rows, NOW))
    return store


def query(limit: int) -> ItemQuery:
    return ItemQuery(1, "logs", LOG, 2**62, 2**62, limit, newest_first=True)


def test_a_search_finds_every_line_once_over_its_pages_and_ends() -> None:
    async def run() -> None:
        many = limits.SEARCH_ROWS * 2 + 7
        lines = [f"{'ERROR Needle' if at % 900 == 0 else 'INFO hay'} {at}" for at in range(many)]
        store = await filled(lines)
        wanted = [line for line in reversed(lines) if "Needle" in line]
        for search in (Search("needle"), Search(level="warn"), Search("NEEDLE", "error")):
            found: list[str] = []
            asked, pages = query(4), 0
            while True:
                page = await search_logs(store, asked, search)
                found += [one.text for one in page.rows]
                pages += 1
                if not page.following:
                    break
                at_ms, no = map(int, page.following.split("-"))
                asked = asked._replace(at_ms=at_ms, no=no)
            assert found == wanted
            assert pages < len(wanted)

    asyncio.run(run())


def test_a_search_that_finds_nothing_says_how_far_it_looked_and_goes_on() -> None:
    async def run() -> None:
        store = await filled(["x"] * (limits.SEARCH_ROWS + 1))
        page = await search_logs(store, query(10), Search("needle"))
        assert (page.rows, bool(page.following), page.looked_to is not None) == ((), True, True)
        assert (await search_logs(MemoryContent(), query(10), Search("x"))).looked_to is None

    asyncio.run(run())


def test_a_search_leaves_the_loop_to_others_within_a_page_of_the_store() -> None:
    async def run(lines: list[str], turns_min: int) -> None:
        store = await filled(lines)
        turns, is_done = 0, False

        async def other() -> None:
            nonlocal turns
            while not is_done:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        await search_logs(store, query(10), Search("needle"))
        is_done = True
        await beside
        assert turns >= turns_min

    rows = limits.SEARCH_ROWS // limits.SEARCH_PAGES
    asyncio.run(run(["x"] * rows, rows // limits.ROWS_IN_PART))
    few = limits.ROWS_IN_PART - 1
    asyncio.run(run(["x" * 10_000] * few, few * 10_000 // limits.PART_BYTES // 2))


def test_the_json_of_a_very_long_line_is_not_read_and_its_text_is_shown() -> None:
    long = limits.LINE_JSON_MAX
    fields = {"msg": "words", "level": "error", "rest": "x" * (long - 100)}
    assert log_row(row(fields)).level == "error"
    found = log_row(row({**fields, "rest": "x" * long}))
    assert (found.level, found.message, found.cut) == ("", "", False)
    assert found.text.startswith('{"msg":"words"')
    for text in ("ä" * 4_000_000, "\U0001f600" * 1_000_000, '"\\' * 2_000_000, "\x01" * 700_000):
        for body in (msgspec.json.encode(text), json.dumps(text).encode()):
            found = log_row(ItemRow(1, NOW, NOW, sealed=False, body=body))
            assert found.cut
            assert len(found.text) >= limits.SHOWN_MAX // 2 - 1
            assert text.startswith(found.text)


@given(st.text(max_size=40))
def test_a_sealed_line_is_no_hit(needle: str) -> None:
    sealed = ItemRow(1, NOW, NOW, sealed=True, body=b"QUJD")
    assert Search(needle).wants(log_row(sealed)) is not bool(needle)
