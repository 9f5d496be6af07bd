"""Times of machines in containers of a real engine, and who is there after its service restarted.

`python -m tests.bench.bench_containers [--rounds 10] [--machines 20] [--json]`. A plane whose
machines are containers of Podman (make test-docker installs it). Ready is that the plane knows the
agent to be ready, asked every 10 ms. Times are over rounds with a warm image.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from holdfast.wire.api.instances import InstanceCreate, InstanceDestroy
from tests.bench.figures import parser, percentiles, tell
from tests.support.container_engine import RealEngine, running_engine
from tests.support.planes import PlaneProcess, plane_at, until

LIMITS = {"created": 3.0, "back": 3.0}
WAIT_S = 60.0


def is_ready(plane: PlaneProcess, name: str) -> bool:
    """Return whether an instance runs and its agent is ready."""
    view = plane.view(name)
    return view is not None and view.status == "running" and bool(view.agent_ready)


def await_ready(plane: PlaneProcess, name: str) -> float:
    """Wait until an instance is ready; return when."""
    by = time.monotonic() + WAIT_S
    while not is_ready(plane, name):
        assert time.monotonic() < by, f"{name} is not ready"
        time.sleep(0.01)
    return time.monotonic()


def creations(plane: PlaneProcess, rounds: int) -> list[float]:
    """Create, await, destroy, again and again; return the times from create to ready."""
    times = []
    with plane.client() as client:
        for _ in range(rounds):
            name = f"new-{time.monotonic_ns()}"
            began = time.monotonic()
            made = client.call("instance.create", body=InstanceCreate(name=name))
            times.append(await_ready(plane, name) - began)
            path = {"id": made.id}
            client.call("instance.destroy", path=path, body=InstanceDestroy(confirm=name))
    return times


def pids(engine: RealEngine) -> dict[str, int]:
    """Return the first process of each running container."""
    template = "{{.Name}} {{.State.Pid}}"
    names = engine.service.podman("ps", "--quiet").stdout.split()
    lines = engine.service.podman("inspect", "--format", template, *names).stdout.splitlines()
    return {name: int(pid) for name, pid in map(str.split, lines)}


def deaths(engine: RealEngine, plane: PlaneProcess, rounds: int) -> tuple[list[float], list[float]]:
    """Kill a container; return when another process ran, and when its agent was ready."""
    running, ready = [], []
    for number in range(rounds):
        name = f"dies-{number}"  # one that died before waits longer each time
        plane.cli("instance", "create", name)
        await_ready(plane, name)
        time.sleep(3)  # the report of its readiness is over
        before = set(pids(engine).values())
        (pid,) = before
        began = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        while not set(pids(engine).values()) - before:
            assert time.monotonic() < began + WAIT_S, "it is not started again"
        running.append(time.monotonic() - began)
        ready.append(await_ready(plane, name) - began)
        plane.cli("instance", "destroy", name, "--yes")
        until("it is gone", lambda: not engine.machines(), seconds=60)
    return running, ready


def service_restarted(
    engine: RealEngine, plane: PlaneProcess, machines: int
) -> tuple[int, int, int]:
    """Restart the engine's service; return machines adopted, doubled, and back after all died."""
    for number in range(machines):
        plane.cli("instance", "create", f"one-{number}")
    for number in range(machines):
        await_ready(plane, f"one-{number}")
    before = pids(engine)
    engine.service.kill()
    engine.service.start()
    time.sleep(12)  # a measurement, and a reconnection
    after = pids(engine)
    adopted = sum(after.get(name) == pid for name, pid in before.items())
    doubled = len(engine.machines()) - machines
    engine.service.kill()
    for pid in after.values():
        os.kill(pid, signal.SIGKILL)
    engine.service.start()
    by = time.monotonic() + WAIT_S
    while (back := _started_again(after, pids(engine))) < machines and time.monotonic() < by:
        time.sleep(0.2)
    return adopted, doubled + len(engine.machines()) - machines, back


def _started_again(before: dict[str, int], now: dict[str, int]) -> int:
    """Return the number of containers that run as another process than before."""
    return sum(now.get(name, 0) not in {0, pid} for name, pid in before.items())


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=10)
    options.add_argument("--machines", type=int, default=20)
    asked = options.parse_args()
    with running_engine("the times of machines in containers") as engine:
        settings = {
            "HOLDFAST_CLOUD": "docker",
            "HOLDFAST_DOCKER_SOCKET": engine.url,
            "HOLDFAST_DOCKER_IMAGE": engine.image,
        }
        with (
            tempfile.TemporaryDirectory() as folder,
            plane_at(Path(folder) / "home", **settings) as plane,
        ):
            creations(plane, 1)  # the command line's token, and a network's first time
            created = creations(plane, asked.rounds)
            until("they are gone", lambda: not engine.machines(), seconds=60)
            running, ready = deaths(engine, plane, asked.rounds)
            adopted, doubled, back = service_restarted(engine, plane, asked.machines)
    figures = {
        "created to agent ready, s (at most 3)": percentiles(created),
        "container killed to running again, s (at most 3)": percentiles(running),
        "container killed to agent ready, s": percentiles(ready),
        f"service restarted: adopted of {asked.machines}": adopted,
        "doubled (0)": doubled,
        f"service and all containers killed: running again of {asked.machines}": back,
    }
    tell("containers", figures, as_json=asked.json)
    late = max(created) > LIMITS["created"] or max(running) > LIMITS["back"]
    sys.exit(late or doubled != 0 or adopted != asked.machines or back != asked.machines)


if __name__ == "__main__":
    main()
