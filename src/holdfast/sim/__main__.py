"""`make sim`: simulates many seeds and prints the results."""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from typing import Final

from holdfast.sim import town_life
from holdfast.sim.runner import Summary, again, report, run_campaign
from holdfast.sim.scenario import Outcome
from holdfast.sim.status import run_seed

STATUS_MOMENTS: Final = 10_000

FOLDER: Final = ".sim"
"""Folder for the traces of failing seeds."""


def main(arguments: list[str] | None = None) -> int:
    """Return 0 if every seed passed, else 1."""
    parser = argparse.ArgumentParser(prog="holdfast.sim", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many seeds")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=2, help="processes side by side")
    parser.add_argument("--traces", default=FOLDER, help="folder for traces of failing seeds")
    parser.add_argument("--towns", action="store_true", help="towns instead of the fleet")
    parser.add_argument("--statuses", action="store_true", help="statuses shown against the truth")
    options = parser.parse_args(arguments)
    if options.statuses:
        return _statuses(range(options.first, options.first + options.seeds))
    if options.towns:
        return _towns(range(options.first, options.first + options.seeds), jobs=options.jobs)
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


def _towns(seeds: range, *, jobs: int) -> int:
    """Run the seeds of towns; print what was found, and which rules were reached how often."""
    began, failed, rules = time.monotonic(), 0, Counter[str]()
    for count, result in enumerate(town_life.run_seeds(seeds, jobs=jobs), start=1):
        rules += result.rules
        if result.wrong:
            failed += 1
            _say(f"\rseed {result.seed} FAILED: {result.wrong[0][:300]}\n")
        took_s = max(time.monotonic() - began, 0.001)
        _say(f"\r{count}/{len(seeds)} towns, {count / took_s:.1f} a second, {failed} failed ")
    reached = ", ".join(f"{name} {number:,}" for name, number in sorted(rules.items()))
    _say(f"\n\nrules: {reached}\n{failed} of {len(seeds)} towns failed\n")
    return 1 if failed else 0


def _statuses(seeds: range) -> int:
    """Look at STATUS_MOMENTS statuses in all, spread over the seeds."""
    began, looked, wrong, codes = time.monotonic(), 0, 0, Counter[str]()
    each = -(-STATUS_MOMENTS // len(seeds))
    for seed in seeds:
        found = run_seed(seed, each)
        looked, wrong, codes = looked + found.moments, wrong + len(found.wrong), codes + found.codes
        for line in found.wrong[:3]:
            _say(f"\rseed {seed}: {line[:300]}\n")
        _say(f"\r{looked:,} statuses, {wrong} wrong ")
    shown = ", ".join(f"{code} {many:,}" for code, many in codes.most_common())
    _say(f"\n\n{shown}\n{wrong} of {looked:,} wrong, {time.monotonic() - began:.0f} s\n")
    return 1 if wrong else 0


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
