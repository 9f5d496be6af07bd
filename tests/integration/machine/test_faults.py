"""A few runs of random faults of real processes; a thousand are `python -m tests.bench faults`."""

from __future__ import annotations

from tests.bench.bench_faults import run


async def test_faults_of_real_processes_break_no_rule() -> None:
    rows = await run(seeds=6, workers=6, seconds=4.0)
    assert [(row["seed"], row["broken"]) for row in rows if row["broken"]] == []
    assert sum(len(row["starts_s"]) for row in rows) > 6
