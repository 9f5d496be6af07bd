"""How soon a plane with 10,000 instances serves again after kill -9.

`python -m tests.bench.bench_restart [--crowd 10000] [--rounds 10] [--json]`. Timed from the start
of the new process to its first answer to `/health`; the machines are those of the simulated cloud,
which outlive the plane. The campaign of 200 kills under load is a test:
`HOLDFAST_TEST_KILLS=200 pytest tests/integration/plane/test_kills.py`.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.bench_crowd import LONG_S, counts, crowd_plane, resident
from tests.bench.figures import parser, percentiles, tell
from tests.support.planes import until

LIMIT_S = 2.0


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--crowd", type=int, default=10_000)
    options.add_argument("--rounds", type=int, default=10)
    asked = options.parse_args()
    crowd, seconds = asked.crowd, []
    with tempfile.TemporaryDirectory() as folder:
        plane = crowd_plane(Path(folder) / "home", crowd)
        try:
            plane.start()
            with plane.client() as client:
                until("all run", lambda: counts(client).get("running") == crowd, seconds=LONG_S)
            until("the world is kept", (plane.home / "world.pickle").exists, seconds=60)
            for _ in range(asked.rounds):
                plane.kill()
                began = time.monotonic()
                plane.start()
                seconds.append(time.monotonic() - began)
                with plane.client() as client:
                    assert counts(client).get("running") == crowd, counts(client)
            memory = resident(plane)
        finally:
            with contextlib.suppress(ProcessLookupError):
                plane.kill()
            plane.close()
    figures = {
        "instances": crowd,
        "killed to serving again, s (at most 2)": percentiles(seconds),
        "memory after the last start, MiB": memory,
    }
    tell("restart", figures, as_json=asked.json)
    sys.exit(max(seconds) > LIMIT_S)


if __name__ == "__main__":
    main()
