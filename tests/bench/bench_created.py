"""Figure: 1,000 simulated instances created at once: created to heartbeat on the dashboard.

    python -m tests.bench.bench_created [--instances 1000] [--json]

A whole plane on one core makes the instances in the simulated cloud of `crowd_server`. The machine
of each, played from here, begins when the plane shows it running: it checks in, registers with its
credentials, sends its first heartbeat and holds a long poll, over HTTP as controller and observer
do, and again each minute. A machine of a real cloud takes the time of its boot more; that of real
local ones is in `bench_observers`.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import psutil

from holdfast.cli.client import Client
from holdfast.wire.controller.identity import gateway_token, sandbox_of_instance
from holdfast.wire.times import parse_time
from tests.bench.bench_crowd import crowd_plane
from tests.bench.figures import parser, percentiles, tell
from tests.support.patience import patience
from tests.support.planes import PlaneProcess
from tests.support.toys.machines import CONTRACT

INSTANCES: Final = 1_000
P99_S_MAX: Final = 60.0
SECRET: Final = "bench-" + "s" * 40
LOOK_S: Final = 0.5
RETRY_S: Final = 5.0
LONG_S: Final = 300.0


class Machine:
    """The controller and observer of one instance."""

    def __init__(self, number: int, port: int, answers: Counter[str]) -> None:
        self.instance = f"{number:08x}-0000-4000-8000-{number:012x}"
        self.machine_id = ""
        self._sandbox = sandbox_of_instance(self.instance)
        self._port = port
        self._answers = answers
        self._proof = {
            "authorization": f"Bearer hfm_crowd{number}",
            "x-kiloclaw-gateway-token": gateway_token(SECRET, self._sandbox, version=1),
        }

    async def live(self) -> None:
        """Check in, register, beat, and wait for what comes."""
        checkin = {**CONTRACT, "sandboxId": self._sandbox, "machineId": self.machine_id}
        await self._ask("POST", "/api/controller/checkin", self._proof, checkin)
        made = None
        while made is None:
            body = {"hostname": "box", "machine_id": self._sandbox, "source": "holdfast",
                    "sandbox": self._sandbox}  # fmt: skip
            made = await self._ask("POST", "/api/register", self._proof, body)
            if made is None:
                await asyncio.sleep(RETRY_S)
        key, name = {"x-api-key": made["api_key"]}, made["node_id"]
        beat = {
            "node_id": name, "ts": "2026-11-30T07:00:00+00:00", "platform": "Linux",
            "version": "1", "e2e": True, "seen_number": 0, "queue": {},
            "client": "holdfast-observer",
        }  # fmt: skip
        while True:
            await self._ask("POST", "/ingest/heartbeat", key, beat)
            ends = time.monotonic() + 60.0
            while time.monotonic() < ends:
                await self._ask("GET", f"/ingest/wake?node_id={name}&wait=25", key, None)

    async def _ask(
        self, method: str, path: str, headers: dict[str, str], body: Any
    ) -> dict[str, Any] | None:
        """Return the answer of a 2xx, on a connection of its own."""
        raw = b"" if body is None else json.dumps(body).encode()
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(
            f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n{head}"
            f"content-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n".encode()
            + raw
        )
        answer = await reader.read()
        writer.close()
        status = answer[9:12].decode()
        self._answers[f"{path.partition('?')[0]} {status}"] += 1
        return json.loads(answer.partition(b"\r\n\r\n")[2]) if status == "200" else None


def _seconds(earlier: str, later: str) -> float:
    began_ms, heard_ms = parse_time(earlier), parse_time(later)
    assert began_ms is not None
    assert heard_ms is not None
    return (heard_ms - began_ms) / 1_000


class Watch:
    """What the dashboard shows, looked at again and again on a thread."""

    def __init__(self, plane: PlaneProcess) -> None:
        self._plane = plane
        self.created: dict[str, str] = {}
        self.running: dict[str, str] = {}
        self.heard: dict[str, str] = {}

    def look(self) -> None:
        """Read all instances and all nodes."""
        plane = self._plane
        with Client(plane.url, plane.token(), timeout_s=patience(30)) as client:
            for endpoint in ("instance.list", "content.nodes"):
                after = ""
                while True:
                    query = {"limit": "500", **({"after": after} if after else {})}
                    page = client.call(endpoint, query=query)
                    for one in page.items:
                        self._take(endpoint, one)
                    after = page.next
                    if not after:
                        break

    def _take(self, endpoint: str, one: Any) -> None:
        if endpoint == "instance.list":
            self.created[one.id] = one.created_at or ""
            if one.machine_id and one.status == "running":
                self.running[one.id] = one.machine_id
        elif one.heard_at is not None:
            self.heard.setdefault(one.instance, one.heard_at)


async def run(plane: PlaneProcess, instances: int) -> dict[str, Any]:
    """Play the machines until all of them are heard."""
    answers: Counter[str] = Counter()
    machines = {one.instance: one for one in
                (Machine(number, plane.port, answers) for number in range(instances))}  # fmt: skip
    watch, begun = Watch(plane), dict[str, asyncio.Task[None]]()
    async with asyncio.timeout(patience(LONG_S)):
        while len(watch.heard) < instances:
            await asyncio.to_thread(watch.look)
            for instance, machine_id in watch.running.items():
                if instance not in begun:
                    machines[instance].machine_id = machine_id
                    begun[instance] = asyncio.create_task(machines[instance].live())
            for task in [one for one in begun.values() if one.done()]:
                task.result()
            await asyncio.sleep(LOOK_S)
    for task in begun.values():
        task.cancel()
    await asyncio.gather(*begun.values(), return_exceptions=True)
    spent = [_seconds(watch.created[one], at) for one, at in watch.heard.items()]
    return {"created to heartbeat, s": percentiles(spent, digits=2), "answers": dict(answers)}


def main() -> None:
    """Measure and print; exit with 1 if the figure was missed."""
    options = parser(__doc__)
    options.add_argument("--instances", type=int, default=INSTANCES)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plane = crowd_plane(Path(folder) / "home", asked.instances)
        plane.environment["HOLDFAST_GATEWAY_TOKEN_SECRET"] = SECRET
        try:
            plane.start()
            plane.token()
            assert plane.process is not None
            core = {min(os.sched_getaffinity(0))}
            for task in Path(f"/proc/{plane.process.pid}/task").iterdir():
                os.sched_setaffinity(int(task.name), core)
            process = psutil.Process(plane.process.pid)
            found = asyncio.run(run(plane, asked.instances))
            found["processor of the plane in all, s"] = round(sum(process.cpu_times()[:2]), 1)
            found["plane, MiB"] = round(process.memory_info().rss / 2**20)
        finally:
            plane.kill()
            plane.close()
    tell("created", {"instances": asked.instances, **found}, as_json=asked.json)
    sys.exit(found["created to heartbeat, s"]["p99"] > P99_S_MAX)


if __name__ == "__main__":
    main()
