"""A plane whose machines are containers of a real engine, from create to destroy."""

from __future__ import annotations

import json
import os
import signal

import pytest

from tests.docker.conftest import settings_of
from tests.support.container_engine import RealEngine
from tests.support.planes import PlaneProcess, plane_at, until

pytestmark = [pytest.mark.docker, pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def machine(plane: PlaneProcess) -> str:
    plane.cli("instance", "create", "kept")
    return sandbox_of(plane, "kept")


def sandbox_of(plane: PlaneProcess, name: str) -> str:
    plane.ready(name)
    view = plane.json("instance", "show", name)
    sandbox: str = view["sandbox_id"]
    return sandbox


def kill_and_await(engine: RealEngine, machine: str, pid: int) -> None:
    """Kill a container's first process, and wait for another one."""
    os.kill(pid, signal.SIGKILL)

    def is_back() -> bool:
        return engine.inspect(machine).get("State", {}).get("Pid", 0) not in {0, pid}

    until("it was started again", is_back, seconds=30)


def test_an_instance_runs_in_a_container_with_a_volume(
    engine: RealEngine, plane: PlaneProcess, machine: str
) -> None:
    shown = engine.inspect(machine)
    named = [one for one in shown["Mounts"] if one["Name"].startswith("holdfast-vol-")]
    assert [one["Destination"] for one in named] == ["/data"]
    engine.python(machine, "open('/data/home/kept.txt', 'w').write('a year of work')")


def test_the_engine_knows_no_secret(engine: RealEngine, machine: str) -> None:
    shown = engine.inspect(machine)
    text = json.dumps(shown)
    assert "HOLDFAST_ENC_HOLDFAST_API_KEY=enc:v1:" in text
    assert "HOLDFAST_ENV_KEY=" not in text
    assert not any(name.startswith("HOLDFAST_API_KEY=") for name in shown["Config"]["Env"])
    left = engine.inside(machine, "sh", "-c", "cat /run/holdfast/*")
    assert left.stdout == "", "the controller removed the key when it had read it"


def test_a_killed_container_runs_again_with_its_data(
    engine: RealEngine, plane: PlaneProcess, machine: str
) -> None:
    before = engine.inspect(machine)["State"]
    kill_and_await(engine, machine, before["Pid"])
    plane.ready("kept")
    assert engine.python(machine, "print(open('/data/home/kept.txt').read())") == "a year of work"


def test_the_engines_service_is_restarted_under_machines(
    engine: RealEngine, plane: PlaneProcess, machine: str
) -> None:
    pid = engine.inspect(machine)["State"]["Pid"]
    engine.service.kill()
    engine.service.start()
    plane.cli("instance", "create", "after")
    assert sandbox_of(plane, "after") in engine.machines()
    assert engine.inspect(machine)["State"]["Pid"] == pid, "it was adopted, not started again"
    assert len(engine.machines()) == 2, "and nothing is there twice"
    # The stream of events was found again too: an end is heard of.
    kill_and_await(engine, machine, pid)
    plane.ready("kept")


def test_a_restart_replaces_the_container_and_keeps_the_volume(
    engine: RealEngine, plane: PlaneProcess, machine: str
) -> None:
    before = engine.inspect(machine)
    plane.cli("instance", "restart", "kept")
    until(
        "it was replaced",
        lambda: engine.inspect(machine).get("Id", before["Id"]) != before["Id"],
        seconds=40,
    )
    plane.ready("kept")
    assert engine.python(machine, "print(open('/data/home/kept.txt').read())") == "a year of work"


def test_a_stopped_instance_stays_down_and_starts_again(
    engine: RealEngine, plane: PlaneProcess, machine: str
) -> None:
    plane.cli("instance", "stop", "kept")
    until("it is down", lambda: engine.inspect(machine)["State"]["Status"] == "exited", seconds=40)
    plane.cli("instance", "start", "kept")
    plane.ready("kept")
    assert engine.python(machine, "print(open('/data/home/kept.txt').read())") == "a year of work"


def test_a_size_is_enforced(engine: RealEngine, plane: PlaneProcess) -> None:
    size = ("--cpus", "1", "--memory", "256")
    plane.cli("instance", "create", "small", "--cloud", "docker", *size)
    host = engine.inspect(sandbox_of(plane, "small"))["HostConfig"]
    assert (host["Memory"], host["NanoCpus"]) == (256 * 1_048_576, 1_000_000_000)


def test_the_doctor_tells_what_machines_reach(engine: RealEngine, plane: PlaneProcess) -> None:
    report = plane.json("doctor", code=None)
    (found,) = [check for check in report["checks"] if check["name"] == "containers"]
    assert found["message"].startswith("podman ")
    assert "metadata" not in found["message"]
    assert "internet" not in found["message"]
    assert "no way out" in found["message"]


def test_an_image_that_is_not_there_is_said(engine: RealEngine, tmp_path: object) -> None:
    home = engine.service.socket.parent / "another"
    given = {**settings_of(engine), "HOLDFAST_DOCKER_IMAGE": "localhost/nothing:here"}
    with plane_at(home, **given) as other:
        report = other.json("doctor", code=None)
        (found,) = [check for check in report["checks"] if check["name"] == "containers"]
        assert (found["result"], "image build" in found["fix"]) == ("failed", True)
        other.cli("instance", "create", "none")
        view = until("it is said", lambda: (seen := other.view("none")) and seen.error and seen)
        assert "holdfast image build" in str(view.error)
