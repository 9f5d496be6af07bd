"""Budgets on a whole plane: counters that come become alerts, of instances and of nodes."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest

from holdfast.content.senders import OURS
from holdfast.kernel import metrics
from tests.integration.content.conftest import Watchtower
from tests.integration.content.test_costs import model, own_prices
from tests.support.patience import patience

TEN = {"day_micro": 10_000_000}


@pytest.fixture(autouse=True)
def _is_sent_by_our_observer(tower: Watchtower) -> None:
    tower.program = f"{OURS}/0.1.0"


async def day(tower: Watchtower, cost: float, **how: Any) -> None:
    """Send the numbers of today, with the node's key or another's."""
    today = str(datetime.now(UTC).date())
    body = {"snapshots": [{"day": today, "models": [model(cost=cost)]}]}
    answer = await tower.post("/ingest/autonomy", {"node_id": tower.name, **body, **how})
    assert answer.status == 200, answer.body


async def put(tower: Watchtower, path: str, body: Any, status: int = 200, **who: str) -> Any:
    answer = await tower.ask("PUT", path, body, **who)
    assert answer.status == status, answer.body
    return answer.json()


async def test_a_node_elsewhere_is_alerted_once_for_each_level(tower: Watchtower) -> None:
    path = f"/api/nodes/{tower.node}/budget"
    found = await tower.get(path)
    assert (found["budget"], found["limits"], found["counters"]) == (None, [], False)
    assert found["note"].startswith("Its owner lets no counters out")
    tower.consents.grant(tower.node, ("counters",))
    found = await put(tower, path, TEN)
    assert (found["limits"][0]["spent"], found["alerts"], found["note"]) == (0, [], "")
    for cost in (4.0, 8.0, 7.0, 8.5, 25.0):
        await day(tower, cost)

        async def is_known(cost: float = cost) -> bool:
            limit = (await tower.get(path))["limits"][0]
            levels = {4.0: 0, 8.0: 80, 7.0: 50, 8.5: 80, 25.0: 100}
            return bool(limit["level"] == levels[cost])

        await eventually(is_known)
    found = await tower.get(path)
    assert [one["level"] for one in found["alerts"]] == [100, 80]
    assert found["limits"][0]["alerted"] == 100
    store = tower.plane.subjects.content.observed.store
    assert len(await store.budgets()) == 1  # read by a start: unit/content/test_node_budgets.py
    await put(tower, path, {**TEN, "cap": True}, 400)
    await put(tower, path, TEN, 404, by="stranger")
    assert (await put(tower, path, {}))["budget"] is None
    assert await store.budgets() == []


async def test_an_instance_learns_what_its_node_spent(tower: Watchtower) -> None:
    body = {"name": "alpha", "agent": "demo", "desired": "stopped"}
    answer = await tower.ask("POST", "/api/instances", body)
    assert answer.status == 201, answer.body
    instance = answer.json()["id"]
    path = f"/api/instances/{instance}/budget"
    found = await put(tower, path, {**TEN, "cap": True})
    assert found["note"].startswith("No counters of it have come yet")
    assert (found["limits"][0]["spent"], found["month"]) == (None, None)
    directory = tower.plane.subjects.content.observed.directory
    secret, key = await directory.make_key("n", account="local", instance=instance, created_by="x")
    node = await directory.node(key, "box-of-alpha")
    tower.key, tower.name = secret, node.name
    assert (await tower.get(path))["note"].startswith("Its owner lets no counters out")
    tower.consents.grant(node.id, ("counters",))
    await day(tower, 12.5)

    async def is_reached() -> bool:
        return bool((await tower.get(path))["limits"][0]["alerted"] == 100)

    await eventually(is_reached)
    view = (await tower.get(f"/api/instances/{instance}"))["instance"]
    # It is wanted stopped, so there is nothing to pause; a start would be.
    assert (view["status"], view["paused"]) == ("provisioned", False)
    assert view["attention"] == "its budget of $10.00 a day is used up"
    answer = await tower.ask("POST", f"/api/instances/{instance}/start", {})
    assert (answer.status, answer.json()["code"]) == (409, "paused_by_budget")
    answer = await tower.ask("POST", f"{path}/go-on", {})
    assert answer.status == 200
    assert (await tower.get(path))["limits"][0]["excused"]
    await put(tower, path, {"cap": True}, 409)
    problem = await put(tower, f"/api/nodes/{node.id}/budget", TEN, 409)
    assert problem["fix"] == f"Use {path}, or: holdfast budget show|set {instance}"
    await tower.get(path, by="stranger", status=404)


async def test_prices_that_change_are_measured_at_once(tower: Watchtower) -> None:
    path = f"/api/nodes/{tower.node}/budget"
    tower.consents.grant(tower.node, ("counters",))
    await put(tower, path, TEN)
    today = str(datetime.now(UTC).date())
    await tower.send("/ingest/autonomy", snapshots=[{"day": today, "models": [model("ours")]}])
    found = await tower.get(path)
    assert found["note"] == "1M tokens of this month have no price: no limit in USD counts that"
    await own_prices(tower, '[[price]]\nmodel = "ours"\nfrom = 2020-01-01\ninput = 9.5')

    async def is_alerted() -> bool:
        return [one["level"] for one in (await tower.get(path))["alerts"]] == [95]

    await eventually(is_alerted)
    figures = tower.plane.metrics.render().decode()
    assert f'{metrics.SPEND_ALERTS.name}{{level="95",period="day"}} 1.0' in figures


async def eventually(holds: Any) -> None:
    """Ask again until something holds."""
    async with asyncio.timeout(patience(10)):
        while not await holds():  # noqa: ASYNC110  a plane says so only when it is asked
            await asyncio.sleep(0.01)
