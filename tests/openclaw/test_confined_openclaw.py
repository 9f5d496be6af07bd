"""The real OpenClaw, confined: its tools work, on its own files and on nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.integration.machine.rig import until
from tests.openclaw.machines import run_stage
from tests.support.ports import free_port

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(900)]

PERSON = 4242
ANSWER_S = 180.0
DONE = "the tools are done"


class Model:
    """Calls the tools in order, then reports that it is done; keeps what it received."""

    def __init__(self, *calls: tuple[str, dict[str, Any]]) -> None:
        self.calls = list(calls)
        self.told = ""

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.told += (await request.read()).decode()
        delta: dict[str, Any] = {"role": "assistant", "content": DONE}
        reason = "stop"
        if self.calls:
            name, arguments = self.calls.pop(0)
            function = {"name": name, "arguments": json.dumps(arguments)}
            call = {"index": 0, "id": f"call-{len(self.calls)}", "type": "function"}
            delta = {"role": "assistant", "tool_calls": [{**call, "function": function}]}
            reason = "tool_calls"
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for part, why in ((delta, None), ({}, reason)):
            choice = {"index": 0, "delta": part, "finish_reason": why}
            chunk = {"id": "c", "object": "chat.completion.chunk", "model": "fake-1",
                     "created": int(time.time()), "choices": [choice]}  # fmt: skip
            await answer.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await answer.write(b"data: [DONE]\n\n")
        return answer


@asynccontextmanager
async def serve(model: Model) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_post("/v1/chat/completions", model.complete)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port := free_port()).start()
    try:
        yield port
    finally:
        await runner.cleanup()


async def test_its_tools_work_on_what_is_its_own(openclaw: Path, tmp_path: Path) -> None:
    token = tmp_path / "run" / "agent.token"
    model = Model(
        ("write", {"path": "letter.md", "content": "a letter\n"}),
        ("exec", {"command": f"tr a-z A-Z < letter.md > shouted.md; cat {token} 2>&1; ls /proc"}),
    )
    async with (
        serve(model) as port,
        run_stage(tmp_path, openclaw, model=port, is_open=True) as stage,
    ):
        (confined,) = stage.machine.events("agent.confined")
        assert confined["kind"] != "none"
        await stage.telegram.write(PERSON, "please write it and shout it")
        await until(
            lambda: any(DONE in text for text in stage.telegram.said_to(PERSON)), "its answer",
            ANSWER_S,
        )  # fmt: skip
        assert (tmp_path / "agent/workspace/shouted.md").read_text() == "A LETTER\n"
        assert "No such file or directory" in model.told or "Permission denied" in model.told
        assert token.read_text().strip() not in model.told
        assert (await stage.machine.status())["restarts"] == 0
