"""What a request waits while a replay runs and one actor is flooded.

`python -m tests.bench.bench_requests [--seconds 20] [--events 5000] [--json]`. A real plane; one
instance has a long log, which is replayed again and again; another is flooded with changes by
processes of their own, until its mailbox refuses. Requests about a third are timed one by one, on
a connection that is kept, 100 a second.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.synchronize import Event
from pathlib import Path

from holdfast.cli.client import ApiError, Client
from holdfast.wire.api.instances import InstanceCreate, InstancePatch
from holdfast.wire.api.rehearsals import ReplayRequest
from tests.bench.bench_crowd import crowd_plane
from tests.bench.figures import parser, percentiles, tell
from tests.support.planes import PlaneProcess

FLOODERS = 4
NICENESS = 10
"""Of those who make the load: in life they are other machines, and do not take our cores."""
PER_S = 100
LIMIT_MS = 10.0


def flood(url: str, token: str, instance: str, ends: Event, most: int) -> None:
    """Change an instance repeatedly, until the event is set or `most` times."""
    os.nice(NICENESS)
    done = 0
    with Client(url, token) as client:
        while not ends.is_set() and done < most:
            done += 1
            try:
                body = InstancePatch(env={"COUNT": str(done)})
                client.call("instance.patch", path={"id": instance}, body=body)
            except ApiError as error:
                if error.status not in {429, 409}:
                    raise


def replay(url: str, token: str, instance: str, ends: Event) -> None:
    """Replay an instance again and again."""
    os.nice(NICENESS)
    with Client(url, token, timeout_s=120) as client:
        while not ends.is_set():
            path = {"kind": "instance", "id": instance}
            answer = client.call("rehearse.replay", path=path, body=ReplayRequest())
            assert answer.bit_equal, answer.summary


def timed(client: Client, instance: str, seconds: float) -> list[float]:
    """Return the milliseconds of each request over a while."""
    spent = []
    ends = time.monotonic() + seconds
    while (began := time.monotonic()) < ends:
        client.call("instance.get", path={"id": instance})
        now = time.monotonic()
        spent.append((now - began) * 1_000)
        time.sleep(max(0.0, began + 1 / PER_S - now))
    return spent


def measure(plane: PlaneProcess, seconds: float, events: int) -> dict[str, object]:
    """Return the figures, idle and under both loads."""
    spawn = multiprocessing.get_context("spawn")
    token = plane.token()
    with plane.client() as client:
        named = [
            client.call("instance.create", body=InstanceCreate(name=name, desired="stopped")).id
            for name in ("long", "flooded", "asked")
        ]
        never = spawn.Event()
        writers = [
            spawn.Process(target=flood, args=(plane.url, token, named[0], never, events // 4))
            for _ in range(4)
        ]
        run(writers)
        idle = timed(client, named[2], min(5.0, seconds))
        ends = spawn.Event()
        load = [
            spawn.Process(target=flood, args=(plane.url, token, named[1], ends, 10**9))
            for _ in range(FLOODERS)
        ]
        load.append(spawn.Process(target=replay, args=(plane.url, token, named[0], ends)))
        for process in load:
            process.start()
        time.sleep(3)  # they have begun, and the rehearsal process is warm
        loaded = timed(client, named[2], seconds)
        ends.set()
        for process in load:
            process.join(130)
        taken = client.call("operation.list", query={"instance": named[1], "limit": "1"}).items
        assert all(process.exitcode == 0 for process in load)
    return {
        "idle, ms": percentiles(idle),
        "replay and flood, ms (p99 at most 10)": percentiles(loaded),
        "changes that the flooded actor took a second": round(taken[0].seq / (seconds + 3), 1),
    }


def run(processes: Sequence[BaseProcess]) -> None:
    """Run processes to their end."""
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--seconds", type=float, default=20)
    options.add_argument("--events", type=int, default=5_000)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        plane = crowd_plane(Path(folder) / "home", 0)  # for it bounds no caller
        try:
            figures = measure(plane.start(), asked.seconds, asked.events)
        finally:
            plane.close()
    tell("requests", figures, as_json=asked.json)
    loaded = figures["replay and flood, ms (p99 at most 10)"]
    assert isinstance(loaded, dict)
    sys.exit(loaded["p99"] > LIMIT_MS)


if __name__ == "__main__":
    main()
