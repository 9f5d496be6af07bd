"""What is lost when the power goes, over many cuts: `python -m tests.bench.bench_power_loss`.

    python -m tests.bench.bench_power_loss [--cuts 10000] [--seed 53] [--json]

A program that records corrections runs under strace, once per level; each record is replayed up to
seeded places, what was not synced dropped page by page, and what is left opened as after a restart
(tests/support/power_loss.py). Judged: at `power` nothing acknowledged is gone; at `process` only
the newest since the last checkpoint is, and nothing after a kill; no database is damaged; with the
pragma a step lower the loss is found.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from holdfast.outbox.database import POWER, PROCESS
from tests.bench.figures import parser, tell
from tests.integration.outbox import power
from tests.support import power_loss
from tests.support.power_loss import Cut, Keep, Recorded

MEMORY_DISK = Path("/dev/shm")  # where there is one the disk is not worn out
LOG_BYTES = 400_000


class Case(NamedTuple):
    """One level in one use; `share` is its part of the cuts."""

    name: str
    level: str
    options: dict[str, Any]
    share: float
    keep: Keep
    broken: Callable[[Recorded, Cut, power.Found], bool]
    found_broken: bool = False


def any_lost(_recorded: Recorded, _cut: Cut, found: power.Found) -> bool:
    """Return whether something is gone that `power`, or a kill, must leave."""
    return bool(found.lost or found.counted)


def more_lost(recorded: Recorded, cut: Cut, found: power.Found) -> bool:
    """Return whether more is gone than the newest since the last checkpoint."""
    if not found.lost:
        return False
    first = len(cut.acknowledged) - len(found.lost)
    return found.lost[0] != first or first < power.checkpointed(recorded, cut)


CASES = (
    Case("power", POWER, {"number": 60}, 0.4, Keep.CHOSEN, any_lost),
    Case("power, four threads", POWER, {"number": 30, "threads": 4}, 0.2, Keep.CHOSEN, any_lost),
    Case("process", PROCESS, {"number": 60}, 0.3, Keep.CHOSEN, more_lost),
    Case("process, killed", PROCESS, {"number": 60}, 0.08, Keep.EVERYTHING, any_lost),
    Case(
        "power, a step lower", POWER, {"number": 20, "synchronous": "NORMAL"}, 0.02,
        Keep.CHOSEN, any_lost, found_broken=True,
    ),
)  # fmt: skip


def run(case: Case, *, cuts: int, seed: int, scratch: Path) -> tuple[dict[str, Any], bool]:
    """Replay one case; return its figures, and whether it kept its promise."""
    recorded = power.record(scratch, case.level, log_bytes=LOG_BYTES, **case.options)
    begun = time.perf_counter()
    broken = damaged = losing = most = 0
    for cut in power_loss.cuts(recorded, number=cuts, seed=seed, scratch=scratch, keep=case.keep):
        found = power.after(cut)
        losing += bool(found.lost)
        most = max(most, len(found.lost))
        damaged += bool(found.quarantined or found.problem)
        broken += case.broken(recorded, cut, found)
    figures = {
        "cuts": cuts,
        "acknowledged": len(recorded.lines),
        "syncs": sum(recorded.syncs()),
        "cuts with a loss": losing,
        "most lost": most,
        "damaged": damaged,
        "beyond the promise": broken,
        "s": round(time.perf_counter() - begun, 1),
    }
    return figures, not damaged and (broken > 0) is case.found_broken


def main() -> None:
    """Run all cases."""
    asked = parser(__doc__)
    asked.add_argument("--cuts", type=int, default=10_000, help="in all")
    asked.add_argument("--seed", type=int, default=53)
    given = asked.parse_args()
    if missing := power_loss.unavailable():
        sys.exit(missing)
    figures, missed = {}, []
    for case in CASES:
        folder = MEMORY_DISK if MEMORY_DISK.is_dir() else None
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            cuts = max(1, round(given.cuts * case.share))
            found, kept = run(case, cuts=cuts, seed=given.seed, scratch=Path(scratch))
        figures[case.name] = found
        if not kept:
            missed.append(case.name)
    tell("loss of power", figures, as_json=given.json)
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
