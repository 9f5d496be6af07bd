"""The ticks of a running plane: in their file, in the panels of a town, and at /metrics."""

from __future__ import annotations

import asyncio
import uuid
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest

from holdfast.plane.wiring.files import TICKS_FILE
from tests.support.asgi import call, json_headers
from tests.support.patience import patience
from tests.support.real_plane import Made, end, make


async def post(made: Made, path: str, body: Any) -> dict[str, Any]:
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


async def get(made: Made, path: str, token: str) -> Any:
    return await call(made.plane.app, "GET", path, headers=json_headers(token))


async def drained(made: Made, path: str) -> dict[str, Any]:
    """Return the panels once they show an event."""
    async with asyncio.timeout(patience(20)):
        while True:
            answer = await get(made, path, made.tokens.owner)
            assert answer.status == 200, answer.body
            said: dict[str, Any] = answer.json()
            if any(said["charts"][0]["series"][0]["values"]):
                return said
            await asyncio.sleep(0.05)


@pytest.mark.timeout(240)
async def test_the_ticks_of_a_town_are_shown_counted_and_kept(tmp_path: Path) -> None:
    made = await make(tmp_path / "home")
    try:
        town = await post(made, "/api/towns", {"name": "elm"})
        where = f"/api/towns/{town['id']}"
        await post(made, f"{where}/rigs", {"name": "web"})
        await post(made, f"{where}/beads", {"rig": "web", "title": "Mend"})
        said = await drained(made, f"{where}/panels")
        assert [chart["name"] for chart in said["charts"]] == [
            "drained", "actions", "effects", "violations", "wall", "pending",
        ]  # fmt: skip
        longer = await get(made, f"{where}/panels?window=7d", made.tokens.operator)
        assert longer.json()["step_s"] == 3_600
        wrong = await get(made, f"{where}/panels?window=1y", made.tokens.owner)
        assert wrong.status == 400
        theirs = await get(made, f"{where}/panels", made.tokens.other_owner)
        assert theirs.status == 404
        figures = (await get(made, "/metrics", made.tokens.operator)).body.decode()
        assert 'holdfast_town_actions_total{type="Dispatch"} ' in figures
        assert "holdfast_town_violations 0.0" in figures
        checks = (await get(made, "/api/doctor", made.tokens.operator)).json()["checks"]
        assert {one["name"]: one["result"] for one in checks}["stores"] == "ok"
    finally:
        await end(made)
    assert made.log.at_least("error", "critical") == []
    with duckdb.connect(str(tmp_path / "home" / TICKS_FILE), read_only=True) as read:
        rows = read.execute(
            "SELECT count(*), sum(double2), sum(double3) FROM gastown_events WHERE blob6 = ?"
            " AND index1 = 'reconciler_tick'",
            [town["id"]],
        ).fetchall()
    (ticks, events, actions) = rows[0]
    assert ticks >= 3
    assert events >= 3
    assert actions >= 1
