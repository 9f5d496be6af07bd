"""Orders to a real plane with real machines: start, stop, restart, destroy, and what dies."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from holdfast.cli.client import ApiError
from holdfast.wire.api.instances import InstanceCreate, InstanceOrder, InstanceView
from holdfast.wire.api.operations import Operation
from tests.support.planes import PlaneProcess, cmdline, until

PLAIN = "plain-value-of-a-variable"
SECRETS = {
    "first": "tiger-and-lotus-in-the-rain-41",
    "second": "otter-and-willow-in-the-snow-42",
}


def machine_of(plane: PlaneProcess, view: InstanceView) -> tuple[int, int]:
    """Return the process ids of an instance's controller and of its agent."""
    controller = next(p for p in plane.controllers() if _is_of(p.pid, view))
    below = {p.pid for p in controller.children(recursive=True)}  # its sandbox is between them
    agent = next(p for p in plane.agents() if p.pid in below)
    return controller.pid, agent.pid


def _is_of(pid: int, view: InstanceView) -> bool:
    return view.id.encode() in Path(f"/proc/{pid}/environ").read_bytes()


def test_a_killed_agent_is_seen_down_and_then_back(shared: PlaneProcess) -> None:
    view = shared.ready("demo")
    controller, agent = machine_of(shared, view)
    with shared.agent_down(psutil.Process(agent)):
        until("it is seen down", lambda: not (shared.view("demo") or view).agent_ready)
    back = shared.ready("demo")
    assert back.restarts == view.restarts + 2
    assert back.machine_id == view.machine_id
    again = machine_of(shared, view)
    assert again[0] == controller
    assert again[1] != agent


def test_a_killed_machine_is_noticed_and_brought_back(shared: PlaneProcess) -> None:
    view = shared.ready("demo")
    controller, agent = machine_of(shared, view)
    os.killpg(controller, signal.SIGKILL)
    until("another controller runs", lambda: any(pid != controller for pid in _pids(shared)))
    back = shared.ready("demo")
    assert back.epoch >= view.epoch
    assert controller not in [p.pid for p in shared.controllers()]
    until("its old agent is gone", lambda: not Path(f"/proc/{agent}").exists())
    told = shared.cli("instance", "timeline", "demo", "--all").stdout
    assert "MachineWatched" in told


def test_orders_by_the_command_line_and_over_the_api(shared: PlaneProcess) -> None:
    made = shared.json("instance", "create", "orders", "--stopped")
    assert (made["desired"], made["status"]) == ("stopped", "provisioned")
    shared.cli("instance", "start", "orders", "--wait", "20")
    first = shared.ready("orders")
    controller, _agent = machine_of(shared, first)
    assert shared.json("instance", "stop", made["id"][:8], "--wait", "20")["status"] == "stopped"
    until("its processes are gone", lambda: not Path(f"/proc/{controller}").exists())
    with shared.client() as client:
        path = {"id": made["id"]}
        started = client.call("instance.start", path=path, body=InstanceOrder())
        assert started.desired == "running"
        second = shared.ready("orders")
        restarted = client.call("instance.restart", path=path, body=InstanceOrder(reason="try"))
        assert restarted.seq > second.seq
        until("it is another program", lambda: controller not in _pids(shared))
        third = shared.ready("orders")
        assert third.machine_id == second.machine_id

        orders = client.call("operation.list", query={"instance": made["id"]}).items
        assert [o.name for o in orders[:1]] == ["RestartRequested"]
        assert {o.name for o in orders} >= {"InstanceCreated", "StartRequested", "StopRequested"}
        followed = until("it is done", lambda: _done(client.call(
            "operation.get", path={"event": orders[0].event})))  # fmt: skip
        kinds = [step.kind for step in followed.steps]
        assert kinds[0] == "event"
        assert {"action", "effect", "outcome"} <= set(kinds)
        assert followed.outcome == "applied"
        effects = {step.id for step in followed.steps if step.kind == "effect"}
        assert {s.cause for s in followed.steps if s.kind == "outcome"} <= effects

        with pytest.raises(ApiError, match="404"):
            client.call("instance.start", path={"id": "nobody"}, body=InstanceOrder())
    shown = shared.cli("operation", "show", orders[0].event[:8]).stdout
    assert "RestartRequested" in shown
    shared.cli("instance", "destroy", "orders", "--yes", "--wait", "20")
    shared.cli("instance", "show", "orders", code=4)


def _pids(plane: PlaneProcess) -> list[int]:
    return [p.pid for p in plane.controllers()]


def _done(operation: Operation) -> Operation | None:
    return operation if operation.done else None


def test_a_stop_while_starting_is_remembered(shared: PlaneProcess) -> None:
    with shared.client() as client:
        made = client.call("instance.create", body=InstanceCreate(name="hasty"))
        path = {"id": made.id}
        stopped = client.call("instance.stop", path=path, body=InstanceOrder())
        assert stopped.desired == "stopped"
        until(
            "it came to rest",
            lambda: client.call("instance.get", path=path).instance.status
            in {"stopped", "provisioned"},
        )  # fmt: skip
        again = client.call("instance.create", body=InstanceCreate(name="hasty2"),
                            idempotency_key="twice")  # fmt: skip
        same = client.call("instance.create", body=InstanceCreate(name="hasty2"),
                           idempotency_key="twice")  # fmt: skip
        assert same.id == again.id
    for name in ("hasty", "hasty2"):
        shared.cli("instance", "destroy", name, "--yes", "--wait", "20")
    assert not [p for p in shared.controllers() if _is_of(p.pid, made)]


def test_settings_of_an_agent_reach_it_and_secrets_lie_nowhere_open(own: PlaneProcess) -> None:
    own.cli(
        "instance", "create", "keeper", "--env", f"PLAIN={PLAIN}", "--secret", "SECRET=-",
        given=SECRETS["first"] + "\n",
    )  # fmt: skip
    view = own.ready("keeper")
    seen = environment_of(machine_of(own, view)[1])
    assert (seen["PLAIN"], seen["SECRET"]) == (PLAIN, SECRETS["first"])

    file = own.home.parent / "secret.txt"
    file.write_text(SECRETS["second"])
    own.cli("instance", "set", "keeper", "--env", "PLAIN=other", "--secret", f"SECRET=@{file}")
    shown = own.json("instance", "show", "keeper")
    assert shown["env"] == {"PLAIN": "other"}
    assert shown["secret_names"] == ["SECRET"]
    assert environment_of(machine_of(own, view)[1])["PLAIN"] == PLAIN
    own.cli("instance", "restart", "keeper", "--wait", "20")

    def changed() -> bool:
        ready = own.ready("keeper")
        return environment_of(machine_of(own, ready)[1]).get("PLAIN") == "other"

    until("the agent has the new variables", changed)
    assert environment_of(machine_of(own, view)[1])["SECRET"] == SECRETS["second"]

    answers = [
        own.cli(*words).stdout
        for words in (
            ("instance", "show", "keeper", "--json"),
            ("instance", "timeline", "keeper", "--json"),
            ("operation", "list", "--json"),
            ("rehearse", "replay", "keeper", "--json"),
            ("rehearse", "explain", "keeper", "--json"),
            ("instance", "logs", "keeper", "--json"),
        )
    ]
    own.cli("instance", "set", "keeper", "--unset", "SECRET")
    lines = [cmdline(p) for p in [*own.controllers(), *own.agents()]]
    assert own.terminate() == 0
    for secret in SECRETS.values():
        assert not [a for a in answers if secret in a]
        assert not [line for line in lines if secret in line]
        found = [
            str(path)
            for path in own.home.rglob("*")
            if path.is_file() and secret.encode() in path.read_bytes()
        ]
        assert not found
    own.start()
    own.cli("instance", "restart", "keeper")
    until("the secret is gone from the agent", lambda: _without_secret(own))


def _without_secret(plane: PlaneProcess) -> bool:
    view = plane.ready("keeper")
    return "SECRET" not in environment_of(machine_of(plane, view)[1])


def environment_of(pid: int) -> dict[str, str]:
    """Return the variables that a process was started with."""
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode()
    except OSError:
        return {}
    return dict(pair.split("=", 1) for pair in text.split("\0") if "=" in pair)
