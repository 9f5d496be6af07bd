"""Backups under load, restored at a random age over a cloud that went on; the bench does more."""

from __future__ import annotations

from pathlib import Path

from tests.bench.restore_campaign import run


async def test_nothing_is_lost_doubled_or_unowned(tmp_path: Path) -> None:
    campaign = await run(tmp_path, rounds=3, seed=11, told=lambda _: None)
    counts = campaign.counts
    assert counts["rounds"] == 3
    assert counts["taken over"] > 0
    wrong = ("lost", "doubled", "unowned", "unlisted", "replaced")
    assert {name: counts[name] for name in wrong} == dict.fromkeys(wrong, 0)
