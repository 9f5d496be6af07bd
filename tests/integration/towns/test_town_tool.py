"""`holdfast-tool` and its MCP server as programs of their own, against a plane on a socket."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mcp import Client, StdioServerParameters

from holdfast.kernel.ids import address
from holdfast.town_tool.client import ToolClient, UnreachableError, read_settings
from holdfast.town_tool.declared import TOOLS
from holdfast.towns import events
from holdfast.towns.definition import KIND
from holdfast.towns.state import Agent
from tests.integration.towns.agents import (
    Outside,
    make_town,
    served,
    state_of,
    token_for,
    until,
    working,
)
from tests.support.patience import patience
from tests.support.real_plane import Made, end, make
from tests.support.town_outside import play

pytestmark = pytest.mark.timeout(240)

PROGRAM = (sys.executable, "-m", "holdfast.town_tool.main")


class Ran(NamedTuple):
    """How a program ended and what it wrote."""

    code: int
    out: str
    err: str


class Bench(NamedTuple):
    """A served plane with a town, an agent that works and the environment of its attempt."""

    made: Made
    town: str
    agent: Agent
    env: Mapping[str, str]


async def ran(env: Mapping[str, str], *words: str, said: bytes = b"") -> Ran:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HOLDFAST_")}
    program = await asyncio.create_subprocess_exec(
        *PROGRAM, *words, env={**kept, **env},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(patience(60)):
        out, err = await program.communicate(said)
    assert program.returncode is not None
    return Ran(program.returncode, out.decode(), err.decode())


@asynccontextmanager
async def bench(home: Path) -> AsyncIterator[Bench]:
    made = await make(home)
    try:
        async with served(made) as url:
            town = await make_town(made, beads=2)
            agent = await working(made, town)
            env = {
                "HOLDFAST_TOOL_URL": f"{url}/api/towns/{town}/tools",
                "HOLDFAST_TOOL_TOKEN": await token_for(made, town, agent),
            }
            yield Bench(made, town, agent, env)
    finally:
        await end(made)
    assert made.log.at_least("error", "critical") == []


@pytest.fixture
async def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    play(monkeypatch, Outside)
    async with bench(tmp_path / "home") as made:
        yield made


async def test_an_agent_works_by_the_command_line_alone(at: Bench) -> None:
    other = await working(at.made, at.town, but=(at.agent.attempt,))
    primed = await ran(at.env, "prime")
    assert primed.code == 0, primed.err
    assert "It is broken." in primed.out
    assert "- test: make test" in primed.out
    said = json.loads((await ran(at.env, "prime", "--json")).out)
    assert said["attempt"] == at.agent.attempt

    beat = await ran(at.env, "heartbeat", "--tools", "shell", "edit", "--worked-s-ago", "3")
    assert (beat.code, beat.out) == (0, "alive\n")
    mail = ("mail", "--to", other.id, "--title", "Parser", "--body", "-")
    sent = await ran(at.env, *mail, said=b"I take it.")
    assert (sent.code, sent.out[:11]) == (0, "taken: mail")
    lost = await ran(at.env, "nudge", "--to", "nobody", "--body", "?")
    assert lost.code == 1
    assert "no" in lost.err
    assert "shows who there is" in lost.err  # and the way on
    asked = ("escalate", "--category", "blocked", "--body", "Which schema?", "--severity", "high")
    assert (await ran(at.env, *asked)).out.startswith("taken: esc")
    assert (await ran(at.env, *asked)).out.startswith("nothing changed: somebody is asked")

    env = {**at.env, "HOLDFAST_TOWN_BRANCH": said["branch"]}
    done = await ran(env, "done", "--commit", "b" * 40)
    assert (done.code, done.out) == (0, "taken\n"), done.err
    state = state_of(at.made, at.town)
    assert state is not None
    (review,) = (bead.review for bead in state.beads.values() if bead.review is not None)
    assert (review.branch, review.commit) == (said["branch"], "b" * 40)
    after = await ran(env, "heartbeat", "--every", "1")
    assert after.code == 4
    assert "end the program" in after.err


async def test_a_plane_that_is_away_is_waited_for_and_then_named(at: Bench) -> None:
    gone = {
        **at.env,
        "HOLDFAST_TOOL_URL": at.env["HOLDFAST_TOOL_URL"].replace("127.0.0.1", "[::1]"),
    }
    waited: list[float] = []
    client = ToolClient(read_settings(gone), sleep=waited.append, clock=lambda: sum(waited))
    with pytest.raises(UnreachableError, match="could not be reached") as caught:
        await asyncio.to_thread(client.call, TOOLS[0], {})
    assert "what you committed is not lost" in caught.value.text
    assert 50 <= sum(waited) <= 60


@pytest.mark.parametrize(
    ("env", "words", "code", "why"),
    [
        ({}, ("prime",), 2, "HOLDFAST_TOOL_URL is not set"),
        ({"HOLDFAST_TOOL_URL": "http://localhost/"}, ("prime",), 2, "HOLDFAST_TOOL_TOKEN is not"),
        ({"HOLDFAST_TOOL_URL": "nowhere", "HOLDFAST_TOOL_TOKEN": "x"}, ("prime",), 2, "want https"),
        ({}, ("fly",), 2, "invalid choice"),
        ({}, ("mail", "--to", "a"), 2, "--body"),
        ({}, ("heartbeat", "--every", "90"), 2, "silent after 90 s"),
    ],
)
async def test_wrong_words_and_settings_are_named(
    env: dict[str, str], words: tuple[str, ...], code: int, why: str
) -> None:
    done = await ran(env, *words)
    assert done.code == code
    assert why in done.err
    assert not done.out


async def test_help_names_each_tool_and_loads_nothing_but_the_standard_library() -> None:
    code = (
        "import sys; from holdfast.town_tool import main\n"
        "try: main.main(['--help'])\n"
        "except SystemExit: pass\n"
        "print({name.partition('.')[0] for name in sys.modules}"
        " & {'mcp', 'mcp_types', 'msgspec', 'pydantic', 'anyio', 'asyncio'})"
    )
    program = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-c", code, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await program.communicate()
    assert out.decode().splitlines()[-1] == "set()"
    assert all(f"\n    {tool.name}" in out.decode() for tool in TOOLS)


@asynccontextmanager
async def by_mcp(env: Mapping[str, str]) -> AsyncIterator[Client]:
    """Connect the SDK's own client over stdio."""
    started = StdioServerParameters(
        command=PROGRAM[0], args=[*PROGRAM[1:], "mcp"], env={**os.environ, **env}
    )
    async with asyncio.timeout(patience(90)), Client(started) as client:
        yield client


def text_of(answer: Any) -> str:
    return "".join(part.text for part in answer.content)


async def test_the_same_tools_by_mcp(at: Bench) -> None:
    branch = f"bead/{at.agent.hook}/1"
    env = {**at.env, "HOLDFAST_TOWN_BRANCH": branch}
    async with by_mcp(env) as client:
        offered = (await client.list_tools()).tools
        assert [(one.name, one.description) for one in offered] == [
            (tool.name, tool.summary) for tool in TOOLS
        ]
        assert [one.input_schema for one in offered] == [tool.schema() for tool in TOOLS]

        primed = await client.call_tool("prime", {})
        assert not primed.is_error
        assert "It is broken." in text_of(primed)
        assert primed.structured_content["attempt"] == at.agent.attempt
        beat = await client.call_tool("heartbeat", {"tools": ["shell"], "worked_s_ago": 2})
        assert beat.structured_content == {"messages": 0, "drain": ""}
        lost = await client.call_tool("mail", {"to": "nobody", "body": "?"})
        assert lost.is_error
        assert "shows who there is" in text_of(lost)
        wrong = await client.call_tool("mail", {"to": "nobody"})
        assert wrong.is_error
        assert "body" in text_of(wrong)
        done = await client.call_tool("done", {})
        assert done.structured_content["changed"]
        after = await client.call_tool("prime", {})
        assert after.is_error
        assert "this attempt has ended" in text_of(after)
    rows = await at.made.plane.core.stores.reader.log(address(KIND, at.town))
    done_events = [events.decode_event(row.body, row.version) for row in rows]
    (reported,) = (one for one in done_events if isinstance(one, events.AgentDone))
    assert reported.branch == branch


async def test_a_loop_of_heartbeats_goes_on_until_the_attempt_ends(at: Bench) -> None:
    looping = asyncio.create_task(ran(at.env, "heartbeat", "--every", "1"))
    await until(lambda: _heard(at))
    said = json.loads((await ran(at.env, "prime", "--json")).out)
    env = {**at.env, "HOLDFAST_TOWN_BRANCH": said["branch"]}
    assert (await ran(env, "done")).code == 0
    assert (await looping).code == 4


def _heard(at: Bench) -> bool:
    state = state_of(at.made, at.town)
    return state is not None and state.agents[at.agent.id].contact == "heard"
