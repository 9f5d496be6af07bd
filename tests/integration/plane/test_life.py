"""The plane's life: up, down, killed, started again; and its machines through all of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.patience import patience
from tests.support.planes import SERVE, PlaneProcess, plane_at, processes_of, until


@pytest.fixture
def idle(tmp_path: Path) -> Iterator[PlaneProcess]:
    """A home in which nothing runs yet."""
    plane = PlaneProcess(tmp_path / "home")
    yield plane
    assert not plane.close()


@pytest.fixture
def program(tmp_path: Path) -> Iterator[PlaneProcess]:
    """A plane started as people start one, which imports what it needs itself."""
    with plane_at(tmp_path / "home", SERVE) as plane:
        yield plane


def test_up_brings_a_demo_agent_and_a_link_and_twice_does_no_harm(idle: PlaneProcess) -> None:
    first = idle.cli("up")
    assert re.findall(r"http://127\.0\.0\.1:\d+/sign-in\?link=hfl_\S+", first.stdout)
    assert first.stdout.count("/sign-in?link=") == 1
    assert "Holdfast is up (started" in first.stdout
    assert "demo: ready" in first.stdout
    assert idle.view("demo")
    again = idle.json("up")
    assert (again["started"], again["ready"], again["agent"]) == (False, True, "demo: ready")
    assert again["link"] not in first.stdout
    assert len(idle.controllers()) == 1

    assert "its machines go on" in idle.cli("down").stderr
    assert "No plane is running" in idle.cli("down").stderr
    assert len(idle.controllers()) == 1
    assert idle.json("up")["started"] is True
    assert len(idle.controllers()) == 1

    idle.cli("down", "--machines")
    # It waits a bounded time for a plane that has let go of its folder and is cleaning up.
    until("no process is left", lambda: not processes_of(idle.home))


def test_machines_survive_the_plane_and_are_never_doubled(program: PlaneProcess) -> None:
    program.cli("instance", "create", "demo")
    before = program.ready("demo")
    (controller,) = program.controllers()
    assert program.terminate() == 0
    assert [p.pid for p in program.controllers()] == [controller.pid]
    program.start()
    program.kill()
    assert [p.pid for p in program.controllers()] == [controller.pid]
    program.start()
    after = program.ready("demo")
    assert (after.machine_id, after.epoch) == (before.machine_id, before.epoch)
    assert [p.pid for p in program.controllers()] == [controller.pid]

    folder = program.home / "machines" / f"ki_{after.id.replace('-', '')}"
    assert folder.is_dir()
    assert "destroyed" in program.cli("instance", "destroy", "demo", "--yes", "--wait", "20").stdout
    assert not folder.exists()
    until("its processes are gone", lambda: not program.controllers() and not program.agents())
    assert program.view("demo") is None


def test_a_machine_that_died_with_nobody_looking_is_brought_back(own: PlaneProcess) -> None:
    own.cli("instance", "create", "demo")
    own.ready("demo")
    own.kill()
    (controller,) = own.controllers()
    os.killpg(controller.pid, signal.SIGKILL)
    own.start()
    until("another controller runs", own.controllers)
    own.ready("demo")
    assert len(own.controllers()) == 1


def test_a_second_plane_refuses_and_names_the_first(own: PlaneProcess) -> None:
    assert own.process is not None
    for port in (str(own.port), "0"):
        done = own.cli("serve", "--port", port, code=1)
        assert str(own.process.pid) in done.stderr
        assert own.url in done.stderr
        assert "holdfast down" in done.stderr
    assert own.is_serving()


def test_two_signals_end_it_at_once_and_orderly(program: PlaneProcess) -> None:
    assert program.process is not None
    program.process.send_signal(signal.SIGTERM)
    program.process.send_signal(signal.SIGINT)
    assert program.process.wait(patience(10)) in {0, -signal.SIGINT}
    program.start()
    assert program.terminate() == 0
    assert "plane.stopped" in program.log()
    assert "Traceback" not in program.log()
    assert "leaked" not in program.log()


def test_a_port_of_its_own_choice_is_found_through_the_lock(tmp_path: Path) -> None:
    plane = PlaneProcess(tmp_path / "home", HOLDFAST_HOST="::1")
    plane.environment["HOLDFAST_PORT"] = "0"
    try:
        plane.start(wait=False)
        until("it answers", lambda: plane.cli("doctor", code=None).returncode == 0)
        link = plane.cli("link").stdout
        assert re.match(r"http://\[::1\]:[1-9]\d+/sign-in\?link=", link)
    finally:
        left = plane.close()
    assert not left


def test_what_cannot_start_says_what_to_do(idle: PlaneProcess, tmp_path: Path) -> None:
    for words, environment, told in (
        (("serve",), {"HOLDFAST_PORT": "port"}, "HOLDFAST_PORT"),
        (("serve",), {"HOLDFAST_LOG_LEVEL": "loud"}, "HOLDFAST_LOG_LEVEL"),
        (("serve",), {"HOLDFAST_CLOUD": "sky"}, "HOLDFAST_CLOUD"),
        (("serve",), {"HOLDFAST_MACHINES_MAX": "60000"}, "HOLDFAST_MACHINES_MAX"),
        (("up",), {"HOLDFAST_CHECKIN_INTERVAL_S": "-1"}, "HOLDFAST_CHECKIN_INTERVAL_S"),
    ):
        done = idle.cli(*words, code=2, **environment)
        assert told in done.stderr, done.stderr
        assert "Traceback" not in done.stderr
    file = tmp_path / "a-file"
    file.touch()
    for words in (("serve",), ("up",)):
        done = idle.cli(*words, code=1, HOLDFAST_HOME=str(file))
        assert "cannot be written" in done.stderr
        assert "HOLDFAST_HOME" in done.stderr
    idle.home.mkdir(mode=0o700)
    (idle.home / "config.toml").write_text("prot = 8701\n")
    assert "'prot'" in idle.cli("serve", code=2).stderr
    (idle.home / "config.toml").write_text("port = 'x'\n")
    del idle.environment["HOLDFAST_PORT"]
    assert "config.toml: port" in idle.cli("serve", code=2).stderr
    (idle.home / "config.toml").unlink()
    with subprocess.Popen(
        ("python3", "-m", "http.server", "--bind", "127.0.0.1", str(idle.port)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            until("the port is taken", lambda: _is_taken(idle.port))
            done = idle.cli("serve", code=1, HOLDFAST_PORT=str(idle.port))
        finally:
            server.kill()
    assert f"port {idle.port}" in done.stderr
    assert "HOLDFAST_PORT" in done.stderr


def _is_taken(port: int) -> bool:
    import socket  # noqa: PLC0415

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
