"""What is lost when the power goes, over many cuts: `python -m tests.bench.bench_power_loss`.

    python -m tests.bench.bench_power_loss [--cuts 10000] [--seed 53] [--only outbox] [--json]

A program that writes runs under strace, once per case; each record is replayed up to seeded places,
what was not synced dropped page by page, and what is left opened as after a restart
(tests/support/power_loss.py). Judged:

- outbox: at `power` nothing acknowledged is gone; at `process` only the newest since the last
  checkpoint is, and nothing after a kill.
- stores, and files of plane and controller: nothing that was answered is gone, no transaction is
  half there, everything opens; charts may be begun anew, which counts as a loss and as no breach.
- with the pragma a step lower, or a sync taken out of the record, the loss is found.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from holdfast.outbox.database import POWER, PROCESS
from tests.bench.figures import parser, tell
from tests.integration.outbox import power
from tests.integration.plane import power as files
from tests.integration.stores import power as stores
from tests.support import power_loss
from tests.support.power_loss import Cut, Keep, Recorded

LOG_BYTES: Final = 400_000
CUTS_MIN: Final = 15
"""Of each case, so that a loss that must be found is, in a short campaign too."""


class Found(NamedTuple):
    """How many answers are gone after a cut, and whether that, or the state, breaks a promise."""

    lost: int
    damaged: bool
    broken: bool


class Case(NamedTuple):
    """One use of one store; `share` is its part of the cuts; `lossy` where loss must be found."""

    name: str
    share: float
    record: Callable[[Path], Recorded]
    look: Callable[[Recorded, Cut], Found]
    keep: Keep = Keep.CHOSEN
    lossy: bool = False


def outbox(recorded: Recorded, cut: Cut, *, level: str) -> Found:
    """Open a brain: at `process` the newest since the last checkpoint may be gone."""
    found = power.after(cut)
    broken = bool(power.breach(recorded, cut, found, level))
    return Found(len(found.lost), bool(found.quarantined or found.problem), broken)


def store(recorded: Recorded, cut: Cut, *, name: str) -> Found:
    """Open a store; charts that DuckDB does not open are begun anew, which is no breach."""
    found = stores.after(name, recorded, cut)
    anew = found.moved and name == "charts"
    damaged = bool(found.problem or found.torn or found.moved) and not anew
    return Found(len(found.lost), damaged, bool(found.lost) and not anew)


def written(recorded: Recorded, cut: Cut, *, name: str) -> Found:
    """Read the files of a plane or a controller."""
    found = files.after(name, recorded, cut)
    return Found(len(found.lost), bool(found.problem), bool(found.lost))


def of_outbox(
    name: str,
    level: str,
    share: float,
    *,
    lossy: bool = False,
    keep: Keep = Keep.CHOSEN,
    **options: Any,
) -> Case:
    """Return a case of the outbox."""
    make = partial(power.record, level=level, log_bytes=LOG_BYTES, **options)
    judged = POWER if keep is Keep.EVERYTHING else level
    return Case(f"outbox, {name}", share, make, partial(outbox, level=judged), keep, lossy)


def of_store(
    name: str, share: float, more: str = "", *, lossy: bool = False, **options: Any
) -> Case:
    """Return a case of a store."""
    make = partial(stores.record, store=name, **options)
    return Case(f"stores, {name}{more}", share, make, partial(store, name=name), lossy=lossy)


def of_files(name: str, share: float, *, unsynced: str = "") -> Case:
    """Return a case of files, maybe as if those that end with `unsynced` were not synced."""

    def make(scratch: Path) -> Recorded:
        recorded = files.record(scratch, name, rounds=12)
        return (
            recorded.without_syncs(lambda path: path.endswith(unsynced)) if unsynced else recorded
        )

    more = ", new files not synced" if unsynced else ""
    look = partial(written, name=name)
    return Case(f"files, {name}{more}", share, make, look, lossy=bool(unsynced))


CASES: Final = (
    of_outbox("power", POWER, 0.1, number=60),
    of_outbox("power, four threads", POWER, 0.05, number=30, threads=4),
    of_outbox("process", PROCESS, 0.08, number=60),
    of_outbox("process, killed", PROCESS, 0.03, number=60, keep=Keep.EVERYTHING),
    of_outbox("a step lower", POWER, 0.01, number=20, synchronous="NORMAL", lossy=True),
    of_store("journal", 0.09, rounds=12),
    of_store("journal", 0.04, ", eight at a time", rounds=24, together=8),
    of_store("accounts", 0.09, rounds=12),
    of_store("corrections", 0.07, rounds=12),
    of_store("content", 0.08, rounds=12),
    of_store("consent", 0.06, rounds=8),
    of_store("consent", 0.03, ", eight at a time", rounds=16, together=8),
    of_store("contacts", 0.05, rounds=20),
    of_store("charts", 0.02, rounds=8),
    of_store("journal", 0.005, ", NORMAL", lossy=True, synchronous="NORMAL"),
    of_store("journal", 0.005, ", OFF", lossy=True, synchronous="OFF"),
    of_store("accounts", 0.005, ", NORMAL", lossy=True, synchronous="NORMAL"),
    of_store("corrections", 0.005, ", NORMAL", lossy=True, synchronous="NORMAL"),
    of_store("content", 0.005, ", NORMAL", lossy=True, synchronous="NORMAL"),
    of_store("consent", 0.005, ", NORMAL", lossy=True, synchronous="NORMAL"),
    of_files("keys", 0.025),
    of_files("old keys", 0.02),
    of_files("daily", 0.02),
    of_files("machine", 0.03),
    of_files("records", 0.02),
    of_files("consent key", 0.02),
    of_files("gate", 0.02),
    of_files("keys", 0.005, unsynced=".new"),
    of_files("machine", 0.005, unsynced=".new"),
    of_files("gate", 0.005, unsynced=".new"),
)


def run(case: Case, *, cuts: int, seed: int, scratch: Path) -> tuple[dict[str, Any], bool]:
    """Replay one case; return its figures, and whether it kept its promise."""
    recorded = case.record(scratch)
    begun = time.perf_counter()
    broken = damaged = losing = most = 0
    for cut in power_loss.cuts(recorded, number=cuts, seed=seed, scratch=scratch, keep=case.keep):
        found = case.look(recorded, cut)
        losing += bool(found.lost)
        most = max(most, found.lost)
        damaged += found.damaged
        broken += found.broken
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
    return figures, bool(broken or damaged) is case.lossy


def main() -> None:
    """Run all cases, or those whose names begin with what is asked for."""
    asked = parser(__doc__)
    asked.add_argument("--cuts", type=int, default=10_000, help="over all cases")
    asked.add_argument("--seed", type=int, default=53)
    asked.add_argument("--only", default="", help="outbox, stores, files, or a longer beginning")
    given = asked.parse_args()
    if missing := power_loss.unavailable():
        sys.exit(missing)
    figures, missed = {}, []
    for case in CASES:
        if not case.name.startswith(given.only):
            continue
        with power_loss.scratch_folder() as scratch:
            cuts = max(CUTS_MIN, round(given.cuts * case.share))
            figures[case.name], kept = run(case, cuts=cuts, seed=given.seed, scratch=scratch)
        if not kept:
            missed.append(case.name)
    tell("loss of power", figures, as_json=given.json)
    if missed:
        sys.exit(f"missed: {', '.join(missed)}")


if __name__ == "__main__":
    main()
