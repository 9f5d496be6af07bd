"""The tools of agents through the API of a whole plane: its engine, its stores, its edge."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.ports import Logged
from holdfast.kernel.ids import address, derive
from holdfast.towns import events
from holdfast.towns.definition import KIND, arrival
from holdfast.towns.state import Agent, Config, State
from holdfast.towns.tools import REPORTS
from holdfast.wire.api.table import ENDPOINTS
from tests.integration.towns.agents import (
    Outside,
    make_town,
    state_of,
    token_for,
    tool,
    until,
    working,
)
from tests.integration.towns.test_api import make_again, order
from tests.support.asgi import call, json_headers
from tests.support.patience import patience
from tests.support.real_plane import Made, end, make
from tests.support.town_outside import play
from tests.support.walk import body_of, target_of

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
async def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Made]:
    play(monkeypatch, Outside)
    plane = await make(tmp_path / "home")
    yield plane
    await end(plane)
    assert plane.log.at_least("error", "critical") == []


async def log_of(made: Made, town: str) -> list[Logged]:
    rows = await made.plane.core.stores.reader.log(address(KIND, town))
    return [*rows]


async def happened(made: Made, town: str, kind: type[Any]) -> list[Any]:
    """Return the applied events of a kind."""
    rows = await log_of(made, town)
    all_ = [events.decode_event(row.body, row.version) for row in rows if row.outcome == "applied"]
    return [one for one in all_ if isinstance(one, kind)]


async def test_an_agent_learns_what_to_do_does_it_and_a_review_sends_it_back(made: Made) -> None:
    town = await make_town(made)
    polecat = await working(made, town)
    token = await token_for(made, town, polecat)

    said = (await tool(made, town, token, "prime")).json()
    assert (said["role"], said["title"], said["text"]) == ("polecat", "Mend 0", "It is broken.")
    assert (said["branch"], said["target"]) == (f"bead/{said['bead']}/1", "main")
    assert said["gates"] == [
        {"name": "test", "command": ["make", "test"]},
        {"name": "lint", "command": ["make", "lint"]},
    ]  # fmt: skip
    assert said["attempt"] == polecat.attempt
    await until(lambda: heard(made, town, polecat.id))

    refused = await tool(made, town, token, "done", {})
    assert (refused.status, refused.json()["code"]) == (409, "no_branch")
    assert "branch" in refused.json()["fix"]
    done = await tool(made, town, token, "done", {"branch": said["branch"], "commit": "a" * 40})
    assert done.json() == {"changed": True, "id": "", "reason": ""}

    ended = await tool(made, town, token, "done", {"branch": said["branch"]})
    assert (ended.status, ended.json()["code"]) == (401, "attempt_ended")
    assert ended.json()["fix"]

    refinery = await working(made, town, but=(polecat.attempt,))
    assert refinery.role == "refinery"
    theirs = await token_for(made, town, refinery)
    review = (await tool(made, town, theirs, "prime")).json()
    assert (review["type"], review["title"]) == ("merge_request", "Mend 0")
    assert (review["branch"], review["commit"]) == (said["branch"], "a" * 40)
    sent = await tool(made, town, theirs, "request-changes", {"body": "Add a test."})
    assert sent.json()["changed"]

    fixer = await working(made, town, but=(polecat.attempt, refinery.attempt))
    again = (await tool(made, town, await token_for(made, town, fixer), "prime")).json()
    assert (again["purpose"], again["why"], again["changes"]) == (
        "rework",
        "changes",
        "Add a test.",
    )
    assert again["branch"] == said["branch"]
    assert len(await happened(made, town, events.AgentDone)) == 1
    bodies = b"".join(row.body for row in await log_of(made, town))
    assert b"Add a test." not in bodies  # texts are beside the town, in no event


def heard(made: Made, town: str, agent: str) -> bool:
    state = state_of(made, town)
    return state is not None and state.agents[agent].contact == "heard"


async def test_messages_wait_are_read_and_are_acknowledged_once(made: Made) -> None:
    town = await make_town(made, beads=2)
    one = await working(made, town)
    other = await working(made, town, but=(one.attempt,))
    mine, theirs = await token_for(made, town, one), await token_for(made, town, other)

    letter = {"to": other.id, "title": "Hello", "body": "I take the parser."}
    first = (await tool(made, town, mine, "mail", letter, key="k1")).json()
    again = (await tool(made, town, mine, "mail", letter, key="k1")).json()
    assert first["id"] == again["id"]
    await tool(made, town, mine, "nudge", {"to": other.id, "body": "Look."})
    beat = (await tool(made, town, theirs, "heartbeat", {})).json()
    assert beat == {"messages": 2, "drain": ""}
    seen = (await tool(made, town, theirs, "prime")).json()["messages"]
    assert [(m["kind"], m["title"], m["body"]) for m in seen] == [
        ("mail", "Hello", "I take the parser."), ("nudge", "", "Look."),
    ]  # fmt: skip
    assert seen[0]["sender"] == one.id
    ids = {"ids": [m["id"] for m in seen]}

    not_mine = (await tool(made, town, mine, "acknowledge", ids)).json()
    assert not not_mine["changed"]
    assert seen[0]["id"] in not_mine["reason"]
    assert (await tool(made, town, theirs, "acknowledge", ids)).json()["changed"]
    assert not (await tool(made, town, theirs, "acknowledge", ids)).json()["changed"]
    assert (await tool(made, town, theirs, "heartbeat", {})).json()["messages"] == 0
    others = (await tool(made, town, theirs, "prime")).json()["agents"]
    assert [(o["id"], o["role"], o["status"]) for o in others] == [(one.id, "polecat", "working")]
    assert len(await happened(made, town, events.MailSent)) == 1

    nobody = await tool(made, town, mine, "mail", {"to": "nobody", "body": "?"}, key="k2")
    assert (nobody.status, nobody.json()["code"]) == (409, "no_such_agent")
    assert nobody.json()["fix"]
    wanted = derive(f"key:{one.id}@{town}", "tools.mail", "k2")
    assert await made.plane.core.stores.towns.text(town, f"text-{wanted}") is None  # erased again
    wanted = derive(f"key:{one.id}@{town}", "tools.mail", "k1")
    assert await made.plane.core.stores.towns.text(town, f"text-{wanted}") is not None

    ask = {"category": "blocked", "body": "The schema is not decided.", "severity": "high"}
    assert (await tool(made, town, mine, "escalate", ask)).json()["changed"]
    more = (await tool(made, town, mine, "escalate", ask)).json()
    assert (more["changed"], more["id"]) == (False, "")
    assert more["reason"]
    raised = await happened(made, town, events.Escalated)
    assert [(e.category, e.about) for e in raised] == [("agent:blocked", f"b/{one.hook}")]
    taken = await tool(made, town, mine, "acknowledge", {"ids": [raised[0].escalation]})
    assert (taken.status, taken.json()["code"]) == (403, "only_the_mayor")


async def test_every_tool_refuses_whoever_it_is_not_for(made: Made) -> None:
    town, elsewhere = await make_town(made), await make_town(made, "oak")
    agent = await working(made, town)
    token = await token_for(made, town, agent)
    there = await token_for(made, elsewhere, await working(made, elsewhere))
    done = await tool(made, town, token, "done", {"branch": f"bead/{agent.hook}/1"})
    assert done.status == 200, done.body
    rows = [row for row in ENDPOINTS if row.scope == "attempt"]
    assert len(rows) == 9
    for row in rows:
        for credential, status, code in (
            ("", 401, "not_an_attempt"),
            ("hfa_" + "x" * 43, 401, "not_an_attempt"),
            (made.tokens.owner, 401, "not_an_attempt"),
            (made.tokens.operator, 401, "not_an_attempt"),
            (token, 401, "attempt_ended"),
            (there, 403, "other_town"),
        ):
            answer = await call(
                made.plane.app, row.method, target_of(row, id=town),
                headers=json_headers(credential), body=body_of(row),
            )  # fmt: skip
            said = answer.json()
            assert (answer.status, said["code"]) == (status, code), (row.name, credential)
            assert said["message"], said["fix"]
    mine = await call(made.plane.app, "GET", "/api/towns", headers=json_headers(there))
    assert mine.status == 401  # nor does the token open anything else


async def test_an_attempt_finishes_with_its_own_branch_alone(made: Made) -> None:
    town = await make_town(made, beads=2)
    one = await working(made, town)
    other = await working(made, town, but=(one.attempt,))
    token = await token_for(made, town, one)
    for branch in (f"bead/{other.hook}/1", "main", f"bead/{one.hook}/2"):
        answer = await tool(made, town, token, "done", {"branch": branch})
        assert (answer.status, answer.json()["code"]) == (409, "other_branch"), branch
        assert f"bead/{one.hook}/1" in answer.json()["fix"]
    assert await happened(made, town, events.AgentDone) == []
    done = await tool(made, town, token, "done", {"branch": f"bead/{one.hook}/1"})
    assert done.json()["changed"], done.body


async def test_heartbeats_write_nothing(made: Made) -> None:
    town = await make_town(made)
    agent = await working(made, town)
    token = await token_for(made, town, agent)
    await tool(made, town, token, "heartbeat", {"attempt": agent.attempt})
    await until(lambda: heard(made, town, agent.id))
    before = len(await log_of(made, town))
    audited = await made.plane.core.stores.accounts.audit(None, None, 1)
    for _ in range(120):  # an hour of them
        beat = {"attempt": agent.attempt, "tools": ["shell"], "worked_s_ago": 20}
        assert (await tool(made, town, token, "heartbeat", beat)).status == 200
    await made.plane.subjects.tools.watch.step()
    assert len(await log_of(made, town)) == before
    assert await made.plane.core.stores.accounts.audit(None, None, 1) == audited
    other = await tool(made, town, token, "heartbeat", {"attempt": "e-other"})
    assert (other.status, other.json()["code"]) == (409, "other_attempt")


async def test_a_drain_is_told_with_its_nonce(made: Made) -> None:
    town = await make_town(made)
    token = await token_for(made, town, await working(made, town))
    begun = events.DrainStarted("n-7", made.plane.core.clock.now_ms() + 60_000)
    row = arrival(begun, dedupe="d", source="api")
    await made.plane.core.mailbox.ask(address(KIND, town), row, wait_ms=20_000)
    assert (await tool(made, town, token, "heartbeat", {})).json()["drain"] == "n-7"
    assert (await tool(made, town, token, "prime")).json()["drain"] == "n-7"


async def test_a_token_outlives_a_restart_and_ends_with_its_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(monkeypatch, Outside)
    first = await make(tmp_path / "home")
    town = await make_town(first)
    agent = await working(first, town)
    token = await token_for(first, town, agent)
    await tool(first, town, token, "heartbeat", {})
    await until(lambda: heard(first, town, agent.id))
    await end(first)

    again = await make_again(tmp_path / "home")
    try:
        known: Agent = await working(again, town)
        assert known.attempt == agent.attempt
        assert await token_for(again, town, agent) == token
        assert len(again.plane.subjects.tools.watch.silence) == 1
        done = await tool(again, town, token, "done", {"branch": f"bead/{agent.hook}/1"})
        assert done.json()["changed"]
        ended = await tool(again, town, token, "prime")
        assert (ended.status, ended.json()["code"]) == (401, "attempt_ended")
        grants = again.plane.core.stores.towns.grants
        async with asyncio.timeout(patience(20)):
            while any(one.town == town for one in await grants()):  # noqa: ASYNC110  it is deleted beside
                await asyncio.sleep(0.02)
    finally:
        await end(again)
    assert again.log.at_least("error", "critical") == []


async def test_an_attempt_cannot_fill_the_log_of_its_town(made: Made) -> None:
    town = await make_town(made)
    agent = await working(made, town)
    token = await token_for(made, town, agent)
    bad = {"branch": f"bead/{agent.hook}/1", "pr_url": "javascript:1"}
    before = len(await log_of(made, town))
    codes = []
    while "too_many_reports" not in codes:
        answers = await asyncio.gather(*(tool(made, town, token, "done", bad) for _ in range(25)))
        codes += [answer.json()["code"] for answer in answers]
    assert codes.count("bad_pr_url") <= 2 * REPORTS.burst
    assert len(await log_of(made, town)) - before <= 2 * REPORTS.burst
    assert (await tool(made, town, token, "heartbeat", {})).status == 200


async def configure(made: Made, town: str, **config: Any) -> None:
    only = tuple(config)
    row = arrival(
        events.TownConfigured(config=Config(**config), by="ann", only=only),
        dedupe=f"config:{config}", source="api",
    )  # fmt: skip
    await made.plane.core.mailbox.ask(address(KIND, town), row, wait_ms=20_000)


def state_at(made: Made, town: str) -> State:
    state = state_of(made, town)
    assert state is not None
    return state


async def test_what_work_cost_is_counted_once_bounded_and_stops_and_resumes_dispatch(
    made: Made,
) -> None:
    town = await make_town(made, beads=0)
    await configure(made, town, budget_day=3_000, polecats_max=1)
    for title in ("one", "two"):
        await order(made, f"/api/towns/{town}/beads", {"rig": "web", "title": title})
    polecat = await working(made, town)
    token = await token_for(made, town, polecat)
    for wrong in (-1, 1_000_000_001, "2", 1.5):
        said = await tool(made, town, token, "cost", {"id": "turn-1", "microdollars": wrong})
        assert (said.status, said.json()["field"]) == (400, "microdollars"), said.json()
    said = await tool(made, town, token, "cost", {"microdollars": 1})
    assert (said.status, said.json()["field"]) == (400, "id")
    turn = {"id": "turn-1", "microdollars": 2_000}
    for _ in range(3):
        assert (await tool(made, town, token, "cost", turn)).json()["changed"]
    other = await tool(made, town, token, "cost", {**turn, "microdollars": 2_001})
    assert (other.status, other.json()["code"]) == (409, "cost_reported")
    assert state_at(made, town).town.spent == 2_000
    free = await tool(made, town, token, "cost", {"id": "turn-2", "microdollars": 0})
    assert not free.json()["changed"]
    await tool(made, town, token, "cost", {"id": "turn-3", "microdollars": 1_500})
    state = state_at(made, town)
    assert (state.town.spent, state.town.exhausted) == (3_500, True)
    assert state.beads[polecat.hook].cost == 3_500
    await tool(made, town, token, "done", {"branch": f"bead/{polecat.hook}/1"})
    ended = await tool(made, town, token, "cost", {"id": "turn-4", "microdollars": 1})
    assert (ended.status, ended.json()["code"]) == (401, "attempt_ended")
    # Nobody works, so the town is not kept: a bead and a review wait for money.
    await until(lambda: state_of(made, town) is None)
    await configure(made, town, budget_day=10_000)
    assert (await working(made, town)).hook not in {"", polecat.hook}
