"""A whole plane in this process, with a key for brains, and how to call it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.plane import Plane, make_plane
from tests.support.asgi import Answer, call, json_headers
from tests.support.logs import Lines


@dataclass
class Town:
    """A plane, tokens of two owners and an operator, and a key of all brains of `local`."""

    plane: Plane
    log: Lines
    tokens: dict[str, str] = field(default_factory=dict)
    key: str = ""

    async def ask(self, method: str, target: str, body: Any = None, *, by: str = "owner") -> Answer:
        """Return the answer to a token of this name, or to a text that is one itself."""
        raw = (
            b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        )
        headers = json_headers(self.tokens.get(by, by))
        return await call(self.plane.app, method, target, headers=headers, body=raw)

    async def get(self, target: str, *, by: str = "owner", status: int = 200) -> Any:
        """Return what a question is answered with."""
        answer = await self.ask("GET", target, by=by)
        assert answer.status == status, answer.body
        return answer.json()

    async def send(
        self, body: Any, path: str = "/ingest", *, key: str = "", status: int = 200
    ) -> Any:
        """Return what a brain's request is answered with."""
        answer = await self.ask("POST", f"/api/v1{path}", body, by=key or self.key)
        assert answer.status == status, (answer.status, answer.body)
        return answer.json()

    async def make_key(self, name: str = "k", *, brain: str = "", by: str = "owner") -> Any:
        """Return a new brain key with its secret."""
        answer = await self.ask("POST", "/api/brain-keys", {"name": name, "brain": brain}, by=by)
        assert answer.status == 201, answer.body
        return answer.json()


async def make_town(home: Path, **settings: Any) -> Town:
    """Start a plane with two accounts."""
    log = Lines()
    chosen = load_settings(
        {}, home=str(home), public_url="http://plane.test", accept_unconfined=True, **settings
    )
    plane = await make_plane(chosen, clock=SystemClock(), log=log, url="http://plane.test")
    plane.app._check_responses = True
    await plane.start()
    town = Town(plane, log)
    await plane.subjects.people.directory.make_account("other")
    for name, scope, account in (
        ("owner", "owner", "local"), ("stranger", "owner", "other"), ("operator", "operator", None)
    ):  # fmt: skip
        made = await plane.subjects.people.directory.make_token(
            name,
            scope="operator" if scope == "operator" else "owner",
            account=account,
            created_by="test",
        )
        town.tokens[name] = made[0]
    town.key = (await town.make_key())["key"]
    return town


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    made = await make_town(tmp_path / "home")
    yield made
    await made.plane.stop()
