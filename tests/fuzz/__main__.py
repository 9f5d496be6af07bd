"""The campaign: `make fuzz`. A seed is run again by its number:

python -m tests.fuzz plane --from 123 --cases 1
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import psutil

from holdfast.plane import serve
from tests.fuzz.campaign import Report, look_for_leaks, run
from tests.fuzz.servers import run_controller, run_plane, without_rights

CASES = 1_000_000
WARM_UP = 2_000

GROWTH_MAX = 0.6
"""Blocks of Python's memory that a refused request may leave: one that is remembered takes two or
more. What is left is what is made once: figures by route and status, caches up to their bounds."""
SERVERS = {"plane": run_plane, "controller": run_controller}
LOOPS = {"plane": serve._loop_factory(), "controller": None}
"""The loops that they run in."""

EVERY = 5_000
"""Cases between two lines of progress."""


def memory() -> str:
    """Return the memory of this process that is no file's, and how much of it SQLite holds.

    What accepted changes stored is read again from pages that SQLite keeps, up to its bounds.
    """
    held = psutil.Process().memory_full_info()
    own, sqlite = (held.rss - held.shared) / 2**20, apsw.memory_used() / 2**20
    return f"{held.rss / 2**20:.0f} MiB, {own:.1f} its own, {sqlite:.1f} SQLite's"


def blocks() -> int:
    """Return how many blocks of memory Python's objects take."""
    gc.collect()
    return sys.getallocatedblocks()


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
            f"{memory()}, {report.stored} changes, {len(report.wrong)} findings\n"
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


async def campaign(what: str, first: int, cases: int, minutes: float, *, strangers: bool) -> Report:
    """Run so many seeds from the first on, within so many minutes.

    As `strangers` callers have no right: nothing they send may be kept.
    """
    with tempfile.TemporaryDirectory(prefix="holdfast-fuzz-") as home:
        async with SERVERS[what](Path(home) / what) as found:
            servers = without_rights(found) if strangers else found
            if strangers or cases > WARM_UP:  # so that caches and pools are there
                await run(servers, range(-WARM_UP, 0))
            before, blocks_before, began = memory(), blocks(), time.monotonic()
            report = await run(servers, seeds(first, cases, minutes), progress(first, began))
            took = time.monotonic() - began
            left = await look_for_leaks(servers)
            growth = (blocks() - blocks_before) / max(report.cases, 1)
            if strangers and growth > GROWTH_MAX:
                left.append(f"{growth:.2f} blocks of memory are kept of each refused request")
            sys.stdout.writelines(f"{finding}\n" for finding in left)
            report.wrong += left
            sys.stdout.write(
                f"{report.cases} cases in {took:.0f} s, {report.cases / took:.0f}/s; "
                f"memory {before} at the begin, {memory()} at the end, "
                f"{growth:.2f} blocks a case; "
                f"{report.stored} changes accepted; a hostile agent answered "
                f"{servers.heard.requests} requests, {servers.heard.upgrades} of them upgrades\n"
            )
    return report


def main() -> int:
    """Return 1 where anything was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=SERVERS)
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after these")
    parser.add_argument("--strangers", action="store_true", help="callers without any right")
    chosen = parser.parse_args()
    with asyncio.Runner(loop_factory=LOOPS[chosen.what]) as runner:
        report = runner.run(
            campaign(
                chosen.what, chosen.first, chosen.cases, chosen.minutes, strangers=chosen.strangers
            )
        )
    for (door, status), count in sorted(report.statuses.items()):
        word = {0: "closed", 1: "waits"}.get(status, str(status))
        sys.stdout.write(f"  {door:<12} {word:<8} {count}\n")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
