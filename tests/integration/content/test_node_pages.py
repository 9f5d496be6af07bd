"""What an agent did, as the pages of its node show it: in the clear, sealed, refused and empty."""

from __future__ import annotations

import re
from html import unescape
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import pytest

from tests.integration.content.conftest import Watchtower

HOSTILE = "<script>alert(1)</script>\"'"
CLEAN = re.compile(r"<[^>]+>|\s+")


async def shown(tower: Watchtower, path: str, *, status: int = 200) -> str:
    answer = await tower.ask("GET", f"/nodes/{tower.node}{path}")
    assert answer.status == status, answer.body
    html = answer.body.decode()
    assert "<script>alert" not in html
    return html


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html.partition("<main")[2]))


async def test_a_page_without_content_says_why_and_what_to_do(tower: Watchtower) -> None:
    for path, of in (("/logs", "logs"), ("/memory", "memory"), ("/cron", "metadata")):
        html = await shown(tower, path)
        assert f"Its owner has not let {of} out." in text(html)
        assert "Decide what may leave" in html
        assert "waiting for its first heartbeat" in text(html)
    tower.consents.grant(tower.node)
    assert "waits for the first heartbeat" in text(await shown(tower, "/logs"))
    await tower.beat()
    assert "none has come yet" in text(await shown(tower, "/logs"))
    tower.consents.grant(tower.node, ())
    await tower.send("/ingest/logs", lines=["x" * 2_000])
    assert "Of what it sent, 2." in text(await shown(tower, "/logs"))


async def test_logs_are_the_newest_first_searched_and_filtered(tower: Watchtower) -> None:
    tower.consents.grant(tower.node)
    rows: list[Any] = [
        {"1": f"line {at} {HOSTILE}", "_meta": {"logLevelName": "ERROR" if at == 1 else "INFO"},
         "time": f"2026-11-30T10:00:0{at}Z"}
        for at in range(3)
    ]  # fmt: skip
    await tower.send("/ingest/logs", lines=rows)
    said = text(await shown(tower, "/logs"))
    assert said.index("line 2") < said.index("line 1") < said.index("line 0")
    said = text(await shown(tower, "/logs?level=warn"))
    assert ("line 1" in said, "line 0" in said) == (True, False)
    assert "line 2" in text(await shown(tower, "/logs?text=LINE%202"))
    assert "Nothing matches." in await shown(tower, "/logs?text=nowhere")
    page = await tower.get(f"/api/nodes/{tower.node}/logs?limit=1")
    assert (page["items"][0]["level"], page["next"] != "") == ("info", True)


async def test_a_memory_file_has_its_history_and_what_each_version_changed(
    tower: Watchtower,
) -> None:
    tower.consents.grant(tower.node)
    for content in ("likes tea\n", f"likes coffee {HOSTILE}\n"):
        await tower.send("/ingest/memory", memory_content=[{"path": "M.md", "content": content}])
    assert "M.md" in await shown(tower, "/memory")
    html = await shown(tower, "/memory?path=M.md")
    assert "<del>tea</del>" in html
    assert "<ins>coffee" in html
    versions = (await tower.get(f"/api/nodes/{tower.node}/memory/versions?path=M.md"))["items"]
    html = await shown(tower, f"/memory?path=M.md&version={versions[1]['id']}")
    assert "The first version" in html
    assert "<del>" not in html
    assert "Nothing of this file is stored." in await shown(tower, "/memory?path=none")


async def test_cron_jobs_have_their_runs_and_results(tower: Watchtower) -> None:
    tower.consents.grant(tower.node)
    state = {"nextRunAtMs": 1_796_000_000_000, "lastRunAtMs": 1_795_000_000_000,
             "lastStatus": "error", "lastDurationMs": 1_200}  # fmt: skip
    data = {"job_id": "j", "name": f"tidy {HOSTILE}", "enabled": False, "expr": "0 * * * *",
            "state": state}  # fmt: skip
    await tower.send("/api/ingest", events=[{"type": "cron_state", "data": data}])
    said = text(await shown(tower, "/cron"))
    for words in ("tidy", "0 * * * *", "error", "1.2 s", "switched off"):
        assert words in said


async def test_sub_agents_stand_below_the_session_that_started_them(tower: Watchtower) -> None:
    tower.consents.grant(tower.node)
    keys = {"a": "agent:main:main", "b": "agent:main:subagent:1", "c": "agent:main:subagent:2"}
    await tower.send(
        "/ingest/sessions",
        sessions=[
            {"session_id": name, "session_key": key, "display_name": f"about {name}",
             "updated_at": f"2026-11-30T10:0{at}:00Z"}
            for at, (name, key) in enumerate(keys.items())
        ],
    )  # fmt: skip
    html = await shown(tower, "/sessions")
    said = text(html)
    assert said.index("about a") < said.index("about c") < said.index("about b")
    assert html.count('class="name d1"') == 2
    call = {"type": "toolCall", "id": "t1", "name": "exec", "arguments": {"x": HOSTILE}}
    events = [
        {"id": "1", "timestamp": "2026-11-30T10:00:00Z",
         "message": {"role": "assistant", "content": [call]}},
        {"id": "2", "timestamp": "2026-11-30T10:00:02.500Z",
         "message": {"role": "toolResult", "toolCallId": "t1", "toolName": "exec", "content": "y"}},
    ]  # fmt: skip
    await tower.send("/ingest/events", session_file="a.jsonl", events=events)
    said = text(await shown(tower, "/sessions?session=a"))
    assert said.count("2.5 s") == 2


async def test_what_is_sealed_is_counted_on_its_page_and_given_as_it_is_stored(
    tower: Watchtower,
) -> None:
    tower.consents.grant(tower.node)
    await tower.send("/ingest/logs", encrypted=True, blob="QUJD")
    html = await shown(tower, "/logs")
    assert "Sealed uploads of logs: 1" in text(html)
    assert "How a browser gets a key" in html
    assert "QUJD" not in html
    path = f"/api/nodes/{tower.node}/sealed"
    found = await tower.get(f"{path}?of=logs")
    assert [one["blob"] for one in found["items"]] == ["QUJD"]
    assert (await tower.get(f"{path}?of=memory"))["items"] == []
    await tower.get(path, status=400)
    await tower.get(f"{path}?of=logs", by="stranger", status=404)
    await tower.send("/ingest/events", encrypted=True, blob="REVG", session_file="s1.jsonl", id="i")
    found = await tower.get(f"{path}?of=transcripts&session=s1")
    assert [one["blob"] for one in found["items"]] == ["REVG"]


@pytest.mark.parametrize("path", ["/memory?path=M.md&", "/memory?", "/cron?"])
async def test_a_second_page_is_drawn_again_as_the_second(tower: Watchtower, path: str) -> None:
    tower.consents.grant(tower.node)
    for at in range(2):
        files = [{"path": name, "content": f"version {at}"} for name in ("M.md", "N.md")]
        await tower.send("/ingest/memory", memory_content=files)
        job = {"type": "cron_state", "data": {"job_id": f"j{at}", "name": f"job {at}"}}
        await tower.send("/api/ingest", events=[job])
    first = await shown(tower, f"{path}limit=1")
    after = re.search(r'rel="next" href="[^"]*after=([^"&]*)"', first)
    assert after is not None
    second = await shown(tower, f"{path}limit=1&after={after[1]}")
    href = re.search(r'hx-sse:connect="([^"]*)"', second)
    assert href is not None
    asked = dict(parse_qsl(urlsplit(unescape(href[1])).query))
    assert asked["after"] == unquote(after[1])
    assert asked["limit"] == "1"


async def test_an_open_page_is_told_of_what_arrives(tower: Watchtower) -> None:
    told: list[tuple[str, str]] = []
    tower.consents.grant(tower.node)
    directory: Any = tower.plane.subjects.content.observed.directory
    publish = directory._publish

    def noted(topic: str, key: str, account: str | None) -> None:
        told.append((topic, key))
        publish(topic, key, account)

    directory._publish = noted
    await tower.send("/ingest/logs", lines=["x"])
    await tower.send("/ingest/logs", lines=["x"])  # the same again is no news
    assert told == [("content", tower.node)]
