"""A few storms of real processes; a thousand of them are a bench: `python -m tests.bench storm`."""

from __future__ import annotations

from tests.bench.bench_storm import run


async def test_storms_of_real_processes_break_no_rule() -> None:
    rows = await run(seeds=6, workers=6, seconds=4.0)
    assert [(row["seed"], row["broken"]) for row in rows if row["broken"]] == []
    assert sum(len(row["starts_s"]) for row in rows) > 6, "it was a storm"
