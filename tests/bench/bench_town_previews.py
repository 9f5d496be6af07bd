"""Dry runs of generated towns against the ticks that follow: `python -m tests.bench town_previews`.

Towns of 1 to 200 beads, and some of 10,000. One that differs is named, and fails the bench.
"""

from __future__ import annotations

import sys
import time

from tests.bench.figures import parser, tell
from tests.support.generated_towns import differs

LARGE_BEADS = 10_000


def main() -> None:
    """Compare as many as asked for."""
    options = parser(__doc__)
    options.add_argument("--towns", type=int, default=500, help="towns of 1 to 200 beads")
    options.add_argument("--from", dest="first", type=int, default=0, help="the first town")
    options.add_argument("--large", type=int, default=2, help="towns of 10,000 beads")
    asked = options.parse_args()
    began, wrong = time.monotonic(), list[str]()
    towns = range(asked.first, asked.first + asked.towns)
    for count, (seed, beads) in enumerate(
        [*((seed, 0) for seed in towns), *((seed, LARGE_BEADS) for seed in range(asked.large))],
        start=1,
    ):
        if text := differs(seed, beads=beads):
            wrong.append(text)
            sys.stderr.write(text + "\n")
        if count % 500 == 0:
            sys.stderr.write(f"{count} towns, {count / (time.monotonic() - began):.0f} a second\n")
    figures = {
        "towns of 1 to 200 beads": asked.towns,
        "towns of 10,000 beads": asked.large,
        "dry runs that differ": len(wrong),
        "s": round(time.monotonic() - began, 1),
    }
    tell("town previews", figures, as_json=asked.json)
    if wrong:
        sys.exit(1)


if __name__ == "__main__":
    main()
