"""Many seeds in parallel: progress for a person, figures for the record, one line to re-run.

A failing seed leaves its whole trace in a file. The summary lists what the seeds reached: rules,
statuses, faults, and the rules that none of them reached, because a rule that was never exercised
was never proven. The scenario, not this module, decides whether a seed failed.
"""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from holdfast.sim.scenario import Outcome, play

RULES: Final = frozenset(
    {
        "agent.recovery",
        "budget.alert",
        "budget.go_on",
        "budget.pause",
        "budget.paused",
        "budget.period",
        "clock.set_back",
        "contact.never",
        "converged",
        "describe.on_silence",
        "describe.on_watch",
        "destroy",
        "destroy.finalize",
        "destroy.find",
        "destroy.machine",
        "destroy.retry",
        "destroy.volume",
        "destroy.volume.abandon",
        "idle.look",
        "key.renew",
        "none",
        "provision.stale",
        "replace.gone",
        "restart",
        "restart.deadline",
        "restart.describe",
        "restart.launch",
        "restart.retry",
        "restart.silent",
        "restart.soft",
        "restart.start",
        "restart.volume",
        "restart.wait",
        "run.down",
        "run.look",
        "secrets.hand_over",
        "secrets.relaunch",
        "start",
        "start.backoff",
        "start.blocked",
        "start.clear",
        "start.create",
        "start.deadline",
        "start.describe",
        "start.find",
        "start.launch",
        "start.retry",
        "start.volume",
        "start.wait",
        "stop",
        "stop.deadline",
        "stop.describe",
        "stop.find",
        "stop.launching",
        "stop.look",
        "stop.retry",
        "stop.settle",
        "stop.wait",
        "towns.tell",
        "twins.destroy",
        "twins.find",
    }
)
"""Every rule of the instance that has a name of its own; a test compares this with its source."""


class Summary(Struct, kw_only=True):
    """Results of a campaign."""

    seeds: int = 0
    steps: int = 0
    virtual_s: float = 0
    planes: int = 0
    previews: int = 0
    failures: dict[int, str] = {}
    rules: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    refusals: Counter[str] = Counter()

    def add(self, outcome: Outcome) -> None:
        """Count one seed."""
        self.seeds += 1
        self.steps += outcome.steps
        self.virtual_s += outcome.virtual_s
        self.planes += outcome.planes
        self.previews += outcome.previews
        self.rules.update(outcome.rules)
        self.statuses.update(outcome.statuses)
        self.faults.update(outcome.faults)
        self.refusals.update(outcome.refusals)
        if outcome.failure:
            self.failures[outcome.seed] = outcome.failure

    @property
    def unreached(self) -> list[str]:
        """Return the rules that no seed reached."""
        return sorted(RULES - self.rules.keys())


def run_seed(job: tuple[int, str]) -> Outcome:
    """Simulate one seed; a failing one leaves its trace in the folder of the job, if any."""
    seed, folder = job
    outcome, trace = play(seed)
    if outcome.failure and folder:
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        (path / f"{seed}.txt").write_text(f"{trace.text()}\n\n{outcome.failure}\n")
    return outcome


def run_seeds(seeds: Sequence[int], *, jobs: int, folder: str) -> Iterator[Outcome]:
    """Simulate the seeds in `jobs` processes and yield their outcomes as they come."""
    work = [(seed, folder) for seed in seeds]
    if jobs <= 1:
        yield from map(run_seed, work)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap_unordered(run_seed, work, chunksize=4)


def run_campaign(
    seeds: Sequence[int], *, jobs: int, folder: str, on_outcome: Callable[[Summary, Outcome], None]
) -> Summary:
    """Simulate the seeds and return the summary; `on_outcome` is called for each."""
    summary = Summary(
        failures={},
        rules=Counter(),
        statuses=Counter(),
        faults=Counter(),
        refusals=Counter(),
    )
    for outcome in run_seeds(seeds, jobs=jobs, folder=folder):
        summary.add(outcome)
        on_outcome(summary, outcome)
    return summary


def report(summary: Summary, took_s: float) -> str:
    """Return the summary as text."""
    crashes = summary.planes - summary.seeds
    lines = [
        f"{summary.seeds:,} seeds, {summary.steps:,} steps in {took_s:,.0f} s",
        f"{summary.virtual_s / 3_600:,.0f} simulated hours, {crashes:,} planes that ended",
        f"{sum(summary.faults.values()):,} faults injected",
        f"{summary.previews:,} dry runs equal to the ticks that followed",
        "",
        _table("statuses", summary.statuses),
        _table("faults", summary.faults),
        _table("refusals", summary.refusals),
        _table("rules", summary.rules),
        f"rules never reached: {', '.join(summary.unreached) or 'none'}",
        "",
    ]
    for seed, failure in sorted(summary.failures.items()):
        lines += [f"seed {seed}: {failure[:500]}", f"  again: {again(seed)}"]
    lines.append(f"{len(summary.failures)} of {summary.seeds} seeds failed")
    return "\n".join(lines)


def again(seed: int) -> str:
    """Return the command that runs one seed again."""
    return f'make sim ARGS="--from {seed} --seeds 1"'


def _table(title: str, counts: Counter[str]) -> str:
    rows = ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))
    return f"{title}: {rows}"
