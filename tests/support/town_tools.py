"""Tools of agents over a real socket, for tests of hosts: what is called becomes events at once."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

from aiohttp import web

from holdfast.plane.wiring.town_hosts import Accept
from holdfast.towns import events

PROGRAM = (Path(__file__).parent / "data" / "town_tool.py").read_text()
TOOL = shlex.join((sys.executable, "-c", PROGRAM))
"""Its text and not its path: an agent does not see the folder of the tests."""
SCRIPTED = (
    "env", f"HOLDFAST_SCRIPTED_TOOL={TOOL}", "HOLDFAST_SCRIPTED_BEAT_S=1",
    sys.executable, "-m", "holdfast.machine.agents.scripted", "--prompt", "{prompt}",
)  # fmt: skip
"""The scripted agent with the program that stands for `holdfast-tool`."""


class Tools:
    """Issues tokens, and takes what their holders call."""

    def __init__(self, accept: Accept) -> None:
        self._accept = accept
        self._holders: dict[str, tuple[str, str, str]] = {}
        self._runner: web.AppRunner | None = None
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self.revoked: list[str] = []
        self.port = 0

    async def issue(self, town: str, agent: str, attempt: str) -> str:
        token = f"token-of-{attempt}"
        self._holders[f"Bearer {token}"] = (town, agent, attempt)
        return token

    async def revoke(self, town: str, agent: str, attempt: str) -> None:
        del town, agent
        self.revoked.append(attempt)

    def url(self, town: str) -> str:
        return f"http://127.0.0.1:{self.port}/{town}"

    async def open(self) -> None:
        app = web.Application()
        app.router.add_post("/{town}/{tool}", self._call)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _call(self, request: web.Request) -> web.Response:
        holder = self._holders.get(request.headers.get("Authorization", ""))
        if holder is None or holder[0] != request.match_info["town"]:
            return web.Response(status=401)
        town, agent, attempt = holder
        tool, body = request.match_info["tool"], await request.json()
        self.calls.append((attempt, tool, body))
        event = _event(tool, agent, attempt, body)
        if event is not None:
            await self._accept(town, event, dedupe=f"{tool}:{attempt}")
        return web.Response(text="taken")


def _event(tool: str, agent: str, attempt: str, body: dict[str, Any]) -> events.Event | None:
    if tool == "heartbeat":
        return events.AgentHeard(agent, attempt)
    if tool == "done":
        return events.AgentDone(
            agent=agent, attempt=attempt, branch=body.get("branch", ""),
            commit=body.get("commit", ""),
        )  # fmt: skip
    return None
