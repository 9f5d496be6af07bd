"""People who message a real OpenClaw are seen, approved and answered through the plane.

On each release. The bot's token is set as people set it and reaches the configuration by reference;
removing it empties the list. With HOLDFAST_TEST_TIMES set, the times of each round are printed
(`-s`).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast.machine.agents.openclaw.install import find_installed
from holdfast.wire.api.pairing import PairingApprove, PairingRequest
from tests.bench.figures import percentiles
from tests.openclaw.fakes import (
    ANSWER,
    BOT_TOKEN,
    Telegram,
    make_certificate,
    run_model,
    run_proxy,
    run_telegram,
)
from tests.support.planes import PlaneProcess, plane_at

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(900)]

NAME = "claw"
ROUNDS = int(os.environ.get("HOLDFAST_TEST_ROUNDS", "1"))
START_S = 240.0
STEP_S = 0.01


@dataclass
class Scene:
    """A plane with one instance of a release that uses a fake Telegram."""

    plane: PlaneProcess
    telegram: Telegram
    id: str
    state: Path

    async def ask(self, endpoint: str, body: Any = None, **query: str) -> Any:
        def call() -> Any:
            with self.plane.client() as client:
                path = {} if endpoint == "pairing.inbox" else {"id": self.id}
                return client.call(endpoint, path=path, query=query, body=body)

        return await asyncio.to_thread(call)

    async def seen(self, sender: int) -> PairingRequest:
        """Return a sender's request once the inbox shows it, without a refresh of the machine."""

        async def look() -> PairingRequest | None:
            items = (await self.ask("pairing.inbox")).items
            return next((one for one in items if one.sender == str(sender)), None)

        found: PairingRequest = await soon(look, f"{sender} in the inbox", 30)
        return found

    def config(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.state / "openclaw.json").read_text())
        return found


async def soon(look: Callable[[], Any], what: str, seconds: float) -> Any:
    ends = time.monotonic() + seconds
    while not (found := await look()):
        assert time.monotonic() < ends, f"not within {seconds:g} s: {what}"
        await asyncio.sleep(STEP_S)
    return found


@asynccontextmanager
async def scene(release: Path, folder: Path) -> AsyncIterator[Scene]:
    package = json.loads((release / "node_modules/openclaw/package.json").read_text())
    version = str(package["version"])
    async with AsyncExitStack() as stack:
        is_old = version.startswith("2026.3.")
        given: dict[str, str] = {}
        if is_old:
            # This release has no other address: a proxy leads it to ours. The plane's environment
            # names the certificate, because an agent may not read what its own names elsewhere.
            tls, authority = make_certificate(folder / "tls", "api.telegram.org")
            telegram = await stack.enter_async_context(run_telegram(tls))
            proxy = await stack.enter_async_context(run_proxy(telegram.port))
            given["NODE_EXTRA_CA_CERTS"] = str(authority)
            channel = {"proxy": f"http://127.0.0.1:{proxy}"}
        else:
            telegram = await stack.enter_async_context(run_telegram())
            channel = {"apiRoot": f"http://127.0.0.1:{telegram.port}"}
        model = await stack.enter_async_context(run_model())
        plane = stack.enter_context(plane_at(folder / "home", HOLDFAST_STOP_GRACE_S="20", **given))
        linked = find_installed(plane.home / "agents", version=version)
        linked.parent.mkdir()
        linked.symlink_to(release)
        (linked.parent / "openclaw").symlink_to(linked.name)
        words = ("instance", "create", NAME, "--agent", "openclaw")
        await asyncio.to_thread(plane.cli, *words)
        view = await asyncio.to_thread(plane.ready, NAME, START_S)
        with plane.client() as client:
            sandbox: str = client.call("instance.get", path={"id": view.id}).sandbox_id
        state = plane.home / "machines" / sandbox / "home" / "openclaw"
        made = Scene(plane, telegram, view.id, state)
        await restart_with(made, channel, model)
        yield made
        await asyncio.to_thread(plane.cli, "instance", "stop", NAME, "--wait", "60")


async def restart_with(made: Scene, channel: dict[str, Any], model: int) -> None:
    """Set the addresses of Telegram and the model and the token, and restart the agent."""
    plane = made.plane
    await asyncio.to_thread(plane.cli, "instance", "stop", NAME, "--wait", "60")
    config = made.config()
    provider = {
        "baseUrl": f"http://127.0.0.1:{model}/v1", "apiKey": "unused",
        "api": "openai-completions", "models": [{"id": "fake-1", "name": "Fake"}],
    }  # fmt: skip
    config["channels"] = {"telegram": {"dmPolicy": "pairing", **channel}}
    config["models"] = {"providers": {"fake": provider}}
    config["agents"]["defaults"]["model"] = {"primary": "fake/fake-1"}
    (made.state / "openclaw.json").write_text(json.dumps(config))
    words = ("instance", "secrets", NAME, "--set", "telegramBotToken=-")
    await asyncio.to_thread(plane.cli, *words, given=f"{BOT_TOKEN}\n")
    await start(made)


async def start(made: Scene) -> None:
    await asyncio.to_thread(made.plane.cli, "instance", "start", NAME)
    await asyncio.to_thread(made.plane.ready, NAME, START_S)


async def test_who_writes_is_seen_let_in_and_answered(release: Path, tmp_path: Path) -> None:
    async with scene(release, tmp_path) as made:
        entry = made.config()["channels"]["telegram"]
        assert (entry["botToken"], entry["enabled"]) == ("${TELEGRAM_BOT_TOKEN}", True)
        times: dict[str, list[float]] = {"seen": [], "approved": [], "answered": []}
        for number in range(ROUNDS):
            await one_round(made, 777_001 + number, times)
        assert [one.what for one in (await made.ask("pairing.history")).entries].count(
            "approved"
        ) == ROUNDS
        if os.environ.get("HOLDFAST_TEST_TIMES"):
            for what, took in times.items():
                sys.stdout.write(f"\n{release.name} {what}, s: {percentiles(took)}")
        await made.telegram.write(778_000, "and me?")
        await made.seen(778_000)
        await the_last_token_goes(made)
        everything = b"".join(path.read_bytes() for path in made.state.glob("*.json*"))
        assert BOT_TOKEN.encode() not in everything


async def one_round(made: Scene, sender: int, times: dict[str, list[float]]) -> None:
    """Send a message, approve the sender, and await the answer; record how long each takes."""
    began = time.monotonic()
    await made.telegram.write(sender, "hello")
    request = await made.seen(sender)
    times["seen"].append(time.monotonic() - began)
    began = time.monotonic()
    await made.ask("pairing.approve", PairingApprove(request_id=request.request_id))
    times["approved"].append(time.monotonic() - began)
    assert (await made.ask("pairing.inbox")).total == 0
    began = time.monotonic()
    await made.telegram.write(sender, "ping")

    async def answered() -> bool:
        return any(ANSWER in text for text in made.telegram.said_to(sender))

    await soon(answered, "an answer", 120)
    times["answered"].append(time.monotonic() - began)
    assert (await made.ask("pairing.list", refresh="true")).items == ()


async def the_last_token_goes(made: Scene) -> None:
    """Remove the token: the next start disables the channel, and no request is pending."""
    words = ("instance", "secrets", NAME, "--unset", "telegramBotToken")
    await asyncio.to_thread(made.plane.cli, *words)
    await asyncio.to_thread(made.plane.cli, "instance", "stop", NAME, "--wait", "60")
    await start(made)
    entry = made.config()["channels"]["telegram"]
    assert (entry.get("botToken"), entry["enabled"]) == (None, False)
    listed = await made.ask("pairing.list", refresh="true")
    assert (listed.items, listed.complete) == ((), True)
    assert (await made.ask("pairing.inbox")).total == 0
