"""Figure: the fleet page and its five charts over 10 million check-ins in at most 300 ms.

A plane with the rows of 10,000 instances serves the page and its charts, in a browser's order: the
page first, then the charts of the widest window. The check-ins are those of
`bench_charts`, written to the plane's own file before it starts. What is timed is each call's
whole way through a served plane, and their sum.
"""

from __future__ import annotations

import asyncio
import http.client
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from holdfast.kernel.clock import ManualClock, SystemClock
from holdfast.wire.api.accounts import TokenCreate
from tests.bench import bench_charts, figures
from tests.bench.bench_crowd import LONG_S, counts, crowd_plane
from tests.support.planes import PlaneProcess, until

FIGURE_MS = 300.0
ROUNDS = 30
CROWD = 10_000


def prepare(home: Path) -> dict[str, Any]:
    """Write 10 million check-ins that end now."""
    now_ms = SystemClock().now_ms()
    bench_charts.NOW_MS = now_ms
    return asyncio.run(bench_charts.fill(home / "telemetry.duckdb", ManualClock(now_ms)))


def ask(url: str, token: str, path: str) -> tuple[float, int]:
    """Return the milliseconds of one call and the bytes of its answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    began = time.perf_counter()
    connection.request("GET", path, headers={"authorization": f"Bearer {token}"})
    answer = connection.getresponse()
    body = answer.read()
    took_ms = (time.perf_counter() - began) * 1_000
    connection.close()
    if answer.status != http.client.OK:
        raise SystemExit(f"{path}: {answer.status} {body[:300]!r}")
    return took_ms, len(body)


def measure(plane: PlaneProcess) -> dict[str, Any]:
    """Return the figures of a plane whose crowd runs."""
    plane.start()
    with plane.client() as client:
        until(
            "everybody runs",
            lambda: counts(client).get("running", 0) == CROWD,
            seconds=LONG_S,
        )
        made = client.call("token.create", body=TokenCreate(name="bench", scope="operator"))
    sums, pages, charts, size = [], [], [], 0
    for _ in range(ROUNDS):
        page_ms, size = ask(plane.url, made.token, "/?window=7d")
        charts_ms, _ = ask(plane.url, made.token, "/api/charts?window=7d")
        pages.append(page_ms)
        charts.append(charts_ms)
        sums.append(page_ms + charts_ms)
    return {
        "page, bytes": size,
        "page, ms": figures.percentiles(pages, digits=1),
        "five charts, ms": figures.percentiles(charts, digits=1),
        "both, ms (at most 300)": figures.percentiles(sums, digits=1),
    }


def main() -> int:
    """Measure and print; return 1 when the figure was missed."""
    options = figures.parser(__doc__).parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir(mode=0o700)
        found = prepare(home)
        plane = crowd_plane(home, CROWD)
        try:
            found |= measure(plane)
        finally:
            plane.kill()  # ten thousand simulated machines are not worth an orderly end
            plane.close()
    figures.tell("fleet page and five charts", found, as_json=options.json)
    return 0 if found["both, ms (at most 300)"]["p99"] <= FIGURE_MS else 1


if __name__ == "__main__":
    sys.exit(main())
