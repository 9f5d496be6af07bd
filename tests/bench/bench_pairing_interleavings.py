"""Decided requests that are seen again: `python -m tests.bench pairing_interleavings`.

Many seeded interleavings of approve, dismiss, list, forced refresh, lost route, restart,
downgrade, machine change, lost answers and stores set back. The figure is 0 of 100,000.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from holdfast.sim.pairing import run
from tests.bench.figures import parser, tell

CHUNK = 250


def chunk(first: int, count: int) -> tuple[int, int, int, list[str]]:
    """Return interleavings, decisions done, looks and what was wrong, each with its seed."""
    traces = run(range(first, first + count))
    wrong = [f"seed {one.seed}: {text}" for one in traces for text in one.wrong]
    return len(traces), sum(one.done for one in traces), sum(one.looks for one in traces), wrong


def chunks(first: int, seeds: int) -> Iterator[tuple[int, int]]:
    """Yield (first seed, how many) of each part of the work."""
    for start in range(first, first + seeds, CHUNK):
        yield start, min(CHUNK, first + seeds - start)


def main() -> None:
    """Run them on every processor, and fail when anything was seen again."""
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=100_000)
    options.add_argument("--from", dest="first", type=int, default=0)
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = options.parse_args()
    began = time.perf_counter()
    total, done, looks = 0, 0, 0
    wrong: list[str] = []
    with ProcessPoolExecutor(asked.jobs) as pool:
        for ran, decided, looked, found in pool.map(
            chunk, *zip(*chunks(asked.first, asked.seeds), strict=True)
        ):
            total, done, looks = total + ran, done + decided, looks + looked
            wrong += found
    figures = {
        "interleavings": total,
        "decisions done": done,
        "looks": looks,
        "wrong": len(wrong),
        "first wrong": wrong[:5],
        "figure": "0 wrong",
        "took_s": round(time.perf_counter() - began, 1),
    }
    tell("pairing, interleaved", figures, as_json=asked.json)
    if wrong or not done:
        sys.exit(1)


if __name__ == "__main__":
    main()
