"""The campaign: `make fuzz`. A seed is run again by its number:

python -m tests.fuzz plane --from 123 --cases 1
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from tests.fuzz.campaign import Report, run
from tests.fuzz.servers import run_controller, run_plane

CASES = 1_000_000
WARM_UP = 2_000
SERVERS = {"plane": run_plane, "controller": run_controller}
EVERY = 5_000
"""Cases between two lines of progress."""


def rss_mib() -> float:
    """Return the memory of this process."""
    return float(psutil.Process().memory_info().rss) / 2**20


def progress(first: int, began: float) -> Callable[[Report], None]:
    """Return what prints a line now and then, with the seed to go on from."""

    shown = 0

    def told(report: Report) -> None:
        nonlocal shown
        for finding in report.wrong[shown:]:
            sys.stdout.write(f"{finding}\n")
        shown = len(report.wrong)
        if report.cases % EVERY:
            return
        rate = report.cases / (time.monotonic() - began)
        sys.stdout.write(
            f"{report.cases} cases, next seed {first + report.cases}, {rate:.0f}/s, "
            f"{rss_mib():.0f} MiB, {len(report.wrong)} findings\n"
        )
        sys.stdout.flush()

    return told


def seeds(first: int, cases: int, minutes: float) -> Iterator[int]:
    """Yield so many seeds from the first on, or fewer when the time is over."""
    ends = time.monotonic() + minutes * 60
    for seed in range(first, first + cases):
        if time.monotonic() > ends:
            return
        yield seed


async def campaign(what: str, first: int, cases: int, minutes: float) -> Report:
    """Run so many seeds from the first on, within so many minutes."""
    with tempfile.TemporaryDirectory(prefix="holdfast-fuzz-") as home:
        async with SERVERS[what](Path(home) / what) as servers:
            if cases > WARM_UP:  # so that caches and pools are there
                await run(servers, range(-WARM_UP, 0))
            before, began = rss_mib(), time.monotonic()
            report = await run(servers, seeds(first, cases, minutes), progress(first, began))
            took = time.monotonic() - began
            sys.stdout.write(
                f"{report.cases} cases in {took:.0f} s, {report.cases / took:.0f}/s; "
                f"RSS {before:.0f} MiB at the begin, {rss_mib():.0f} MiB at the end\n"
            )
    return report


def main() -> int:
    """Return 1 where anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=SERVERS)
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after these")
    chosen = parser.parse_args()
    report = asyncio.run(campaign(chosen.what, chosen.first, chosen.cases, chosen.minutes))
    for (door, status), count in sorted(report.statuses.items()):
        word = {0: "closed", 1: "waits"}.get(status, str(status))
        sys.stdout.write(f"  {door:<12} {word:<8} {count}\n")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
