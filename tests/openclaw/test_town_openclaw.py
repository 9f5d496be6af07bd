"""The real OpenClaw as the agent of a town: its model calls its tools, and the work lands."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.wire.api.town_work import ConvoyCreate, TaskAdd
from holdfast.wire.api.towns import Gate, RigAdd, TownAgentAdd, TownCreate, TownPatch
from tests.integration.towns.test_end_to_end import BRANCH, beads_of, told
from tests.openclaw.fakes import ToolModel, run_tool_model
from tests.openclaw.test_plane_openclaw import install
from tests.support.planes import PlaneProcess, plane_at, until
from tests.support.rigs import commit_to, git

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(900)]

START_S = 90.0
LANDED_S = 400.0
KEY = "sk-a-key-of-the-operator"
NAME = "claw"


@pytest.fixture
def rig(tmp_path: Path) -> Path:
    """Return a bare repository with one commit."""
    bare = tmp_path / "rig.git"
    git(tmp_path, "init", "--quiet", "--bare", f"--initial-branch={BRANCH}", str(bare))
    commit_to(bare, BRANCH, {"README.md": "A rig.\n"})
    return bare


def shell(command: str) -> tuple[str, dict[str, Any]]:
    """Return a call of OpenClaw's tool for commands, which waits for ten seconds by itself."""
    return "exec", {"command": command, "yieldMs": 120_000}


def write(path: str) -> tuple[str, dict[str, Any]]:
    return "write", {"path": path, "content": "hello\n"}


def commit(message: str) -> str:
    return f"git add . && git commit --quiet --message '{message}'"


def config_for(port: int) -> dict[str, Any]:
    """Return what OpenClaw is told of its model, whose key is in a variable."""
    provider = {
        "baseUrl": f"http://127.0.0.1:{port}/v1", "apiKey": "${FAKE_API_KEY}",
        "api": "openai-completions", "models": [{"id": "fake-1", "name": "Fake"}],
    }  # fmt: skip
    return {
        "models": {"providers": {"fake": provider}},
        "agents": {"defaults": {"model": {"primary": "fake/fake-1"}}},
    }


def town_at(plane: PlaneProcess, rig: Path, *polecat: str) -> str:
    """Return the id of a town with a rig, whose polecats are started by these words."""
    with plane.client() as client:
        town: str = client.call("towns.create", body=TownCreate(name="elm")).id
        setting = RigAdd(
            name="web",
            repository=str(rig),
            gates={"hello": Gate(command=("grep", "-i", "hello", "hello.txt"))},
            commands={"polecat": polecat} if polecat else {},
        )
        client.call("towns.rig", path={"id": town}, body=setting)
    return town


def land(plane: PlaneProcess, town: str, *tasks: TaskAdd) -> None:
    """Have a convoy land without an attempt that failed."""
    with plane.client() as client:
        order = ConvoyCreate(rig="web", title="all", tasks=tasks)
        convoy = client.call("towns.convoy", path={"id": town}, body=order).bead.id

        def ended() -> bool:
            bead = next(one for one in beads_of(client, town) if one.id == convoy)
            return bead.status != "open"

        try:
            until("the convoy lands", ended, seconds=LANDED_S)
        except AssertionError as error:
            raise AssertionError(told(plane, town)) from error
        beads = beads_of(client, town)
    assert {(one.status, one.charged) for one in beads} == {("closed", 0)}, told(plane, town)


def tried(plane: PlaneProcess) -> None:
    """Return once the instance was restarted with its present configuration, and is healthy."""

    def healthy() -> bool:
        with plane.client() as client:
            known = client.call("config.versions", path={"id": NAME}).versions
        return known[0].verdict == "healthy" and "fake" in plane.cli(*show, code=None).stdout

    show = ("instance", "config", "show", NAME)
    until("its configuration is healthy", healthy, seconds=START_S)


def check(plane: PlaneProcess, town: str, rig: Path, commits: int) -> None:
    """Each commit on what landed is one of the town's polecats' own."""
    with plane.client() as client:
        agents = client.call("towns.agents", path={"id": town}).items
    polecats = {f"{one.id} {one.id}@{town}.invalid" for one in agents if one.role == "polecat"}
    text = git(rig, "log", "--no-merges", "--format=%an %ae", BRANCH, "--", "hello.txt")
    authors = text.splitlines()
    assert len(authors) == commits
    assert set(authors) <= polecats


async def test_a_convoy_lands_by_programs_that_are_openclaw(
    openclaw: Path, tmp_path: Path, rig: Path
) -> None:
    own = tmp_path / "openclaw"
    own.mkdir()
    settings = {"HOLDFAST_CONFINE_READ": str(own), "HOLDFAST_TOWN_VARIABLES": "FAKE_API_KEY@*"}
    edit = {"path": "hello.txt", "edits": [{"oldText": "hello", "newText": "HELLO"}]}
    with plane_at(tmp_path / "home", **settings, FAKE_API_KEY=KEY) as plane:
        install(plane, openclaw)
        look = f"test -r {plane.keys}/cli.token || test -r {plane.home}/plane.log"
        model = ToolModel(
            greet=(
                write("hello.txt"),
                shell(f"{look} || printf 'it sees %s' nothing"),
                shell(f"{commit('Greet')} && holdfast-tool done"),
            ),
            shout=(("edit", edit), shell(f"{commit('Shout')} && holdfast-tool done")),
        )
        async with run_tool_model(model) as port:
            (own / "openclaw.json").write_text(json.dumps(config_for(port)))
            command = ("openclaw", "agent", "exec", "--config", str(own / "openclaw.json"))
            town = town_at(plane, rig, *command, "--message-file", "{prompt}", "--timeout", "0")
            tasks = (TaskAdd(title="greet"), TaskAdd(title="shout", depends_on=(0,)))
            await asyncio.to_thread(land, plane, town, *tasks)
        check(plane, town, rig, len(tasks))
    assert git(rig, "show", f"{BRANCH}:hello.txt") == "HELLO"
    assert "it sees nothing" in model.told
    assert model.keys == {f"Bearer {KEY}"}


async def test_a_bead_lands_by_the_openclaw_of_an_instance(
    openclaw: Path, tmp_path: Path, rig: Path
) -> None:
    done = f"cd {{place}}/clone && {commit('Greet')} && {{place}}/bin/holdfast-tool done"
    model = ToolModel(greet=(write("{place}/clone/hello.txt"), shell(done)))
    with plane_at(tmp_path / "home", HOLDFAST_STOP_GRACE_S="20") as plane:
        install(plane, openclaw)
        async with run_tool_model(model) as port:
            create = ("instance", "create", NAME, "--agent", "openclaw", "--wait", "90")
            plane.cli(*create, "--secret", "FAKE_API_KEY=-", given=f"{KEY}\n", code=None)
            plane.ready(NAME, START_S)
            plane.cli("instance", "config", "patch", NAME, json.dumps(config_for(port)))
            await asyncio.to_thread(tried, plane)
            town = town_at(plane, rig)
            with plane.client() as client:
                client.call("towns.set", path={"id": town}, body=TownPatch(polecats_max=1))
                body = TownAgentAdd(role="polecat", rig="web", host=NAME)
                client.call("towns.agent", path={"id": town}, body=body)
            await asyncio.to_thread(land, plane, town, TaskAdd(title="greet"))
        check(plane, town, rig, 1)
    assert git(rig, "show", f"{BRANCH}:hello.txt") == "hello"
    assert model.keys == {f"Bearer {KEY}"}
