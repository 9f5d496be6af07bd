"""Backups under load, restored at a random age: what is lost, doubled or unowned.

`python -m tests.bench.bench_restore [--rounds 200] [--seed 1] [--json]`. In one process: a whole
plane with its real stores, stopped and made anew for each restore, over the simulated cloud, which
lives on. Each round gives orders from four writers, backs up meanwhile, goes on, and restores one
of the last six backups with a random answer about unknown machines and those that are gone. Real
processes and rotated tokens are in tests/integration/plane/test_backup.py.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.bench.figures import parser, percentiles, tell
from tests.bench.restore_campaign import run

SEEN = ("taken over", "adopted", "kept", "held")
NONE = ("lost", "doubled", "unowned", "unlisted", "replaced")


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=200)
    options.add_argument("--seed", type=int, default=1)
    asked = options.parse_args()
    began = time.monotonic()

    def told(counts: Counter[str]) -> None:
        if counts["rounds"] % 5 == 0:
            shown = ", ".join(f"{name} {counts[name]}" for name in ("rounds", *NONE, *SEEN))
            sys.stderr.write(f"{shown}, {time.monotonic() - began:.0f} s\n")

    with tempfile.TemporaryDirectory() as folder:
        campaign = asyncio.run(run(Path(folder), rounds=asked.rounds, seed=asked.seed, told=told))
    counts = campaign.counts
    figures = {
        "restores": counts["rounds"],
        **{f"{name} (0)": counts[name] for name in NONE},
        "machines taken over": counts["taken over"],
        "unknown machines adopted": counts["adopted"],
        "unknown machines kept, then ended by the answer": counts["kept"],
        "instances held for a decision": counts["held"],
        "age, orders given since the backup": percentiles(campaign.ages, digits=0),
        "seconds in all": round(time.monotonic() - began),
    }
    tell("restore", figures, as_json=asked.json)
    sys.exit(any(counts[name] for name in NONE))


if __name__ == "__main__":
    main()
