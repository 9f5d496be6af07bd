"""The recovery of an agent that will not stay up, from its machine to the plane and back."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.support.patience import patience
from tests.support.planes import PlaneProcess, until

TRIED = [
    ("last_healthy_config", False), ("reinstall", False), ("previous_version", False),
    ("parked", True),
]  # fmt: skip


def shown(plane: PlaneProcess) -> dict[str, Any]:
    """Return the command line's view of the instance."""
    found: dict[str, Any] = json.loads(plane.cli("instance", "show", "demo", "--json").stdout)
    return found


def recovery(plane: PlaneProcess) -> dict[str, Any]:
    view = plane.view("demo")
    assert view is not None
    told = view.recovery
    return {} if told is None else {"rung": told.rung, "held": told.held}


def alerts(plane: PlaneProcess) -> dict[str, float]:
    """Return the gauge of what is wrong, by its codes."""
    asked = Request(f"{plane.url}/metrics", headers={"Authorization": f"Bearer {plane.token()}"})
    with urlopen(asked, timeout=patience(10)) as answer:
        rows = answer.read().decode().splitlines()
    found = [row for row in rows if row.startswith("holdfast_instance_alerts{")]
    return {row.split('"')[1]: float(row.split()[-1]) for row in found}


def break_it(plane: PlaneProcess) -> Path:
    """Have the agent end with 78 at each start until the file that is returned is removed."""
    view = plane.ready("demo")
    broken: Path = (
        plane.home / "machines" / shown(plane)["sandbox_id"] / "home" / "state" / "broken"
    )
    assert broken.parent.is_dir()
    broken.write_text("hopeless")
    agent = next(p for p in plane.agents() if view.id in p.environ().values())
    os.kill(agent.pid, signal.SIGKILL)
    return broken


def test_a_recovery_is_stopped_begun_anew_and_at_its_end_waits_for_a_person(
    own: PlaneProcess,
) -> None:
    own.cli("instance", "create", "demo")
    restarts = own.ready("demo").restarts
    own.cli("instance", "ladder", "stop", "demo", "--reason", "I look at it")
    until("its machine holds it", lambda: recovery(own).get("held"))
    assert "stopped by somebody" in own.cli("instance", "show", "demo").stdout
    broken = break_it(own)
    until("it was tried again", lambda: shown(own)["instance"]["restarts"] >= restarts + 3)
    assert shown(own)["climbs"] == [], "restarts go on, repairs do not"

    own.cli("instance", "ladder", "retry", "demo")
    until("it is parked", lambda: recovery(own) == {"rung": "parked", "held": False})
    found = shown(own)
    assert [(climb["rung"], climb["done"]) for climb in found["climbs"]] == TRIED
    assert "left alone" in found["instance"]["attention"]
    told = own.cli("instance", "show", "demo").stdout
    assert "not installed by us" in told, "why it was not possible"
    until("the figures say so", lambda: alerts(own).get("parked") == 1, seconds=30)
    assert "instance.alert_began" in own.log()

    broken.unlink()
    own.cli("instance", "ladder", "retry", "demo")
    own.ready("demo")
    until("it is let go", lambda: recovery(own) == {"rung": "restart", "held": False})
    assert shown(own)["instance"]["attention"] == ""
    told = own.cli("instance", "timeline", "demo", "--all").stdout
    assert "LadderStopRequested" in told
    assert "LadderRetryRequested" in told
