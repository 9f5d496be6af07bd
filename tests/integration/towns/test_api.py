"""Towns through the API of a whole plane, with its real engine, stores and rehearsals."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.plane import make_plane
from holdfast.towns.state import Town, decode_town
from holdfast.towns.views import TOWN_VIEW
from tests.support.asgi import Answer, call, json_headers
from tests.support.patience import patience
from tests.support.real_plane import Log, Made, end, make
from tests.support.walk import Tokens


async def ask(made: Made, method: str, path: str, body: Any = None, *, token: str = "") -> Answer:
    headers = json_headers(token or made.tokens.owner)
    raw = b"" if body is None else msgspec.json.encode(body)
    return await call(made.plane.app, method, path, headers=headers, body=raw)


async def order(made: Made, path: str, body: Any) -> dict[str, Any]:
    """Return the answer to an order, sent again while a busy machine has not taken it."""
    headers = {**json_headers(made.tokens.owner), "idempotency-key": str(uuid.uuid4())}
    async with asyncio.timeout(patience(20)):
        while True:
            raw = msgspec.json.encode(body)
            answer = await call(made.plane.app, "POST", path, headers=headers, body=raw)
            if answer.status != 202:
                assert answer.status == 200, answer.body
                said: dict[str, Any] = answer.json()
                return said
            await asyncio.sleep(0.05)


async def town_of(made: Made, town: str) -> Town:
    row = await made.plane.core.stores.reader.view(TOWN_VIEW, town)
    assert row is not None
    return decode_town(row[0])


@pytest.mark.timeout(240)
async def test_a_town_is_made_given_work_and_says_why_nothing_happens(tmp_path: Path) -> None:
    made = await make(tmp_path / "home")
    try:
        town = await order(made, "/api/towns", {"name": "elm"})
        where = f"/api/towns/{town['id']}"
        assert (town["account"], town["breaker"]) == ("local", "closed")
        await order(
            made, f"{where}/rigs", {"name": "web", "gates": {"test": {"command": ["make", "test"]}}}
        )
        first = await order(made, f"{where}/beads", {"rig": "web", "title": "One"})
        second = await order(
            made, f"{where}/beads", {"rig": "web", "title": "Two", "blocked_by": [first["id"]]}
        )

        listed = (await ask(made, "GET", f"{where}/beads")).json()["items"]
        assert sorted(bead["id"] for bead in listed) == sorted([first["id"], second["id"]])
        assert (await ask(made, "GET", "/api/towns")).json()["items"][0]["id"] == town["id"]
        gone = await ask(made, "GET", where, token=made.tokens.other_owner)
        assert gone.status == 404
        refused = await ask(made, "POST", f"{where}/beads", {"rig": "nowhere", "title": "Lost"})
        assert (refused.status, refused.json()["code"]) == (409, "no_such_rig")

        said = await ask(
            made, "POST", f"/api/rehearse/town/{town['id']}/explain",
            {"entity": f"b/{second['id']}"}, token=made.tokens.operator,
        )  # fmt: skip
        assert said.status == 200, said.body
        now = said.json()["ticks"][-1]  # those before it are of the record
        reasons = [one["reason"] for one in now["suppressed"]]
        assert reasons == ["it waits for other beads"]
    finally:
        await end(made)
    assert made.log.at_least("error", "critical") == []

    # The next start tells every town that its ages count from now.
    again = await make_again(tmp_path / "home")
    started = [part.name for part in again.plane.subjects.parts]
    assert started.index("towns") < started.index("engine")  # it is accepted before any tick
    try:
        async with asyncio.timeout(patience(20)):
            while not await resumed(again, town["id"]):  # noqa: ASYNC110  it is read from the store
                await asyncio.sleep(0.05)
    finally:
        await end(again)


async def resumed(made: Made, town: str) -> bool:
    known = await town_of(made, town)
    return known.resumed_ms > known.created_ms


async def make_again(home: Path) -> Made:
    """Start the plane of a home once more."""
    log = Log()
    chosen = load_settings(
        {}, home=str(home), public_url="http://plane.test", accept_unconfined=True
    )
    plane = await make_plane(chosen, clock=SystemClock(), log=log, url="http://plane.test")
    await plane.start()
    return Made(plane, log, Tokens(owner="", other_owner="", operator="", brain="", node=""), "")
