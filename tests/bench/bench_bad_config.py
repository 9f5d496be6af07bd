"""Measures how long a bad configuration lasts: invalid, crashing, slow.

    python -m tests.bench bad_config
    python -m tests.bench.bench_bad_config [--rounds 1] [--openclaw HOME] [--json]

The demo agent under the real controller, with the real figures: 40 s to become ready, then 30 s
without a failure. Each round takes three machines side by side. With `--openclaw` it is the real
OpenClaw that is installed at HOME, and the invalid configuration, which its strict schema refuses.

Timed by the controller's log, from the start of the agent with the bad configuration to the
readiness of the one with the last healthy configuration; the verdict must be kept, so that the same
change is refused. The bench fails when one took more than 60 s.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.bench.figures import parser, percentiles, tell
from tests.integration.machine.rig import Machine, run_machine, until

FIGURE_S = 60.0
READY_S = 240.0
BAD: dict[str, dict[str, Any]] = {
    "invalid": {"nonsense": True},
    "crashing": {"fault": "crash:5"},
    "slow": {"startMs": 300_000},
}


async def measure(home: Path, change: dict[str, Any], openclaw: str) -> float:
    """Return the seconds from the start with a bad configuration to the healthy one's readiness."""
    extra = {"HOLDFAST_AGENT": "openclaw", "HOLDFAST_OPENCLAW_HOME": openclaw} if openclaw else {}
    path = home / "agent" / ("openclaw/openclaw.json" if openclaw else "state/demo.json")
    async with run_machine(home, **extra) as machine:
        await machine.opened()
        await until(lambda: machine.events("config.healthy"), "a healthy configuration", READY_S)
        before = json.loads(path.read_text())
        started = len(machine.events("agent.spawned"))
        code, _ = await machine.ask("POST", "/_holdfast/config/patch", body=change)
        assert code == 200, code
        await until(lambda: is_back(machine, started), "the healthy one is back", 2 * FIGURE_S)
        assert bad_keys(json.loads(path.read_text())) == bad_keys(before) == set()
        code, body = await machine.ask("POST", "/_holdfast/config/patch", body=change)
        assert (code, body["code"]) == (422, "openclaw_config_would_not_boot")
        began_ms = machine.events("agent.spawned")[started]["at_ms"]
        ready_ms = [row["at_ms"] for row in machine.events("agent.state") if row["ready"]][-1]
    return float(ready_ms - began_ms) / 1_000


def bad_keys(config: dict[str, Any]) -> set[str]:
    """Return what of the bad configurations is in one; an agent may write its own into it."""
    return {key for change in BAD.values() for key in change} & set(config)


async def is_back(machine: Machine, started: int) -> bool:
    status = await machine.status()
    again = len(machine.events("agent.spawned")) > started + 1
    return bool(again and status["ready"] and status["config"]["state"] == "rolled_back")


async def run(rounds: int, openclaw: str) -> dict[str, list[float]]:
    changes = {"invalid": BAD["invalid"]} if openclaw else BAD
    found: dict[str, list[float]] = {name: [] for name in changes}
    for number in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            homes = [Path(folder, f"{name}-{number}") for name in changes]
            times = await asyncio.gather(
                *(
                    measure(home, change, openclaw)
                    for home, change in zip(homes, changes.values(), strict=True)
                )
            )
        for name, seconds in zip(changes, times, strict=True):
            found[name].append(seconds)
    return found


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--openclaw", default="", help="where the real one is installed")
    chosen = options.parse_args()
    found = asyncio.run(run(chosen.rounds, chosen.openclaw))
    rows = {name: {**percentiles(values), "figure_s": FIGURE_S} for name, values in found.items()}
    tell("bad_config", rows, as_json=chosen.json)
    if any(value > FIGURE_S for values in found.values() for value in values):
        sys.exit("a bad configuration lasted longer than its figure")


if __name__ == "__main__":
    main()
