"""A whole plane in this process over a consent in memory, and how observers call it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.content.records import Node
from holdfast.kernel.clock import SystemClock
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring import plane as wiring
from holdfast.plane.wiring.plane import Plane
from holdfast.telemetry.machines import MachineIndex
from tests.support.asgi import Answer, call, json_headers
from tests.support.logs import Lines
from tests.support.patience import patience
from tests.support.toys.consents import ToyConsents

OLD, NEW = "0.12.170", "0.12.937"


@dataclass
class Watchtower:
    """A plane with people's tokens, its consent, and one observer's key and node."""

    plane: Plane
    home: Path
    log: Lines
    consents: ToyConsents
    machines: MachineIndex
    tokens: dict[str, str] = field(default_factory=dict)
    key: str = ""
    name: str = ""
    node: str = ""
    program: str = ""  # what the observer's requests say sends them, as `User-Agent`

    async def ask(
        self, method: str, target: str, body: Any = None, *, by: str = "owner", **headers: str
    ) -> Answer:
        """Return the answer to a person's token of this name."""
        raw = b"" if body is None else msgspec.json.encode(body)
        sent = json_headers(self.tokens.get(by, by)) | headers
        return await call(self.plane.app, method, target, headers=sent, body=raw)

    async def get(self, target: str, *, by: str = "owner", status: int = 200) -> Any:
        """Return what a person's question is answered with."""
        answer = await self.ask("GET", target, by=by)
        assert answer.status == status, answer.body
        return answer.json()

    async def about(self) -> Any:
        """Return what the owner is shown of the node."""
        return await self.get(f"/api/nodes/{self.node}")

    async def post(
        self, path: str, body: Any, *, key: str = "", bearer: bool = False, peer: str = "192.0.2.7"
    ) -> Answer:
        """Return the answer to an observer's request."""
        raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
        headers = {"content-type": "application/json", "content-length": str(len(raw))}
        headers |= {"user-agent": self.program} if self.program else {}
        secret = key or self.key
        headers |= {"authorization": f"Bearer {secret}"} if bearer else {"x-api-key": secret}
        return await call(self.plane.app, "POST", path, headers=headers, body=raw, peer=peer)

    async def send(self, path: str, status: int = 200, **body: Any) -> Any:
        """Return what the node's own request is answered with."""
        answer = await self.post(path, {"node_id": self.name, **body})
        assert answer.status == status, (answer.status, answer.body)
        return answer.json()

    async def beat(self, version: str = NEW, **body: Any) -> Any:
        """Return what a heartbeat is answered with."""
        return await self.send("/ingest/heartbeat", version=version, platform="Linux", **body)

    async def hold_poll(self) -> asyncio.Task[Any]:
        """Return a long poll of the node, once the plane holds it."""

        async def poll() -> Any:
            target = f"/ingest/wake?node_id={self.name}&wait=15"
            headers = {"x-api-key": self.key}
            return (await call(self.plane.app, "GET", target, headers=headers)).json()

        hub: Any = self.plane.subjects.content.presence._wakes
        held = asyncio.create_task(poll())
        ends = time.monotonic() + patience(10)
        while not len(hub._hub):
            assert time.monotonic() < ends, "no poll is held"
            await asyncio.sleep(0)
        return held

    async def register(self, peer: str = "192.0.2.7", **body: Any) -> Answer:
        """Return the answer to a registration without a credential."""
        raw = msgspec.json.encode({"hostname": "box", "source": "kiloclaw", **body})
        return await call(
            self.plane.app, "POST", "/api/register",
            headers={"content-type": "application/json"}, body=raw, peer=peer,
        )  # fmt: skip

    def kept(self) -> Node:
        """Return the node as it is in memory."""
        found = self.plane.subjects.content.observed.directory.find(self.node, None)
        assert found is not None
        return found

    def bytes_on_disk(self, marker: bytes) -> list[str]:
        """Return the files of the plane's home that have a text anywhere."""
        return [
            str(path.relative_to(self.home))
            for path in sorted(self.home.rglob("*"))
            if path.is_file() and marker in path.read_bytes()
        ]


async def make_watchtower(home: Path, consents: ToyConsents, **settings: Any) -> Watchtower:
    """Start a plane with two accounts and one registered observer."""
    log, machines = Lines(), MachineIndex()
    chosen = load_settings(
        {}, home=str(home), public_url="http://plane.test", accept_unconfined=True, **settings
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring, "make_content", consents.wire)
        patch.setattr(wiring, "MachineIndex", lambda: machines)
        plane = await wiring.make_plane(
            chosen, clock=SystemClock(), log=log, url="http://plane.test"
        )
    plane.app._check_responses = True
    await plane.start()
    made = Watchtower(plane, home, log, consents, machines)
    directory = plane.subjects.people.directory
    if not any(one.name == "other" for one in await plane.core.stores.accounts.accounts()):
        await directory.make_account("other")
    for name, scope, account in (
        ("owner", "owner", "local"), ("stranger", "owner", "other"), ("operator", "operator", None)
    ):  # fmt: skip
        secret, _ = await directory.make_token(
            name,
            scope="operator" if scope == "operator" else "owner",
            account=account,
            created_by="test",
        )
        made.tokens[name] = secret
    return made


@pytest.fixture
def consents() -> ToyConsents:
    return ToyConsents()


@pytest.fixture
async def tower(tmp_path: Path, consents: ToyConsents) -> AsyncIterator[Watchtower]:
    made = await make_watchtower(tmp_path / "home", consents)
    answer = (await made.register()).json()
    made.key, made.name, made.node = answer["api_key"], answer["node_id"], answer["node"]
    yield made
    await made.plane.stop()
