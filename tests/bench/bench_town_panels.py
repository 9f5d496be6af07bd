"""The six panels over 10 million ticks of 1,000 towns: `make bench ARGS="town_panels"`.

The ticks lie 5 s apart over 13.9 hours. Up to six hours are answered from the ticks, longer
windows from the roll-up. Each answer is timed as the store gives it, of all towns and of one; the
file is opened again first. `buckets` answers four panels, `types` and `depths` one each.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import duckdb

from holdfast.kernel.clock import ManualClock
from holdfast.stores.duckdb.ticks import DuckdbTicks
from holdfast.telemetry.ticks import is_raw, span_of
from tests.bench.figures import parser, tell

TOWNS: Final = 1_000
TICKS: Final = 10_000
STEP_MS: Final = 5_000
NOW_MS: Final = 1_760_000_000_000
MS_MAX: Final = 300.0
WINDOWS_S: Final = {"1h": 3_600, "6h": 21_600, "24h": 86_400, "7d": 604_800}

_FILL: Final = """
INSERT INTO ticks
SELECT
    $from_ms + beat * 5000 + town * 5 AS seen_ms,
    'town-' || md5(town::VARCHAR)[:24],
    'account-' || town % 20,
    (hash(beat, town) % 4096) / 1024,
    CASE WHEN hash(beat, town) % 10 = 0 THEN 3 ELSE 0 END AS drained,
    CASE WHEN hash(beat, town) % 10 = 0 THEN 2 ELSE 0 END AS actions,
    drained, drained, 0,
    CASE WHEN hash(beat, town) % 1000 = 0 THEN 1 ELSE 0 END,
    hash(beat, town) % 7,
    CASE WHEN hash(beat, town) % 10 = 0
        THEN '{"Dispatch":' || 1 + hash(town, beat) % 40 || ',"Land":1}' ELSE '{}' END,
    '', drained, 0, 0, 0, 0, 12, 0, 0, 0, 0, 'closed'
FROM range($first, $last) AS beats(beat), range($towns) AS towns(town)
"""


def fill(path: Path, towns: int, ticks: int) -> dict[str, Any]:
    """Write the ticks in the order of their times, as they come, and bring the roll-up."""
    clock = ManualClock(NOW_MS)
    from_ms = NOW_MS - ticks * STEP_MS
    began = time.perf_counter()
    asyncio.run(DuckdbTicks(path, clock=clock).close())
    with duckdb.connect(str(path), config={"threads": 1}) as write:
        for first in range(0, ticks, 500):
            given = {"from_ms": from_ms, "first": first, "last": min(ticks, first + 500)}
            write.execute(_FILL, {**given, "towns": towns})
        write.execute("UPDATE dirty SET from_ms = ?", [from_ms])
    filled = time.perf_counter() - began
    store = DuckdbTicks(path, clock=clock, memory_mb=256)

    async def settle() -> int:
        await store.settle(NOW_MS)
        count = await store.count()
        await store.close()
        return count

    count = asyncio.run(settle())
    return {
        "ticks": count,
        "file_mb": round(path.stat().st_size / 1e6),
        "fill_s": round(filled, 1),
        "settle_s": round(time.perf_counter() - began - filled, 1),
    }


async def time_panels(store: DuckdbTicks) -> dict[str, dict[str, float]]:
    """Return the milliseconds of each answer by window, of all towns and of one."""
    found: dict[str, dict[str, float]] = {}
    town = (await store.depths(span_of(3_600, now_ms=NOW_MS)))[0].town
    for name, width_s in WINDOWS_S.items():
        span = span_of(width_s, now_ms=NOW_MS)
        source = "ticks" if is_raw(span) else "roll-up"
        for who, one in (("all", ""), ("one", town)):
            asked: dict[str, Callable[..., Awaitable[Any]]] = {
                "buckets": store.buckets,
                "types": store.types,
                "depths": store.depths,
            }
            times = {}
            for panel, ask in asked.items():
                began = time.perf_counter()
                assert await ask(span, town=one)
                times[panel] = round((time.perf_counter() - began) * 1_000, 1)
            found[f"{name} {who} ({source})"] = times
    return found


def measure(towns: int, ticks: int) -> dict[str, Any]:
    """Fill a file, open it again, and time the panels at the first and at the second look."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "town_ticks.duckdb"
        filled = fill(path, towns, ticks)

        async def look() -> list[dict[str, dict[str, float]]]:
            store = DuckdbTicks(path, clock=ManualClock(NOW_MS), memory_mb=256)
            looks = [await time_panels(store), await time_panels(store)]
            await store.close()
            return looks

        first, second = asyncio.run(look())
    worst = max(max(times.values()) for times in first.values())
    worst_again = max(max(times.values()) for times in second.values())
    named = {f"first {name}": times for name, times in first.items()}
    named |= {f"second {name}": times for name, times in second.items()}
    return {**filled, **named, "worst_first_ms": worst, "worst_second_ms": worst_again}


def main(arguments: list[str] | None = None) -> None:
    """Print what was measured."""
    made = parser(__doc__)
    made.add_argument("--towns", type=int, default=TOWNS)
    made.add_argument("--ticks", type=int, default=TICKS, help="of each town")
    chosen = made.parse_args(arguments)
    found = measure(chosen.towns, chosen.ticks)
    tell("panels of towns", found, as_json=chosen.json)


if __name__ == "__main__":
    main(sys.argv[1:])
