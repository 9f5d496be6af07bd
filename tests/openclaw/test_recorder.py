"""The recording plugin in the real OpenClaw: an edit of the agent becomes a correction."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from holdfast.sdk import Brain, Event
from tests.support.patience import patience
from tests.support.ports import free_port

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(600)]

READY_S = 120.0
TURN_S = 180.0
DRAFT = "Dear Sir, please utilize"
FINAL = "Hello, please use"
TURNS: tuple[tuple[str, dict[str, Any]] | None, ...] = (
    ("write", {"path": "letter.md", "content": f"{DRAFT} the tool.\n"}),
    ("edit", {"path": "letter.md", "edits": [{"oldText": DRAFT, "newText": FINAL}]}),
    None,
)


@asynccontextmanager
async def run_editor() -> AsyncIterator[int]:
    """Serve a model that writes a letter, corrects it, and is done; yield its port."""
    turns: Iterator[tuple[str, dict[str, Any]] | None] = iter(TURNS)

    async def complete(request: web.Request) -> web.StreamResponse:
        await request.read()
        turn = next(turns, None)
        delta: dict[str, Any] = {"role": "assistant", "content": "done"}
        if turn is not None:
            call = {"name": turn[0], "arguments": json.dumps(turn[1])}
            one = {"index": 0, "id": f"call-{turn[0]}", "type": "function", "function": call}
            delta = {"role": "assistant", "tool_calls": [one]}
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for part, reason in ((delta, None), ({}, "stop" if turn is None else "tool_calls")):
            choice = {"index": 0, "delta": part, "finish_reason": reason}
            chunk = {"id": "c", "object": "chat.completion.chunk", "model": "fake-1",
                     "created": int(time.time()), "choices": [choice]}  # fmt: skip
            await answer.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await answer.write(b"data: [DONE]\n\n")
        return answer

    app = web.Application()
    app.router.add_post("/v1/chat/completions", complete)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port := free_port())
    await site.start()
    try:
        yield port
    finally:
        await runner.cleanup()


async def run(*words: str, env: dict[str, str], within_s: float) -> str:
    process = await asyncio.create_subprocess_exec(
        *words, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    async with asyncio.timeout(within_s):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


def settings(home: Path, *, port: int, model: int) -> None:
    provider = {
        "baseUrl": f"http://127.0.0.1:{model}/v1",
        "apiKey": "none",
        "api": "openai-completions",
        "models": [{"id": "fake-1", "name": "fake-1"}],
    }
    config = {
        "gateway": {
            "mode": "local", "port": port, "bind": "loopback",
            "auth": {"mode": "token", "token": "a-token-of-the-test"},
        },
        "models": {"providers": {"fake": provider}},
        "agents": {"defaults": {"model": {"primary": "fake/fake-1"}}},
    }  # fmt: skip
    folder = home / ".openclaw"
    folder.mkdir(parents=True)
    (folder / "openclaw.json").write_text(json.dumps(config))


async def ready(port: int) -> None:
    async with asyncio.timeout(READY_S), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                    if answer.status == 200:
                        return
            except aiohttp.ClientError:
                pass
            await asyncio.sleep(0.2)


async def corrections(folder: Path) -> list[Event]:
    async with asyncio.timeout(patience(30)):
        while True:
            if (folder / "system.db").exists():
                with Brain(folder, notice=lambda _text: None) as brain:
                    found = [e for e in brain.tail() if e.type == "CORRECTION"]
                if found:
                    return found
            await asyncio.sleep(0.2)


async def test_an_edit_of_the_agent_is_recorded(openclaw: Path, tmp_path: Path) -> None:
    home, folder, port = tmp_path / "home", tmp_path / "brain", free_port()
    env = {"HOME": str(home), "PATH": os.environ["PATH"], "NO_COLOR": "1"}
    program = str(openclaw / "bin" / "openclaw")
    async with run_editor() as model:
        settings(home, port=port, model=model)
        await run(sys.executable, "-m", "holdfast.cli.main", "brain", "install",
                  "--agent", "openclaw", "--brain", str(folder), env=env, within_s=30)  # fmt: skip
        await run(program, "plugins", "enable", "holdfast-recorder", env=env, within_s=60)
        with (tmp_path / "gateway.log").open("wb") as log:
            gateway = await asyncio.create_subprocess_exec(
                program, "gateway", "--port", str(port), "--bind", "loopback",
                env=env, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            await ready(port)
            await run(program, "agent", "--session-id", "s1", "--message", "fix the letter",
                      env=env, within_s=TURN_S)  # fmt: skip
            (event,) = await corrections(folder)
        finally:
            gateway.terminate()
            await gateway.wait()
    data = json.loads(event.data)
    assert (data["draft"], data["final"]) == (DRAFT, FINAL)
    assert data["context"] == "openclaw edit letter.md"
    assert event.session
