"""Times from an agent's death to its display and its return, and from a stop to its directive.

`python -m tests.bench.bench_reaction [--rounds 20] [--json]`. A real plane and a real machine at
the default restart policy. Display means the API's answer, polled every 10 ms; pages are notified
of the same commit at once. The stop is timed from the call to the answer of a long poll that
is held with the machine's own credentials, beside the machine's own.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import tempfile
import threading
import time
from functools import partial
from pathlib import Path

from holdfast.wire.api.instances import InstanceOrder
from tests.bench.figures import parser, percentiles, tell
from tests.integration.plane.test_machine_calls import ask, machine_of
from tests.integration.plane.test_orders import machine_of as processes_of_instance
from tests.support.planes import PlaneProcess, plane_at, until

SETTLED_S = 3.0
"""A machine reports changes at most every 2 s, so one that has just reported is left alone."""
LIMITS = {"down": 1.0, "back": 3.0, "heard": 1.0}


def deaths(plane: PlaneProcess, rounds: int) -> tuple[list[float], list[float]]:
    """Kill the agent again and again; return when that was known and when it was back."""
    down, back = [], []
    with plane.client() as client:
        for _ in range(rounds):
            path = {"id": plane.ready("demo").id}
            # A new boot each time: the policy holds back an agent that dies again and again.
            client.call("instance.restart", path=path, body=InstanceOrder())
            until("it is on its way", partial(has_status, plane, "restarting"))
            plane.ready("demo")
            time.sleep(SETTLED_S)
            view = plane.ready("demo")
            _controller, agent = processes_of_instance(plane, view)
            began = time.monotonic()
            os.kill(agent, signal.SIGKILL)
            while client.call("instance.get", path=path).instance.agent_ready:
                time.sleep(0.01)
            down.append(time.monotonic() - began)
            while not client.call("instance.get", path=path).instance.agent_ready:
                time.sleep(0.01)
            back.append(time.monotonic() - began)
    return down, back


def stops(plane: PlaneProcess, rounds: int) -> list[float]:
    """Order a stop repeatedly; return the times until its directive arrived."""
    heard = []
    for _ in range(rounds):
        machine = machine_of(plane)
        revision = plane.ready("demo").epoch
        target = f"/api/controller/wake?sandbox={machine.sandbox}&wait_s=20&revision="
        answer = ask(plane, "GET", f"{target}0", machine.headers())[1]
        found = re.search(rb'"revision":(\d+)', answer)
        revision = int(found.group(1)) if found else revision
        times: list[float] = []

        where = f"{target}{revision}"
        listener = threading.Thread(
            target=lambda where, headers, times: times.append(hear(plane, where, headers)),
            args=(where, machine.headers(), times),
        )
        listener.start()
        time.sleep(0.1)
        with plane.client() as client:
            began = time.monotonic()
            client.call("instance.stop", path={"id": machine.id}, body=InstanceOrder())
            listener.join(20)
            heard.append(times[0] - began)
            until("it has stopped", partial(has_status, plane, "stopped"))
            client.call("instance.start", path={"id": machine.id}, body=InstanceOrder())
    return heard


def hear(plane: PlaneProcess, where: str, headers: dict[str, str]) -> float:
    """Hold a long poll; return when it was answered."""
    ask(plane, "GET", where, headers)
    return time.monotonic()


def has_status(plane: PlaneProcess, status: str) -> bool:
    """Return whether the demo has a status."""
    view = plane.view("demo")
    return view is not None and view.status == status


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=20)
    asked = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, plane_at(Path(folder) / "home") as plane:
        plane.cli("instance", "create", "demo")
        plane.ready("demo")
        heard = stops(plane, asked.rounds)
        down, back = deaths(plane, asked.rounds)
    figures = {
        "killed to shown as down, s (at most 1)": percentiles(down),
        "killed to shown as back, s (at most 3)": percentiles(back),
        "stop clicked to the machine hearing it, s (at most 1)": percentiles(heard),
    }
    tell("reaction", figures, as_json=asked.json)
    missed = max(down) > LIMITS["down"] or max(back) > LIMITS["back"]
    sys.exit(missed or max(heard) > LIMITS["heard"])


if __name__ == "__main__":
    main()
