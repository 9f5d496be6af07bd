"""The agent's record of its own client is repaired, and no device is approved by that."""

from __future__ import annotations

import asyncio
import copy
import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.kernel.clock import ManualClock, SystemClock
from holdfast.machine.agents.openclaw.run import PAIRING
from holdfast.machine.controller.agent.version import VersionProbe
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.openclaw import device_repair
from holdfast.machine.controller.pairing.openclaw.device_repair import DeviceRepair, Repaired
from tests.unit.machine.pairing.test_own import IDENTITY, OWN

READ, WRITE, ADMIN = "operator.read", "operator.write", "operator.admin"
APPROVALS = "operator.approvals"


def device(**changed: Any) -> dict[str, Any]:
    """A client of the agent's own that was approved before it needed the scope of approvals."""
    token = {"token": "t", "role": "operator", "scopes": [READ], "createdAtMs": 1}
    whole = {
        "deviceId": OWN, "publicKey": "key", "clientId": "gateway-client",
        "clientMode": "backend", "role": "operator", "roles": ["operator"], "scopes": [READ],
        "approvedScopes": [READ], "tokens": {"operator": token}, "kept": {"as": ["it", 1.5]},
    }  # fmt: skip
    made = {**whole, **changed}
    return {name: value for name, value in made.items() if value is not ...}


def request(**changed: Any) -> dict[str, Any]:
    made = {
        "requestId": "r", "deviceId": OWN, "publicKey": "key", "clientId": "gateway-client",
        "clientMode": "backend", "role": "operator", "roles": ["operator"],
        "scopes": [READ, APPROVALS], "ts": 5,
    }  # fmt: skip
    return {**made, **changed}


class Machine:
    """A state folder as in OpenClaw up to 2026.7."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.devices = home / "state" / "devices"
        self.devices.mkdir(parents=True)
        (home / "state" / "identity").mkdir()
        self.log = home / "log"
        (home / "state" / "identity" / "device.json").write_text(json.dumps(IDENTITY))

    def put(self, name: str, content: object) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        (self.devices / name).write_text(text)
        (self.devices / name).chmod(0o644)

    def read(self, name: str) -> Any:
        return json.loads((self.devices / name).read_text())

    def files(self) -> dict[str, tuple[bytes, int]]:
        return {
            path.name: (path.read_bytes(), path.stat().st_mtime_ns)
            for path in self.devices.iterdir()
        }

    async def repair(
        self, *, trusted: bool = True, version: str = "2026.7.35", running: bool = False,
        ask: Callable[[], Any] | None = None,
    ) -> Repaired:  # fmt: skip
        async def told() -> str:
            return f"OpenClaw {version} (abc)"

        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        made = DeviceRepair(
            PAIRING, {"OPENCLAW_STATE_DIR": str(self.home / "state")}, self.home / "run",
            trusted=trusted, version=VersionProbe(__file__, ask or told, SystemClock()),
            is_running=lambda: running, log=Log(ManualClock(), descriptor),
        )  # fmt: skip
        assert made.last is None
        try:
            await made.run()
        finally:
            os.close(descriptor)
        assert made.last is not None
        said = json.loads(self.log.read_text().splitlines()[-1])
        assert said["event"] == "pairing.repair"
        shown = json.loads(msgspec.json.encode(made.last.describe()))
        assert shown.items() <= said.items(), "the log says what the route does"
        return made.last


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_a_client_that_was_approved_before_is_repaired_once(machine: Machine) -> None:
    stranger = device(deviceId="s", clientId="cli")
    machine.put("paired.json", {"s": stranger, OWN: device()})
    before = machine.files()
    assert await machine.repair() == Repaired(status="repaired", repaired=1, token_updated=True)
    after = machine.read("paired.json")
    assert list(after) == ["s", OWN]
    assert after["s"] == stranger
    expected = device(scopes=[READ, APPROVALS], approvedScopes=[READ, APPROVALS])
    expected["tokens"] = copy.deepcopy(expected["tokens"])
    expected["tokens"]["operator"]["scopes"] = [READ, APPROVALS]
    assert after[OWN] == expected
    assert stat.S_IMODE((machine.devices / "paired.json").stat().st_mode) == 0o600
    kept = machine.home / "run" / "device-repair" / "paired.json"
    assert kept.read_bytes() == before["paired.json"][0]
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert [path.name for path in machine.devices.iterdir()] == ["paired.json"], "no other file"

    settled = machine.files()
    assert await machine.repair() == Repaired(because="nothing is wrong")
    assert machine.files() == settled, "not even written again"


async def test_what_it_asks_for_and_now_has_is_asked_no_more(machine: Machine) -> None:
    machine.put("paired.json", {OWN: device()})
    machine.put("pending.json", {"r": request(), "o": request(requestId="o", deviceId="other")})
    found = await machine.repair()
    assert (found.status, found.repaired, found.removed) == ("repaired", 1, 1)
    assert list(machine.read("pending.json")) == ["o"]
    assert stat.S_IMODE((machine.devices / "pending.json").stat().st_mode) == 0o600
    assert "r" in json.loads((machine.home / "run/device-repair/pending.json").read_text())


@pytest.mark.parametrize("scopes", [[READ, APPROVALS], [WRITE, APPROVALS]])
async def test_a_request_for_what_is_there_already_goes_alone(
    machine: Machine, scopes: list[str]
) -> None:
    token = {"token": "t", "role": "operator", "scopes": scopes}
    fine = device(scopes=scopes, approvedScopes=scopes, tokens={"operator": token})
    machine.put("paired.json", {OWN: fine})
    machine.put("pending.json", {"r": request()})
    paired = machine.files()["paired.json"]
    found = await machine.repair(trusted=False)
    assert (found.status, found.repaired, found.removed) == ("repaired", 0, 1)
    assert machine.read("pending.json") == {}
    assert machine.files()["paired.json"] == paired


@pytest.mark.parametrize(
    "changed",
    [
        {"scopes": [READ, APPROVALS, WRITE]}, {"scopes": [APPROVALS, ADMIN]}, {"scopes": [READ]},
        {"scopes": []}, {"roles": ["operator", "node"]}, {"clientMode": "ui"},
        {"publicKey": "another"},
    ],
)  # fmt: skip
async def test_nothing_else_is_granted_or_taken_away(
    machine: Machine, changed: dict[str, Any]
) -> None:
    machine.put("paired.json", {OWN: device()})
    machine.put("pending.json", {"r": request(**changed)})
    pending = machine.files()["pending.json"]
    found = await machine.repair()
    assert (found.repaired, found.removed) == (1, 0)
    assert machine.files()["pending.json"] == pending
    repaired_itself = machine.read("paired.json")[OWN]
    assert repaired_itself["scopes"] == repaired_itself["approvedScopes"] == [READ, APPROVALS]


async def test_a_request_for_more_than_it_has_stays(machine: Machine) -> None:
    machine.put("paired.json", {OWN: device(scopes=[], approvedScopes=[], tokens={})})
    machine.put("pending.json", {"r": request()})
    found = await machine.repair()
    assert (found.repaired, found.removed) == (1, 0), "nobody approved that it reads"
    assert machine.read("paired.json")[OWN]["scopes"] == [APPROVALS]


@pytest.mark.parametrize(("approved", "repaired"), [([READ], 0), (..., 0), ([READ, APPROVALS], 1)])
async def test_without_the_owners_word_only_what_was_approved_comes_back(
    machine: Machine, approved: Any, repaired: int
) -> None:
    machine.put("paired.json", {OWN: device(approvedScopes=approved)})
    before = machine.files()
    found = await machine.repair(trusted=False)
    assert found.repaired == repaired
    assert (machine.files() != before) is bool(repaired)


async def test_a_record_of_an_older_form_is_completed(machine: Machine) -> None:
    machine.put("paired.json", {OWN: device(role=..., approvedScopes=..., tokens=...)})
    assert (await machine.repair()).token_updated is False
    repaired_itself = machine.read("paired.json")[OWN]
    assert (repaired_itself["role"], repaired_itself["roles"]) == ("operator", ["operator"])
    assert repaired_itself["approvedScopes"] == [READ, APPROVALS], "what it had counts as approved"
    assert "tokens" not in repaired_itself, "no token is made"


async def test_a_token_that_was_revoked_stays_as_it_is(machine: Machine) -> None:
    revoked = {"operator": {"token": "t", "role": "operator", "scopes": [READ], "revokedAtMs": 7}}
    machine.put("paired.json", {OWN: device(tokens=revoked)})
    found = await machine.repair()
    assert (found.repaired, found.token_updated) == (1, False)
    assert machine.read("paired.json")[OWN]["tokens"] == revoked


@pytest.mark.parametrize(
    ("changed", "asks"),
    [
        ({"clientId": "cli"}, False),
        ({"clientMode": "ui"}, True),
        ({"clientMode": ...}, False),
        ({"role": "node", "roles": ["node"]}, True),
        ({"deviceId": "another"}, True),
    ],
)
async def test_who_is_not_the_agents_own_client_is_left_alone(
    machine: Machine, changed: dict[str, Any], *, asks: bool
) -> None:
    machine.put("paired.json", {OWN: device(**changed)})
    machine.put("pending.json", {"r": request()} if asks else {})
    before = machine.files()
    assert await machine.repair() == Repaired(because="nothing is wrong")
    assert machine.files() == before


async def test_a_device_of_another_key_is_left_alone(machine: Machine) -> None:
    machine.put("paired.json", {"another": device(deviceId="another")})
    machine.put("pending.json", {"r": request(deviceId="another")})
    before = machine.files()
    assert (await machine.repair()).status == "noop", "it only says that it is the agent's own"
    assert machine.files() == before


async def test_a_mode_that_is_not_written_is_proven_by_a_request(machine: Machine) -> None:
    machine.put("paired.json", {OWN: device(clientMode=...)})
    machine.put("pending.json", {"r": request()})
    found = await machine.repair()
    assert (found.repaired, found.removed) == (1, 1)
    assert "clientMode" not in machine.read("paired.json")[OWN]


async def test_without_files_or_a_key_there_is_nothing_to_do(machine: Machine) -> None:
    assert await machine.repair() == Repaired(because="there are no files")
    machine.put("pending.json", {"r": request()})
    assert await machine.repair() == Repaired(because="there are no files")
    machine.devices.joinpath("pending.json").unlink()
    machine.devices.rmdir()
    assert await machine.repair() == Repaired(because="there are no files")
    (machine.home / "state" / "identity" / "device.json").unlink()
    assert await machine.repair() == Repaired(because="the agent has no key of its own")
    assert not (machine.home / "run").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("paired.json", "{broken"), ("pending.json", "{broken"), ("paired.json", "[]"),
        ("pending.json", "null"), ("paired.json", json.dumps({OWN: 5})),
        ("pending.json", json.dumps({"r": []})), ("paired.json", '{"a": NaN}'),
        ("paired.json", json.dumps({OWN: device(scopes="operator.admin")})),
        ("pending.json", json.dumps({"r": request(scopes=[5])})),
        ("paired.json", "[" * 200_000), ("pending.json", "\xff"),
    ],
)  # fmt: skip
async def test_what_is_not_understood_is_told_and_nothing_is_written(
    machine: Machine, name: str, content: str
) -> None:
    machine.put("paired.json", {OWN: device()})
    machine.put("pending.json", {"r": request()})
    (machine.devices / name).write_bytes(content.encode("latin-1"))
    before = machine.files()
    found = await machine.repair()
    assert (found.status, found.repaired, found.removed) == ("warning", 0, 0)
    assert len(found.warnings) == 1
    assert machine.files() == before
    assert not (machine.home / "run").exists()


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
async def test_what_is_no_plain_file_is_not_followed(machine: Machine, kind: str) -> None:
    path, other = machine.devices / "paired.json", machine.home / "other.json"
    other.write_text(json.dumps({OWN: device()}))
    if kind == "link":
        path.symlink_to(other)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    before = other.read_bytes()
    assert (await machine.repair()).status == "warning"
    assert other.read_bytes() == before


async def test_a_key_that_cannot_be_read_is_told(machine: Machine) -> None:
    machine.put("paired.json", {OWN: device()})
    (machine.home / "state" / "identity" / "device.json").write_text("{}")
    before = machine.files()
    assert (await machine.repair()).status == "warning"
    assert machine.files() == before


@pytest.mark.parametrize("version", ["2026.8.1", "2026.9.6", "2027.1.1", "nonsense"])
async def test_a_release_that_keeps_no_files_is_left_alone(machine: Machine, version: str) -> None:
    machine.put("paired.json", {OWN: device()})
    before = machine.files()
    found = await machine.repair(version=version)
    assert (found.status, bool(found.because)) == ("noop", True)
    assert machine.files() == before


async def test_while_the_agent_runs_its_files_are_its_own(machine: Machine) -> None:
    machine.put("paired.json", {OWN: device()})
    before = machine.files()
    assert await machine.repair(running=True) == Repaired(because="the agent runs")
    assert machine.files() == before


async def test_somebody_who_writes_meanwhile_wins(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.put("paired.json", {OWN: device()})
    keep = DeviceRepair._keep

    def write_too(self: DeviceRepair, name: str, content: bytes) -> None:
        keep(self, name, content)
        machine.put("paired.json", {})

    monkeypatch.setattr(DeviceRepair, "_keep", write_too)
    found = await machine.repair()
    assert (found.status, found.warnings) == ("warning", ("paired.json changed meanwhile",))
    assert machine.read("paired.json") == {}


async def test_it_ends_in_time_and_writes_nothing_afterwards(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.put("paired.json", {OWN: device()})
    machine.put("pending.json", {"r": request()})
    before = machine.files()

    async def never() -> str:
        await asyncio.Event().wait()
        return ""

    monkeypatch.setattr(limits, "REPAIR_S", 0.05)
    found = await machine.repair(ask=never)
    assert (found.status, found.warnings) == ("warning", ("not within 0.05 s",))
    assert machine.files() == before


async def test_whatever_fails_is_a_warning(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(device_repair, "plan_repair", fail)
    machine.put("paired.json", {OWN: device()})
    assert (await machine.repair()).warnings == ("ZeroDivisionError",)
