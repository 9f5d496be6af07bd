"""Figure: heartbeats of 50,000 observed nodes, one a minute each, with p99 at most 50 ms.

Run it: `make bench ARGS="nodes"`, or `python -m tests.bench.bench_nodes` with `--nodes`,
`--every`, `--seconds`. The plane is a whole one in a process of its own, with its edge and its
store; no node has consented, so each answer is a closed gate. Load is open, over kept
connections: the real daemon opens one for each heartbeat, which is not measured here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
import uvloop

from holdfast.content.limits import NODES_PER_KEY
from holdfast.content.records import Node, NodeKey
from holdfast.kernel.clock import SystemClock
from holdfast.stores.sqlite.content import open_content
from holdfast.wire.consent import node_of_name
from holdfast.wire.controller.identity import key_hash
from tests.bench.bench_checkins import Load, percentile
from tests.support.planes import PlaneProcess

NODES: Final = 50_000
EVERY_S: Final = 60.0
SECONDS: Final = 90
P99_MS_MAX: Final = 50.0


def key_of(number: int) -> str:
    """Return the key of a node: each speaks for as many as one may."""
    return f"cm_{number // NODES_PER_KEY:032x}"


def heartbeat(number: int) -> bytes:
    """Return one heartbeat as 0.12.937 sends it with an idle agent, about 1 kB."""
    body = msgspec.json.encode(
        {
            "node_id": f"node-{number}", "ts": "2026-11-30T07:00:00+00:00", "platform": "Linux",
            "version": "0.12.937", "e2e": True, "tool_calls_today": 3, "messages_today": 9,
            "local_store": {"engine": "duckdb", "size_bytes": 10**6, "events_total": 0},
            "node_meta": {"hostname": "h", "os": "Linux", "arch": "x86_64", "cpu_count": 2},
            "detected_runtimes": [{"id": "openclaw", "label": "OpenClaw", "sessions": 3}] * 4,
            "assistant_relay": {"v": 1, "epoch": "e", "enabled": False, "paused": False},
            "agent_install": {"openclaw_detected": True, "signals": ["s"] * 9, "no_agent": False},
        }
    )  # fmt: skip
    return (
        f"POST /ingest/heartbeat HTTP/1.1\r\nhost: 127.0.0.1\r\nx-api-key: {key_of(number)}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


async def fill(home: Path, nodes: int) -> None:
    """Write nodes and keys into a new store, as they are after their first heartbeats."""
    now_ms = SystemClock().now_ms()
    store = open_content(home / "content.db", now_ms=now_ms)
    for number in range(0, nodes, NODES_PER_KEY):
        hashed = key_hash(key_of(number))
        await store.add_key(NodeKey(id=f"nk_{number}", hash=hashed, name="k", account="local"))
        await store.put_nodes(
            [
                Node(
                    no=one + 1, id=node_of_name("local", f"node-{one}"), account="local",
                    name=f"node-{one}", key=f"nk_{number}", first_ms=now_ms,
                )
                for one in range(number, min(number + NODES_PER_KEY, nodes))
            ]
        )  # fmt: skip
    await store.close()


def measure(*, nodes: int, every_s: float, seconds: int) -> dict[str, Any]:
    """Run the plane and the load, and return what came of it."""
    rate = nodes / every_s
    numbers: Iterable[int] = range(round(rate * seconds))
    requests = [heartbeat(number % nodes) for number in numbers]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir(mode=0o700)
        asyncio.run(fill(home, nodes))
        plane = PlaneProcess(home).start()
        try:
            assert plane.process is not None
            process = psutil.Process(plane.process.pid)
            spent_s = sum(process.cpu_times()[:2])
            load = Load(requests, rate)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(load.run(plane.port))
            spent_s = sum(process.cpu_times()[:2]) - spent_s
            mib = process.memory_info().rss / 1_048_576
            time.sleep(6)  # the last flush of contacts
            stored = (home / "content.db").stat().st_size
        finally:
            plane.close()
    spent = [ms for _, ms in load.spent]
    return {
        "nodes": nodes,
        "offered_per_s": round(rate),
        "statuses": load.statuses,
        "lost": load.lost,
        "p50_ms": round(percentile(spent, 0.50), 2),
        "p99_ms": round(percentile(spent, 0.99), 2),
        "max_ms": round(max(spent), 1),
        "core_share": round(spent_s / seconds, 2),
        "mib": round(mib),
        "bytes_a_node": round(stored / nodes),
    }


def main() -> None:
    """Measure, and say whether the figure was kept."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=NODES)
    parser.add_argument("--every", type=float, default=EVERY_S)
    parser.add_argument("--seconds", type=int, default=SECONDS)
    given = parser.parse_args()
    found = measure(nodes=given.nodes, every_s=given.every, seconds=given.seconds)
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    sys.exit(found["p99_ms"] > P99_MS_MAX or set(found["statuses"]) != {200})


if __name__ == "__main__":
    main()
