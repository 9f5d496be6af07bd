"""What agents cost on a whole plane: let in by consent, priced, seen by whom it belongs to."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.clock import DAY_MS
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.content import quota_of
from holdfast.plane.wiring.costs import PriceFile, shipped_prices
from tests.integration.content.conftest import Watchtower


def day(ago: int = 0) -> date:
    """Return a day before today, as the plane counts them."""
    return datetime.now(UTC).date() - timedelta(days=ago)


PRICES = """
version = "ours"
[[price]]
model = "m1"
from = 2020-01-01
currency = "EUR"
input = 2
output = 4.5
[[price]]
model = "m1"
from = {today}
input = 20
"""


def model(name: str = "m1", **numbers: Any) -> dict[str, Any]:
    return {"model": name, "turns": 1, "tool_calls": 2, "input": 1_000_000, "output": 0, **numbers}


async def send(tower: Watchtower, *models: Any, ago: int = 0, status: int = 200) -> None:
    snapshot = {"day": str(day(ago)), "sessions": 1, "models": [*models]}
    await tower.send("/ingest/autonomy", status, snapshots=[snapshot])


async def costs(tower: Watchtower, query: str = "", **how: Any) -> Any:
    return await tower.get(f"/api/costs?{query}", **how)


async def own_prices(tower: Watchtower, text: str | None) -> None:
    """Change the operator's file, and have the plane look at it as its job does."""
    file = tower.home / "prices.toml"
    if text is None:
        file.unlink()
    else:
        file.write_text(text)
    await tower.plane.subjects.content.costs.prices.read_again()


async def test_numbers_are_counted_once_consent_lets_them_in_and_gone_once_deleted(
    tower: Watchtower,
) -> None:
    await send(tower, model("claude-opus-4-5"), status=403)
    found = await costs(tower, "by=node")
    assert (found["nodes"], found["closed"], found["total"]["input"]) == (1, 1, 0)
    (row,) = found["items"]
    assert (row["node"], row["counters"], row["used"]["amounts"]) == (tower.node, False, [])
    tower.consents.grant(tower.node, ("counters",))
    await send(tower, model("claude-opus-4-5"), model("local", cost=0.25), model("who"))
    await send(tower, model("claude-opus-4-5", input=2_000_000), model("local", cost=0.25))
    found = await costs(tower, "by=model")
    named = {one["model"]: one["used"] for one in found["items"]}
    assert [one["model"] for one in found["items"]] == ["claude-opus-4-5", "local"]
    assert named["claude-opus-4-5"]["amounts"] == [
        {
            "currency": "USD", "micro": 10_000_000, "reported_micro": 0,
            "estimated_micro": 10_000_000,
        }
    ]  # fmt: skip
    assert named["local"]["amounts"][0]["reported_micro"] == 250_000
    assert found["total"]["amounts"][0]["micro"] == 10_250_000
    assert found["month"]["so_far"][0]["micro"] == 10_250_000
    assert found["month"]["projected"] == []
    gone = await tower.plane.subjects.content.observed.deletion.delete(tower.node, ("counters",))
    assert gone == {"counters": 1}
    found = await costs(tower)
    assert (found["items"], found["total"]["amounts"]) == ([], [])


async def test_a_model_without_a_price_has_tokens_and_no_money(tower: Watchtower) -> None:
    tower.consents.grant(tower.node, ("counters",))
    await send(tower, model("never-heard-of", output=5))
    used = (await costs(tower))["items"][0]["used"]
    assert (used["unpriced_tokens"], used["amounts"]) == (1_000_005, [])


async def test_each_sees_their_own_and_nobody_elses(tower: Watchtower) -> None:
    tower.consents.grant(tower.node, ("counters",))
    await send(tower, model("claude-opus-4-5"))
    assert (await costs(tower, "by=node", by="stranger"))["items"] == []
    assert (await costs(tower, by="stranger"))["total"]["input"] == 0
    assert (await costs(tower, "account=local", by="operator"))["total"]["input"] == 1_000_000
    assert (await costs(tower, "account=other", by="operator"))["total"]["input"] == 0
    assert (await costs(tower, by="operator"))["total"]["input"] == 1_000_000
    await costs(tower, "account=local", by="stranger", status=404)
    await costs(tower, f"node={tower.node}", by="stranger", status=404)
    assert (await costs(tower, f"node={tower.node}"))["total"]["turns"] == 1


async def test_days_are_chosen_and_wrong_ones_named(tower: Watchtower) -> None:
    tower.consents.grant(tower.node, ("counters",))
    for ago in range(6):
        await send(tower, model("claude-opus-4-5"), ago=ago)
    first, last = day(4), day(2)
    found = await costs(tower, f"from={first}&to={last}&limit=2")
    assert [one["day"] for one in found["items"]] == [str(first), str(first + timedelta(days=1))]
    rest = await costs(tower, f"from={first}&to={last}&limit=2&after={found['next']}")
    assert ([one["day"] for one in rest["items"]], rest["next"]) == ([str(last)], "")
    assert found["total"]["turns"] == 3
    assert found["month"]["days"] == 5
    assert found["month"]["projected"][0]["micro"] >= found["month"]["so_far"][0]["micro"]
    for query, field in (
        (f"from={last}&to={first}", "from"), ("from=2026-02-30", "from"), ("to=2026-13-01", "to"),
        ("from=2020-01-01&to=2026-01-01", "from"), ("from=yesterday", "from"), ("by=week", "by"),
        ("after=x", "after"),
    ):  # fmt: skip
        problem = await costs(tower, query, status=400)
        assert problem["field"] == field
        assert problem["message"] or problem["fix"]


async def test_the_operators_prices_win_from_their_day_on_and_a_wrong_file_changes_nothing(
    tower: Watchtower,
) -> None:
    tower.consents.grant(tower.node, ("counters",))
    for ago in (0, 1):
        await send(tower, model("m1"), ago=ago)
    assert (await costs(tower))["total"]["amounts"] == []
    await own_prices(tower, PRICES.format(today=day()))
    found: Any = None
    for by in ("day", "model", "node"):
        found = await costs(tower, f"by={by}")
        money = {one["currency"]: one["micro"] for one in found["total"]["amounts"]}
        assert money == {"EUR": 2_000_000, "USD": 20_000_000}, by
    assert found["prices"].endswith("own ours")
    await own_prices(tower, "[[price]]\nmodel = 5")
    found = await costs(tower)
    assert [one["micro"] for one in found["total"]["amounts"]] == [2_000_000, 20_000_000]
    assert "price 1: model: want" in found["prices_trouble"]
    report = await tower.get("/api/doctor", by="operator")
    (check,) = (one for one in report["checks"] if one["name"] == "prices")
    assert (check["result"], "prices.toml" in check["message"]) == ("failed", True)
    await own_prices(tower, None)
    found = await costs(tower)
    assert (found["prices_trouble"], found["total"]["amounts"]) == ("", [])


@pytest.mark.parametrize("whom", ["account", "node"])
async def test_what_a_flat_rate_pays_for_is_no_money(tower: Watchtower, whom: str) -> None:
    tower.consents.grant(tower.node, ("counters",))
    await send(tower, model("claude-opus-4-5", cost=9.0), model("claude-opus-4-1"))
    await send(tower, model("claude-opus-4-5"), ago=1)
    value = "local" if whom == "account" else tower.node
    plan = f'name = "Max"\n{whom} = "{value}"\nmodels = ["claude-opus-4-5*"]\nfrom = {day()}'
    await own_prices(tower, f"[[plan]]\n{plan}\n")
    for by in ("day", "model", "node"):
        total = (await costs(tower, f"by={by}"))["total"]
        assert [one["micro"] for one in total["amounts"]] == [20_000_000], by
        assert (total["plan_tokens"], total["plans"]) == (1_000_000, ["Max"]), by


def unreadable(path: Path) -> None:
    path.write_bytes(b"\xff")


def large(path: Path) -> None:
    path.write_bytes(b"#" * 1_048_577)


def linked(path: Path) -> None:
    path.symlink_to(path)


@pytest.mark.parametrize("make", [unreadable, large, linked, os.mkfifo, Path.mkdir])
def test_a_file_that_cannot_be_read_is_a_trouble_with_the_shipped_prices(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "prices.toml")
    file = PriceFile(tmp_path)
    assert file.now.trouble.startswith("prices.toml: ")
    assert file.now.prices == shipped_prices()


def test_counters_are_kept_for_400_days_or_as_long_as_content() -> None:
    for chosen, days in (
        ({}, 400),
        ({"content_days": 7, "counter_days": 0}, 7),
        ({"counter_days": 40}, 40),
    ):
        quota = quota_of(load_settings({}, **chosen))
        assert quota.keep_counters_ms == days * DAY_MS
