"""A converged fleet for a simulated day: `python -m tests.bench.bench_sim [--instances N]`.

It prints the rows written and the calls made in that day, which are to be none and one look each.
"""

from __future__ import annotations

import argparse
import json
import time

from holdfast.instances.policy import Policy
from tests.sim.stage import converge_and_rest, play


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--instances", type=int, default=10_000)
    count = parser.parse_args().instances
    began = time.perf_counter()
    rows, calls = play(lambda fleet: converge_and_rest(fleet, count), Policy(), hourly=True)
    figures = {
        "instances": count,
        "rows_in_a_day": rows,
        "calls_in_a_day": calls,
        "took_s": round(time.perf_counter() - began, 1),
    }
    print(json.dumps(figures))  # noqa: T201  what the bench is for


if __name__ == "__main__":
    main()
