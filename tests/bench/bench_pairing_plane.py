"""A pairing list through plane and controller: `python -m tests.bench pairing_plane`.

A real plane in a process of its own, a real controller and the demo agent with requests waiting;
one client calls the API. The figure: p99 at most 5 ms, when nothing else runs on the
machine. Beside it the whole fleet's inbox, an approval up to its confirmation, and, where
HOLDFAST_BENCH_OPENCLAW names an `openclaw` program, the real `pairing list` and `devices list` of
the same run and the ratio to them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from holdfast.cli.client import Client
from holdfast.wire.api.pairing import PairingApprove
from tests.bench.figures import parser, percentiles, tell
from tests.integration.plane.test_pairing import Agent
from tests.support.planes import plane_at, until

FIGURE_MS = 5.0
APPROVE_FIGURE_MS = 500.0
APPROVALS = 12
PACE_S = 0.02
PENDING = ("ann", "bob", "cyd")


def measure(count: int, ask: Callable[[], object]) -> dict[str, float]:
    """Return percentiles of what a call takes, in ms, after some to warm up."""
    for _ in range(max(10, count // 20)):
        ask()
    took = []
    for _ in range(count):
        began = time.perf_counter()
        ask()
        took.append((time.perf_counter() - began) * 1_000)
        time.sleep(PACE_S)  # the rate limit of one caller
    return percentiles(took)


def commands(home: Path) -> dict[str, Any]:
    """Return how long the real command lines take in ms, or nothing without OpenClaw."""
    program = os.environ.get("HOLDFAST_BENCH_OPENCLAW", "")
    if not program:
        return {}
    environment = {
        "PATH": f"{Path(program).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "OPENCLAW_STATE_DIR": str(home / "openclaw"),
        "NO_COLOR": "1",
    }
    found: dict[str, Any] = {}
    for words in (("pairing", "list", "telegram", "--json"), ("devices", "list", "--json")):
        took = []
        for number in range(4):
            began = time.perf_counter()
            subprocess.run(
                (program, *words), env=environment, capture_output=True, check=False, timeout=180
            )
            if number:  # the first one fills caches
                took.append((time.perf_counter() - began) * 1_000)
        found[" ".join(("openclaw", *words))] = percentiles(took, digits=0)
    return found


def main() -> None:
    """Measure, print, and fail where a figure is missed."""
    options = parser(__doc__)
    options.add_argument("--count", type=int, default=1_000)
    asked = options.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, plane_at(Path(folder) / "home") as plane:
        agent = Agent(plane, "bench")
        for sender in PENDING:
            agent.say(sender)
        until("all of them wait", lambda: len(agent.waiting()) == len(PENDING))
        with plane.client() as client:
            path = {"id": agent.id}
            figures["list of one, ms"] = measure(
                asked.count, lambda: client.call("pairing.list", path=path)
            )
            figures["inbox of all, ms"] = measure(asked.count, lambda: client.call("pairing.inbox"))
            figures["health, ms"] = measure(asked.count, lambda: client.call("plane.health"))
            figures["approve to confirmed, ms"] = approvals(client, agent)
        figures.update(commands(Path(folder)))
    listed = figures["list of one, ms"]
    for name, took in figures.items():
        if name.startswith("openclaw "):
            figures[name] = {**took, "times the list": round(took["p50"] / listed["p50"])}
    figures["figure"] = f"list p99 <= {FIGURE_MS} ms, approve p99 <= {APPROVE_FIGURE_MS} ms"
    tell("pairing through plane and controller", figures, as_json=asked.json)
    late = figures["approve to confirmed, ms"]["p99"] > APPROVE_FIGURE_MS
    if listed["p99"] > FIGURE_MS or late:
        sys.exit(1)


def approvals(client: Client, agent: Agent) -> dict[str, float]:
    """Return how long approvals take until they are confirmed, in ms."""
    path = {"id": agent.id}
    took = [approved(client, path, agent.seen(sender).request_id) for sender in PENDING]
    for number in range(APPROVALS - len(PENDING)):
        sender = f"more{number}"
        agent.say(sender)
        took.append(approved(client, path, agent.seen(sender).request_id))
    return percentiles(took)


def approved(client: Client, path: dict[str, str], request: str) -> float:
    """Return how long one approval took until it was confirmed, in ms."""
    began = time.perf_counter()
    client.call("pairing.approve", path=path, body=PairingApprove(request_id=request))
    return (time.perf_counter() - began) * 1_000


if __name__ == "__main__":
    main()
