"""Figure: a search for the commonest word of 5 million corrections in at most 100 ms (p99).

Run it: `make bench ARGS="search"`, or `python -m tests.bench.bench_search` with `--rows`. The rows
are written once, by the store's own writer, into a temporary folder (about 1.3 KB each), and a
served plane is asked over HTTP. Each row has `the`, the commonest word, which the search takes for
a prefix; other words are rarer. Beside it stand searches that find little or nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from holdfast.corrections.records import Arrival, Brain, Correction, Forgotten
from holdfast.kernel.clock import SystemClock
from holdfast.stores.sqlite.corrections import CorrectionsSqlite, open_corrections
from holdfast.wire.api.accounts import TokenCreate
from tests.bench import figures
from tests.bench.bench_fleet_page import ask
from tests.support.planes import PlaneProcess

FIGURE_MS = 100.0
ROWS = 5_000_000
ROUNDS = 200
BRAINS = 100
BATCH = 250
GROUP = 8
VOCABULARY = 20_000
TEXT_WORDS = 14
LETTERS = "bcdfghklmprsw"
TOLD_S = 10.0
SEARCHES = {
    "the commonest word": "text=the",
    "one letter, with which a third of all words begin": "text=c",
    "two common words": "text=c1+d2",
    "a rare word": "text=rare7",
    "a word of no row": "text=nothing",
    "the commonest word, of a brain with few rows": "text=the&brain=brn_quiet",
    "the commonest word, of a category of no row": "text=the&category=NONE",
}


def correction(no: int, chance: random.Random) -> Correction:
    """Return a correction with words of a long-tailed distribution."""
    numbers = [min(int(chance.paretovariate(0.6)), VOCABULARY) for _ in range(TEXT_WORDS)]
    words = [f"{LETTERS[number % len(LETTERS)]}{number}" for number in numbers]
    draft = f"the {' '.join(words)} {f'rare{no % 100}' if no % 50_000 == 7 else ''}"
    final = f"{draft} and {words[0]}x"
    return Correction(
        event_id=f"c{no:09d}", seq=0, at_ms=1_760_000_000_000 + no, scope="d", cut_hash=b"",
        hash=hashlib.blake2b(str(no).encode(), digest_size=32).digest(), was_cut=False,
        session=f"s{no // 50}", category="STYLE", severity="minor", draft=draft, final=final,
        context="", summary="2 words changed", edit_distance=0.1, classifications="", count=1,
    )  # fmt: skip


def arrival(brain: int, first: int, many: int, chance: random.Random) -> Arrival:
    """Return a batch of a brain."""
    return Arrival(
        brain=brain, account="local", route="ingest", sdk="bench", source="bench",
        received_ms=1_760_000_000_000 + first,
        corrections=[correction(no, chance) for no in range(first, first + many)],
        lessons=[], events=[], refused=[],
    )  # fmt: skip


async def fill(store: CorrectionsSqlite, rows: int) -> None:
    """Write `rows` corrections; some of the oldest are of a brain of their own."""
    chance = random.Random(11)
    names = ["quiet", *(f"brain-{number}" for number in range(1, BRAINS))]
    brains = [
        await store.add_brain(Brain(no=0, id=f"brn_{name}", name=name, account="local"))
        for name in names
    ]
    began = told = time.monotonic()
    for first in range(0, rows, BATCH * GROUP):
        batches = [
            arrival(
                brains[0 if at < BATCH else 1 + at // BATCH % (BRAINS - 1)].no, at,
                min(BATCH, rows - at), chance,
            )
            for at in range(first, min(first + BATCH * GROUP, rows), BATCH)
        ]  # fmt: skip
        await store.write(batches, forgotten=Forgotten(0, 0))
        now = time.monotonic()
        if now - told > TOLD_S:
            told, done = now, first + BATCH * GROUP
            sys.stderr.write(f"{done:,} of {rows:,} rows, {done / (now - began):,.0f}/s\n")
    await store.close()


def measure(home: Path, rounds: int) -> dict[str, Any]:
    """Serve the folder and search."""
    plane = PlaneProcess(home)
    try:
        plane.start()
        with plane.client() as client:
            made = client.call("token.create", body=TokenCreate(name="bench", scope="operator"))
        found: dict[str, Any] = {}
        for name, query in SEARCHES.items():
            path = f"/api/corrections?{query}&limit=100"
            times = [ask(plane.url, made.token, path)[0] for _ in range(rounds)]
            found[f"{name}, ms"] = figures.percentiles(times, digits=1)
    finally:
        plane.close()
    return found


def main() -> int:
    """Measure and print; return 1 when the figure was missed."""
    parser = figures.parser(__doc__)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--home", type=Path, help="keep the rows here, and use those there are")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = options.home or Path(folder) / "home"
        home.mkdir(mode=0o700, exist_ok=True)
        if not (home / "intake.db").exists():
            store = open_corrections(home / "intake.db", now_ms=SystemClock().now_ms())
            asyncio.run(fill(store, options.rows))
        found = measure(home, options.rounds)
    figures.tell(f"searches of {options.rows:,} corrections", found, as_json=options.json)
    return 0 if found["the commonest word, ms"]["p99"] <= FIGURE_MS else 1


if __name__ == "__main__":
    sys.exit(main())
