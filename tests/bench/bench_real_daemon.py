"""Figure: what is sent while its owner has not said yes: by the real ClawMetry daemon, and by ours.

    python -m tests.bench.bench_real_daemon [--seconds 100] [--version 0.12.937] [--json]

One home, whose agent writes a message and a log line every 2 s, and one plane. First the real
daemon runs there for a stretch, then our observer for as long, each with a registration of its own
that nobody granted anything. What came is counted by the plane, by class, as it refused it. Needs
`make test-clawmetry` once, which installs the daemon; without it nothing is measured.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.bench.figures import parser, tell
from tests.clawmetry.daemon import KEY, Agent, Daemon, python_of
from tests.clawmetry.test_real_daemon import register
from tests.support.observed import content_of
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, plane_at, until

SECONDS: Final = 100.0
VERSION: Final = "0.12.937"
MARKER: Final = b"MARKER-"


@contextmanager
def observer_of(home: Path, url: str, key: str, node: str) -> Iterator[None]:
    """Run our observer in a home, with a registration in place of the one before."""
    config = home / ".clawmetry" / "config.json"
    fields = json.loads(config.read_text()) | {"api_key": key, "node_id": node}
    config.write_text(json.dumps(fields))
    config.chmod(0o600)
    (home / "tmp").mkdir()
    environment = {
        "HOME": str(home), "PATH": os.environ["PATH"], "HOLDFAST_PLANE_URL": url,
        "TMPDIR": str(home / "tmp"), "PYTHONPATH": os.pathsep.join(sys.path),
    }  # fmt: skip
    with (home / "observer.log").open("ab") as log:
        process = subprocess.Popen(
            (sys.executable, "-m", "holdfast.machine.observer"),
            env=environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(patience(20))


class Stretch:
    """One sender, from the moment its node is online."""

    def __init__(self, plane: PlaneProcess, made: dict[str, Any]) -> None:
        self.plane = plane
        self.made = made

    def about(self) -> Any:
        """Return the node; that counts as a look, which has a sender beat every 3 s."""
        with self.plane.client() as client:
            return client.call("content.node", path={"id": self.made["node"]})

    def watch(self, seconds: float) -> dict[str, Any]:
        """Return what was refused in a stretch, and what of it lies in any file of the plane."""
        until("the node is online", lambda: self.about().node.online, seconds=60)
        ends, files = time.monotonic() + seconds, set[str]()
        while time.monotonic() < ends:
            time.sleep(5)
            files |= {
                path.name
                for path in self.plane.home.rglob("*")
                if path.is_file() and MARKER in content_of(path)
            }
        about = self.about()
        refused = {one.of: (one.requests, one.bytes) for one in about.refused}
        return {
            "requests": sum(many for many, _ in refused.values()),
            "bytes": sum(size for _, size in refused.values()),
            "by class, requests and bytes": refused,
            "stored": sum(one.rows for one in about.stored),
            "files with a private text": sorted(files),
        }


def measure(folder: Path, seconds: float, version: str) -> dict[str, Any]:
    """Return both stretches."""
    home = folder / "home"
    with plane_at(folder / "plane") as plane, Agent(home) as agent:
        first, second = (Stretch(plane, register(plane.url)) for _ in range(2))
        daemon = Daemon(
            version, home, plane.url, key=first.made["api_key"], node=first.made["node_id"],
            seal=KEY,
        )  # fmt: skip
        daemon.start()
        try:
            theirs = first.watch(seconds)
        finally:
            daemon.stop()
        made = second.made
        with observer_of(home, plane.url, made["api_key"], made["node_id"]):
            ours = second.watch(seconds)
        lines = sum(map(len, agent.written.values()))
    return {
        "seconds each": seconds,
        "private lines written in all": lines,
        f"clawmetry {version}": theirs,
        "our observer": ours,
    }


def main() -> None:
    """Measure and print; exit with 1 if our observer sent content, or the plane kept any."""
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=SECONDS)
    options.add_argument("--version", default=VERSION)
    asked = options.parse_args()
    if not python_of(asked.version).exists():
        sys.stdout.write(f"clawmetry {asked.version} is not installed: make test-clawmetry\n")
        return
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), asked.seconds, asked.version)
    tell("deferred", found, as_json=asked.json)
    theirs, ours = found[f"clawmetry {asked.version}"], found["our observer"]
    kept = [one["stored"] or one["files with a private text"] for one in (theirs, ours)]
    sys.exit(bool(ours["bytes"]) or any(kept))


if __name__ == "__main__":
    main()
