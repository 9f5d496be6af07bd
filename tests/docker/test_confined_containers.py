"""What an agent in a container tries, from inside, against a real engine."""

from __future__ import annotations

import json

import pytest

from tests.support.container_engine import RealEngine
from tests.support.planes import PlaneProcess, until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180)]

REACHES = """
import json, socket
def reaches(host, port):
    try:
        socket.create_connection((host, port), 2).close()
    except OSError:
        return False
    return True
print(json.dumps([reaches(*target) for target in {targets}]))
"""
FORKS = """
import os, time
made = 0
try:
    for _ in range(5000):
        if os.fork() == 0:
            time.sleep(2)
            os._exit(0)
        made += 1
except OSError:
    pass
print(made, flush=True)
os._exit(0)
"""


@pytest.fixture(scope="module")
def machines(plane: PlaneProcess) -> tuple[str, str]:
    for name in ("red", "blue"):
        plane.cli("instance", "create", name)
    red, blue = (plane.ready(name) for name in ("red", "blue"))
    return sandbox_of(plane, red.id), sandbox_of(plane, blue.id)


def sandbox_of(plane: PlaneProcess, instance: str) -> str:
    sandbox: str = plane.json("instance", "show", instance)["sandbox_id"]
    return sandbox


def address_of(engine: RealEngine, machine: str) -> str:
    networks = engine.inspect(machine)["NetworkSettings"]["Networks"]
    (found,) = networks.values()
    address: str = found["IPAddress"]
    return address


def test_it_has_a_user_and_no_rights(engine: RealEngine, machines: tuple[str, str]) -> None:
    status = engine.python(machines[0], "print(open('/proc/self/status').read())")
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert int(fields["Uid"].split()[0]) >= 10_000
    assert {fields[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    users = {engine.inspect(machine)["Config"]["User"] for machine in machines}
    assert len(users) == 2, "each machine has a user of its own"


@pytest.mark.parametrize("path", ["/x", "/usr/bin/x", "/etc/x", "/opt/holdfast/x"])
def test_it_writes_to_its_volume_alone(
    engine: RealEngine, machines: tuple[str, str], path: str
) -> None:
    done = engine.inside(machines[0], "touch", path)
    assert "Read-only file system" in done.stderr
    assert engine.inside(machines[0], "touch", "/data/home/x", "/tmp/x").returncode == 0


def test_it_does_not_see_the_plane_nor_the_engine(
    engine: RealEngine, plane: PlaneProcess, machines: tuple[str, str]
) -> None:
    paths = [str(plane.home), str(plane.keys), str(engine.service.socket), "/var/run/docker.sock",
             "/run/podman/podman.sock"]  # fmt: skip
    look = f"import os; print([p for p in {paths!r} if os.path.exists(p)])"
    seen = engine.python(machines[0], look)
    assert seen == "[]"
    count = "import os; print(sum(name.isdigit() for name in os.listdir('/proc')))"
    processes = engine.python(machines[0], count)
    assert int(processes) < 20, "its own processes alone"


def test_it_reaches_the_plane_and_nothing_else(
    engine: RealEngine, plane: PlaneProcess, machines: tuple[str, str]
) -> None:
    red, blue = machines
    gateway = engine.inspect(red)["NetworkSettings"]["Networks"][f"holdfast-{red}"]["Gateway"]
    targets = [
        (gateway, plane.port),
        (address_of(engine, blue), 18_789),
        ("169.254.169.254", 80),
        ("1.1.1.1", 443),
        ("127.0.0.1", plane.port),
    ]
    answers = json.loads(engine.python(red, REACHES.format(targets=targets)))
    assert answers == [True, False, False, False, False]


def test_a_fork_bomb_ends_at_its_limit(
    engine: RealEngine, plane: PlaneProcess, machines: tuple[str, str]
) -> None:
    red, blue = machines
    made = int(engine.python(red, FORKS))
    assert 100 < made < 512
    assert engine.python(blue, "print('still here')") == "still here"
    until("it can be used again", lambda: engine.inside(red, "true").returncode == 0)


def test_a_memory_hog_is_killed_alone(
    engine: RealEngine, plane: PlaneProcess, machines: tuple[str, str]
) -> None:
    red, blue = machines
    limit = engine.inspect(red)["HostConfig"]["Memory"]
    done = engine.inside(red, "python3", "-c", f"bytearray({2 * limit}).count(1); print('had it')")
    assert done.returncode != 0
    assert "had it" not in done.stdout
    assert engine.python(blue, "print('still here')") == "still here"
    plane.ready("red")
