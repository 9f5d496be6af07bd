"""What machines call, with the credentials that this plane gave to a real one."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from holdfast.machine.controller.sealed_settings import decrypt_settings
from holdfast.wire.api.instances import InstanceOrder
from holdfast.wire.controller.directive import Directive
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, until

THEIRS: dict[str, Any] = {
    "controllerVersion": "1.2.3",
    "controllerCommit": "abc",
    "supervisorState": "running",
    "openclawVersion": "2026.1.0",
    "openclawCommit": None,
    "totalRestarts": 0,
    "restartsSinceLastCheckin": 0,
    "uptimeSeconds": 12.5,
    "loadAvg5m": 0.25,
    "bandwidthBytesIn": 1,
    "bandwidthBytesOut": 2,
}
"""A check-in as the contract has it, but for the sandbox."""


@dataclass(frozen=True)
class Machine:
    """One machine's identity and credentials."""

    id: str
    sandbox: str
    api_key: str
    token: str

    def headers(self, name: str = "x-holdfast-gateway-token") -> dict[str, str]:
        """Return what proves it, under one spelling of the header."""
        return {
            "authorization": f"Bearer {self.api_key}",
            name: self.token,
            "content-type": "application/json",
        }


def machine_of(plane: PlaneProcess) -> Machine:
    """Return the machine of the agent called `demo`."""
    view = plane.ready("demo")
    for process in plane.controllers():
        pairs = Path(f"/proc/{process.pid}/environ").read_bytes().decode().split("\0")
        environment = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
        if environment.get("HOLDFAST_INSTANCE_ID") == view.id:
            opened = decrypt_settings(environment)
            return Machine(
                view.id,
                environment["HOLDFAST_SANDBOX_ID"],
                opened["HOLDFAST_API_KEY"],
                opened["HOLDFAST_GATEWAY_TOKEN"],
            )
    raise AssertionError("the demo has no controller")


def ask(
    plane: PlaneProcess, method: str, target: str, headers: dict[str, str], body: Any = None
) -> tuple[int, bytes]:
    """Return the status and the body of one call."""
    connection = http.client.HTTPConnection("127.0.0.1", plane.port, timeout=patience(30))
    try:
        connection.request(method, target, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_both_spellings_of_the_header_are_heard(own: PlaneProcess) -> None:
    own.cli("instance", "create", "demo")
    machine = machine_of(own)
    where = "/api/controller/checkin"
    theirs = {**THEIRS, "sandboxId": machine.sandbox}
    for spelling in ("x-holdfast-gateway-token", "x-kiloclaw-gateway-token"):
        assert ask(own, "POST", where, machine.headers(spelling), theirs) == (204, b"")
        ours = {**theirs, "protocol": 1, "bootId": "another", "sequence": 1, "machineId": "m"}
        status, body = ask(own, "POST", where, machine.headers(spelling), ours)
        assert status == 200
        directive = msgspec.json.decode(body, type=Directive)
        assert directive.desired == "running"
        wrong = {**machine.headers(spelling), spelling: "0" * 64}
        assert ask(own, "POST", where, wrong, theirs)[0] in {401, 403}
        assert ask(own, "POST", where, {}, theirs)[0] == 401


def test_a_long_poll_hears_an_order_at_once(shared: PlaneProcess) -> None:
    machine = machine_of(shared)

    def wake(revision: int) -> tuple[int, bytes]:
        target = f"/api/controller/wake?sandbox={machine.sandbox}&revision={revision}&wait_s=20"
        return ask(shared, "GET", target, machine.headers())

    status, body = wake(0)
    assert status == 200, body
    known = msgspec.json.decode(body, type=Directive)
    heard: list[tuple[float, Directive]] = []

    def listen() -> None:
        status, body = wake(known.revision)
        assert status == 200
        heard.append((time.monotonic(), msgspec.json.decode(body, type=Directive)))

    listener = threading.Thread(target=listen)
    listener.start()
    with shared.client() as client:
        client.call("instance.stop", path={"id": machine.id}, body=InstanceOrder())
        listener.join(patience(10))
        assert heard[0][1].desired == "stopped"
        assert heard[0][1].revision > known.revision
        until("it has stopped", lambda: (shared.view("demo")).status == "stopped")  # type: ignore[union-attr]
        client.call("instance.start", path={"id": machine.id}, body=InstanceOrder())
    shared.ready("demo")
