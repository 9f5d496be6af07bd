"""The real OpenClaw under a real plane: installed, made, killed, stopped, started, destroyed.

With HOLDFAST_TEST_TIMES set, each step's duration is printed (`-s`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.request import Request, urlopen

import psutil
import pytest

from holdfast.machine.agents.openclaw.install import find_installed
from holdfast.machine.agents.openclaw.run import VERSION
from holdfast.machine.controller.sealed_settings import decrypt_settings
from holdfast.wire.api.instances import InstanceView
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, plane_at, processes_of, until

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(900)]

START_S = 90.0
STOP_S = 60.0
NAME = "claw"
MODEL_KEY = "sk-this-is-a-secret-of-the-owner"


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[PlaneProcess]:
    with plane_at(tmp_path / "home", HOLDFAST_STOP_GRACE_S="20") as made:
        yield made


@contextmanager
def timed(what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    if os.environ.get("HOLDFAST_TEST_TIMES"):
        sys.stdout.write(f"\n{what}: {time.monotonic() - began:.1f} s")


def install(plane: PlaneProcess, openclaw: Path) -> None:
    """Install by the command line, which finds what is there already."""
    folder = find_installed(plane.home / "agents")
    folder.parent.mkdir()
    folder.symlink_to(openclaw)
    plane.cli("agents", "install", "openclaw")
    (shown,) = (a for a in plane.json("agents", "list")["items"] if a["name"] == "openclaw")
    assert (shown["installed"], shown["fix"]) == (True, "")


def seen(plane: PlaneProcess) -> InstanceView:
    """Return the plane's view of the instance."""
    view = plane.view(NAME)
    assert view is not None
    return view


def wait_for_nothing(plane: PlaneProcess) -> None:
    """Wait until the home has no process but the plane's."""
    assert plane.process is not None
    alone = [plane.process.pid]
    until("nothing of it runs", lambda: [p.pid for p in processes_of(plane.home)] == alone)


def gateway(plane: PlaneProcess) -> int:
    """Return the process of the gateway: the program in the controller's child, a sandbox."""
    (controller,) = plane.controllers()
    (sandbox,) = controller.children()
    found = [one for one in (sandbox, *sandbox.children(recursive=True)) if is_gateway(one)]
    return int(found[0].pid)


def is_gateway(process: psutil.Process) -> bool:
    """Return whether a process runs OpenClaw, rather than what it is confined in."""
    return any("openclaw" in word for word in process.cmdline()[:2])


def secrets_of(plane: PlaneProcess) -> dict[str, str]:
    """Return every secret of the machine, by name."""
    (controller,) = plane.controllers()
    text = Path(f"/proc/{controller.pid}/environ").read_text()
    environ = dict(pair.split("=", 1) for pair in text.split("\0") if pair)
    return {
        **decrypt_settings(environ),
        "environment key": environ["HOLDFAST_ENV_KEY"],
        "operator": plane.token(),
    }


def list_processes() -> str:
    """Return every command line of this system, as `ps` shows them to every user."""
    lines = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it ended meanwhile
            lines.append(path.read_text(errors="replace").replace("\0", " "))
    return "\n".join(lines)


def ask(port: int, path: str, token: str = "") -> tuple[int, dict[str, object]]:
    request = Request(
        f"http://127.0.0.1:{port}{path}", headers={"Authorization": f"Bearer {token}"}
    )
    with urlopen(request, timeout=patience(10)) as answer:
        return answer.status, json.loads(answer.read())


def check_it_serves(machine: Path, secrets: dict[str, str]) -> None:
    (path,) = machine.rglob("controller.json")
    ports = json.loads(path.read_text())
    code, body = ask(ports["agentPort"], "/readyz")
    assert (code, body["ready"]) == (200, True)
    token = secrets["HOLDFAST_GATEWAY_TOKEN"]
    code, body = ask(ports["port"], "/_holdfast/gateway/ready", token)
    assert (code, body["ready"]) == (200, True)
    _, version = ask(ports["port"], "/_kilo/version", token)
    assert version["openclawVersion"] == VERSION


def check_secrets_stay_inside(plane: PlaneProcess, machine: Path, secrets: dict[str, str]) -> None:
    """No secret is in a process listing or in a log."""
    assert len(secrets) >= 6
    listing = list_processes()
    assert "openclaw" in listing
    logs = [plane.home / "plane.log", *machine.rglob("*.log*"), *machine.rglob("log*/*")]
    texts = {path: path.read_text(errors="replace") for path in logs if path.is_file()}
    assert any("agent.spawned" in text for text in texts.values())
    for what, secret in secrets.items():
        assert len(secret) > 16, what
        assert secret not in listing, what
        assert not [path for path, text in texts.items() if secret in text], what


def check_it_comes_back(plane: PlaneProcess) -> None:
    """Kill the gateway: the plane sees it down, then ready again, and counts it once."""
    killed = gateway(plane)
    os.kill(killed, signal.SIGKILL)
    with timed("killed, until the plane shows it down"):
        until("seen down", lambda: not seen(plane).agent_ready)
    with timed("down, until it is ready again"):
        back = plane.ready(NAME, START_S)
    assert gateway(plane) != killed
    assert back.restarts == 1


def test_openclaw_lives_and_dies_under_the_plane(plane: PlaneProcess, openclaw: Path) -> None:
    with timed("install"):
        install(plane, openclaw)
    with timed("create, until running and ready"):
        given = ("instance", "create", NAME, "--agent", "openclaw", "--wait", "90")
        plane.cli(*given, "--secret", "MODEL_KEY=-", given=f"{MODEL_KEY}\n")
        view = plane.ready(NAME, START_S)
    until("its version", lambda: seen(plane).agent_version == VERSION)
    assert view.status == "running"
    machine = plane.home / "machines" / f"ki_{view.id.replace('-', '')}"
    secrets = secrets_of(plane)
    assert secrets["MODEL_KEY"] == MODEL_KEY
    check_it_serves(machine, secrets)
    check_it_comes_back(plane)
    check_secrets_stay_inside(plane, machine, secrets)

    with timed("stop"):
        plane.cli("instance", "stop", NAME, "--wait", f"{STOP_S:g}")
    wait_for_nothing(plane)
    with timed("start, until ready"):
        plane.cli("instance", "start", NAME, "--wait", "90")
        again = plane.ready(NAME, START_S)
    assert again.restarts == 1, "neither the stop nor the start is a restart of the agent"
    check_it_serves(machine, secrets_of(plane))

    with timed("destroy"):
        plane.cli("instance", "destroy", NAME, "--yes", "--wait", f"{STOP_S:g}")
    wait_for_nothing(plane)
    assert not machine.exists()
    # os.walk passes over what is removed meanwhile.
    until(
        "its folder is gone",
        lambda: not any("openclaw.json" in names for *_, names in os.walk(plane.home / "machines")),
    )
    assert plane.view(NAME) is None
