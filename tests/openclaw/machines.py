"""A controller with a real OpenClaw, a fake Telegram and a fake model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.machine.rig import Machine, confine_order, run_machine, until
from tests.openclaw.fakes import (
    BOT_TOKEN,
    Device,
    Telegram,
    make_certificate,
    run_model,
    run_proxy,
    run_telegram,
)

START_S = 240.0
"""A first start of an old release on a busy machine; it compiles for more than a minute."""

CHANNELS = "/_kilo/pairing/channels"
DEVICES = "/_kilo/pairing/devices"
_API_ROOT_SINCE = (2026, 7)


@dataclass
class Stage:
    """One release under a controller, with everything it connects to."""

    machine: Machine
    telegram: Telegram
    version: str

    @property
    def is_old(self) -> bool:
        return _numbers(self.version)[:2] < _API_ROOT_SINCE

    @property
    def has_interface(self) -> bool:
        """Return whether the release decides channel requests by its own interface."""
        return _numbers(self.version) >= (2026, 8, 1)

    async def listed(self, path: str) -> list[dict[str, Any]]:
        _, body = await self.machine.ask("GET", path)
        rows: list[dict[str, Any]] = body["requests"]
        return rows

    async def waits(self, path: str, key: str, value: str) -> dict[str, Any]:
        """Return the request with this value, once it is listed without a requested refresh."""

        async def look() -> dict[str, Any] | None:
            rows = await self.listed(path)
            return next((row for row in rows if row.get(key) == value), None)

        found: dict[str, Any] = await until(look, f"{key} {value} in {path}", 20)
        return found

    async def decide(self, path: str, verb: str, **order: str) -> tuple[int, dict[str, Any]]:
        return await self.machine.ask("POST", f"{path}/{verb}", body=order)

    async def knock(self, device: Device, **how: Any) -> dict[str, Any]:
        token = (self.machine.home / "run" / "agent.token").read_text().strip()
        port = int(self.machine.state_file()["agentPort"])
        protocol = 3 if self.is_old else 4
        return await device.knock(self.machine.session, port, token, protocol=protocol, **how)

    async def ready(self) -> None:
        async def look() -> bool:
            return bool((await self.machine.status())["ready"])

        await until(look, "the gateway", START_S)


@asynccontextmanager
async def run_stage(
    home: Path, release: Path, *, model: int | None = None, model_key: str = "unused",
    is_open: bool = False, read: Sequence[Path] = (), write: Sequence[Path] = (), **extra: str,
) -> AsyncIterator[Stage]:  # fmt: skip
    """Start a controller with the release installed in `release`, and wait until it is ready.

    `model` is the port of a model of the caller's, `model_key` the key for it in its configuration;
    senders are approved automatically if `is_open`. The agent may use `read` and `write` too.
    """
    package = json.loads((release / "node_modules/openclaw/package.json").read_text())
    version = str(package["version"])
    async with AsyncExitStack() as stack:
        channel: dict[str, Any] = {"enabled": True, "botToken": BOT_TOKEN, "dmPolicy": "pairing"}
        if is_open:
            channel |= {"dmPolicy": "open", "allowFrom": ["*"]}
        if _numbers(version)[:2] < _API_ROOT_SINCE:
            # This release has no other address: a proxy leads it to ours.
            tls, authority = make_certificate(home / "tls", "api.telegram.org")
            extra["NODE_EXTRA_CA_CERTS"] = str(authority)
            telegram = await stack.enter_async_context(run_telegram(tls))
            proxy = await stack.enter_async_context(run_proxy(telegram.port))
            channel["proxy"] = f"http://127.0.0.1:{proxy}"
        else:
            telegram = await stack.enter_async_context(run_telegram())
            channel["apiRoot"] = f"http://127.0.0.1:{telegram.port}"
        if model is None:
            model = await stack.enter_async_context(run_model())
        write_config(home, channel, model, model_key)
        if read or write:
            certificates = extra.get("NODE_EXTRA_CA_CERTS", "")
            extra["HOLDFAST_CONFINE_ORDER"] = confine_order(
                home, certificates=certificates, read=read, write=write
            )
        machine = await stack.enter_async_context(
            run_machine(
                home, HOLDFAST_AGENT="openclaw", HOLDFAST_OPENCLAW_HOME=str(release), **extra
            )
        )
        await machine.opened()
        stage = Stage(machine, telegram, version)
        await stage.ready()
        yield stage


def write_config(
    home: Path, channel: dict[str, Any], model_port: int, model_key: str = "unused"
) -> None:
    """Write the configuration before the agent's first start, unless there is one."""
    state = home / "agent" / "openclaw"
    if (state / "openclaw.json").exists():
        return
    state.mkdir(parents=True, exist_ok=True)
    provider = {
        "baseUrl": f"http://127.0.0.1:{model_port}/v1", "apiKey": model_key,
        "api": "openai-completions", "models": [{"id": "fake-1", "name": "Fake"}],
    }  # fmt: skip
    config = {
        "gateway": {"mode": "local", "bind": "loopback", "auth": {"mode": "token"},
                    "trustedProxies": ["127.0.0.1"]},
        "channels": {"telegram": channel},
        "logging": {"file": str(state / "logs" / "openclaw.log")},
        "models": {"providers": {"fake": provider}},
        "agents": {"defaults": {"workspace": str(home / "agent" / "workspace"),
                                "model": {"primary": "fake/fake-1"}}},
    }  # fmt: skip
    (state / "openclaw.json").write_text(json.dumps(config, indent=2))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdigit())
