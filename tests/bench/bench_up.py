"""From `holdfast up` in an empty home to the demo agent running on the dashboard.

`python -m tests.bench.bench_up [--rounds 5] [--json]`. Dependencies are installed; each round has
a new home. The end is when the fleet page, fetched with the printed link, shows the agent running.
"""

from __future__ import annotations

import http.cookiejar
import json
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

from tests.bench.figures import parser, percentiles, tell
from tests.support.planes import PlaneProcess

UP = (sys.executable, "-m", "holdfast.cli.main", "up", "--json")
"""In a process of its own from the first byte: `plane.cli` is quicker."""


def one_round(home: Path) -> tuple[float, float]:
    """Return the seconds until the command is over and until the page shows the agent running."""
    plane = PlaneProcess(home)
    slowed = ("HOLDFAST_CHECKIN", "HOLDFAST_OBSERVERS")
    for name in [key for key in plane.environment if key.startswith(slowed)]:
        del plane.environment[name]  # as `make up` has them
    try:
        began = time.monotonic()
        told = json.loads(
            subprocess.run(UP, env=plane.environment, capture_output=True, check=True).stdout
        )
        command_s = time.monotonic() - began
        assert told["ready"], told
        page = dashboard(told["link"])
        assert re.search(r"\bdemo\b", page), page[:2_000]
        assert "running" in page
        return command_s, time.monotonic() - began
    finally:
        left = plane.close()
        assert not left, left


def dashboard(link: str) -> str:
    """Return the fleet page, signed in by a one-time link."""
    jar = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    parts = urllib.parse.urlsplit(link)
    origin = f"{parts.scheme}://{parts.netloc}"
    secret = urllib.parse.parse_qs(parts.query)["link"][0]
    sent = urllib.request.Request(
        f"{origin}/api/session/link",
        json.dumps({"link": secret}).encode(),
        {"Origin": origin, "Content-Type": "application/json"},
    )
    browser.open(sent, timeout=10).read()
    return str(browser.open(f"{origin}/", timeout=10).read().decode())


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    asked = options.parse_args()
    rounds = []
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as folder:
            rounds.append(one_round(Path(folder) / "home"))
    commands, pages = zip(*rounds, strict=True)
    figures = {
        "holdfast up, s": percentiles(commands),
        "running on the dashboard, s (at most 10)": percentiles(pages),
    }
    tell("up", figures, as_json=asked.json)
    sys.exit(max(pages) > 10)


if __name__ == "__main__":
    main()
