"""`make sim`: simulates many seeds and prints the results."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Final

from holdfast.sim.runner import Summary, again, report, run_campaign
from holdfast.sim.scenario import Outcome

FOLDER: Final = ".sim"
"""Folder for the traces of failing seeds."""


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if every seed passed, else 1."""
    parser = argparse.ArgumentParser(prog="holdfast.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument("--traces", default=FOLDER, help="folder for traces of failing seeds")
    options = parser.parse_args(arguments)
    began = time.monotonic()

    def on_outcome(summary: Summary, outcome: Outcome) -> None:
        if outcome.failure:
            _say(f"\rseed {outcome.seed} FAILED: {outcome.failure[:300]}\n")
            _say(f"  trace: {options.traces}/{outcome.seed}.txt\n  again: {again(outcome.seed)}\n")
        took_s = max(time.monotonic() - began, 0.001)
        _say(
            f"\r{summary.seeds}/{options.seeds} seeds, {summary.steps:,} steps,"
            f" {summary.seeds / took_s:.1f} seeds/s, {len(summary.failures)} failed "
        )

    seeds = range(options.first, options.first + options.seeds)
    summary = run_campaign(seeds, jobs=options.jobs, folder=options.traces, on_outcome=on_outcome)
    _say("\n\n" + report(summary, time.monotonic() - began) + "\n")
    return 1 if summary.failures else 0


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
