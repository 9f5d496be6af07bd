"""Compares the status shown of real demo agents with what their machines know.

    python -m tests.bench status
    python -m tests.bench.bench_status [--agents 12] [--seconds 60] [--cli 10] [--json]

Agents crash after seconds, hang, end by themselves, are misconfigured beyond repair (and so are
parked), start slowly, are stopped, or work; meanwhile some are killed. At random moments the API,
the fleet page and the command line are asked, and each status must be one that fits what the
machine's log says of its process. The bench fails when one did not fit anything that was so in the
five seconds before, and tells how much older than the machine's knowledge statuses were.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import psutil

from tests.bench.figures import parser, percentiles, tell
from tests.support.planes import PlaneProcess, plane_at, replace_text

KINDS: Final[dict[str, dict[str, Any]]] = {
    "crash": {"fault": "crash:3"},
    "hang": {"fault": "hang:6"},
    "exit": {"fault": "exit:4"},
    "parked": {"nonsense": True},
    "slow": {"startMs": 4_000},
    "well": {},
}
"""What each agent does, by the first word of its name."""

LATE_MS: Final = 1_000
"""The figure: a status is at most this much older than what the machine knew."""

WRONG_MS: Final = 5_000
"""A status that was not true for so long is wrong, not late, on a machine however busy."""

FITS: Final[dict[str, frozenset[str]]] = {
    "ready": frozenset({"ready", "recovering"}),
    "hangs": frozenset({"unready"}),
    "running": frozenset({"starting", "crashing"}),
    "starting": frozenset({"starting", "crashing", "repairing", "restarting"}),
    "crashed": frozenset({"crashing"}),
    "parked": frozenset({"parked"}),
    "stopping": frozenset({"unready", "crashing", "agent-stopped", "stopping", "stopped"}),
    "repairing": frozenset({"repairing"}),
    "stopped": frozenset({"stopped", "stopping", "agent-stopped"}),
}
"""Statuses that fit what a machine knows of its agent."""


class Known:
    """What the machines' logs say, by instance: (time in ms, state), oldest first."""

    def __init__(self, plane: PlaneProcess, names: dict[str, str]) -> None:
        self._plane = plane
        self._names = names

    def read(self) -> dict[str, list[tuple[int, str]]]:
        """Return the states of each agent."""
        found: dict[str, list[tuple[int, str]]] = {name: [] for name in self._names.values()}
        for path in self._plane.home.rglob("*.log"):
            with contextlib.suppress(OSError):
                for line in path.read_text(errors="replace").splitlines():
                    self._line(line, found, path)
        return {name: sorted(rows, key=itemgetter(0)) for name, rows in found.items()}

    def _line(self, line: str, found: dict[str, list[tuple[int, str]]], path: Path) -> None:
        if '"agent.' not in line:
            return
        row = json.loads(line)
        name = next((n for i, n in self._names.items() if f"ki_{i}" in str(path)), None)
        if name is None:
            return
        if row.get("event") == "agent.repairing":
            found[name].append((row["at_ms"], "repairing"))
        if row.get("event") == "agent.state":
            found[name].append((row["at_ms"], state_of(row)))


def state_of(row: dict[str, Any]) -> str:
    """Return what a line of the supervisor says."""
    if row["parked"]:
        return "parked"
    if row["status"] == "running":
        if row["ready"]:
            return "ready"
        return "hangs" if row["was"] == "running" else "running"
    return str(row["status"]).replace("shutting_down", "stopping")


def lateness_ms(code: str, at_ms: int, rows: list[tuple[int, str]]) -> int | None:
    """Return how long ago a status that was shown at a time was true; None where it was not.

    `rows` are in order; those of the same millisecond in the order of the log.
    """
    ends = at_ms + 50
    for ms, state in reversed(rows):
        if ms > at_ms + 50:
            continue
        if code in FITS[state]:
            return max(at_ms - ends, 0)
        ends = ms
        if at_ms - ms > WRONG_MS:
            return None
    return 0 if code in {"starting", "restarting"} else None


def last_states(rows: list[tuple[int, str]], at_ms: int) -> str:
    """Return the last states before a time, with how long before in ms."""
    return ", ".join(f"{state} {at_ms - ms} ms before" for ms, state in rows if ms <= at_ms)[-160:]


def kill_one(plane: PlaneProcess, chance: random.Random) -> None:
    """Kill one agent that runs."""
    agents = plane.agents()
    if agents:
        with contextlib.suppress(psutil.Error):
            chance.choice(agents).kill()


def moments(plane: PlaneProcess, options: Any) -> list[tuple[str, str, int, str]]:
    """Return what was shown: name, status, when, and by whom."""
    chance = random.Random(options.seed)
    shown: list[tuple[str, str, int, str]] = []
    ends, asked = time.monotonic() + options.seconds, 0
    with plane.client() as client:
        while time.monotonic() < ends:
            time.sleep(chance.random() * 0.3)
            if chance.random() < 0.05:
                kill_one(plane, chance)
            living = {name_of(p) for p in plane.agents()} - {""}
            at_ms = time.time_ns() // 1_000_000
            items = client.call("instance.list", query={"sort": "health"}).items
            shown += [(item.name, item.health.code, at_ms, "api") for item in items]
            if living:
                one = client.call("instance.get", path={"id": chance.choice(sorted(living))})
                now_ms = time.time_ns() // 1_000_000
                shown.append((one.instance.name, one.instance.health.code, now_ms, "detail"))
            if asked < options.cli and chance.random() < 0.1:
                asked += 1
                shown += by_command_line(plane)
    return shown


def by_command_line(plane: PlaneProcess) -> list[tuple[str, str, int, str]]:
    """Return what the table of the command line shows."""
    text = plane.cli("instance", "list").stdout
    at_ms = time.time_ns() // 1_000_000
    rows = [re.split(r"  +", line.strip()) for line in text.splitlines()[1:] if line.strip()]
    return [(row[1], row[4], at_ms, "cli") for row in rows if len(row) > 4]


def name_of(process: psutil.Process) -> str:
    """Return the id of the instance whose agent this is, or nothing."""
    with contextlib.suppress(psutil.Error):
        return str(process.environ().get("HOLDFAST_INSTANCE_ID", ""))
    return ""


def prepare(plane: PlaneProcess, many: int) -> dict[str, str]:
    """Make the agents, and give each its fault; return their names by id."""
    kinds = list(KINDS)
    for number in range(many):
        plane.cli("instance", "create", f"{kinds[number % len(kinds)]}-{number}")
    with plane.client() as client:
        items = client.call("instance.list", query={"limit": "100"}).items
    for item in items:
        plane.ready(item.name, seconds=60)
    for process in plane.agents():
        folder = Path(process.environ()["DEMO_STATE_DIR"])
        owner = next(i.name for i in items if i.id.replace("-", "") in str(folder).replace("-", ""))
        replace_text(folder / "demo.json", json.dumps(KINDS[owner.partition("-")[0]]))
        process.kill()
    return {item.id.replace("-", ""): item.name for item in items}


def main() -> int:
    """Run the bench; return 1 when a status did not fit."""
    given = parser(__doc__)
    given.add_argument("--agents", type=int, default=12)
    given.add_argument("--seconds", type=float, default=60)
    given.add_argument("--cli", type=int, default=10, help="times to ask the command line")
    given.add_argument("--seed", type=int, default=1)
    options = given.parse_args()
    with tempfile.TemporaryDirectory() as folder, plane_at(Path(folder) / "home") as plane:
        names = prepare(plane, options.agents)
        shown = moments(plane, options)
        known = Known(plane, names).read()
    wrong, late = [], list[int]()
    for name, code, at_ms, by in shown:
        found = lateness_ms(code, at_ms, known[name])
        if found is None:
            wrong.append(f"{name} at {at_ms} by {by}: {code}, {last_states(known[name], at_ms)}")
        else:
            late.append(found)
    figures = {
        "moments": len(shown),
        "wrong": len(wrong),
        f"older than {LATE_MS} ms": sum(each > LATE_MS for each in late),
        "late by ms": percentiles(late, digits=0),
        "shown": dict(Counter(code for _, code, *_ in shown)),
    }
    tell("status", figures, as_json=options.json)
    for line in wrong[:20]:
        sys.stdout.write(line + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
