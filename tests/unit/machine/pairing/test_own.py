"""Only the agent's own client is approved by its key, and only for what it needs."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.decisions import Order, refuse
from holdfast.machine.controller.pairing.openclaw.entries import device_rows
from holdfast.machine.controller.pairing.openclaw.own_client import OwnClient, device_id, is_own
from holdfast.machine.controller.pairing.state import Row
from holdfast.wire.controller.pairing import PairingAnswer
from tests.integration.machine.rig import until

KEY = bytes(range(32))
DER = bytes.fromhex("302a300506032b6570032100") + KEY
IDENTITY = {
    "version": 1,
    "publicKeyPem": "-----BEGIN PUBLIC KEY-----\n" + base64.b64encode(DER).decode()
    + "\n-----END PUBLIC KEY-----\n",
}  # fmt: skip
OWN = hashlib.sha256(KEY).hexdigest()


def row(**changed: Any) -> Row:
    entry = {"requestId": "r", "deviceId": OWN, "clientId": "gateway-client", "ts": 5,
             "clientMode": "backend", "role": "operator", "roles": ["operator"],
             "scopes": ["operator.read", "operator.write"]}  # fmt: skip
    (made,) = device_rows([{**entry, **changed}])
    return made


def test_a_device_is_named_by_its_key() -> None:
    assert device_id(IDENTITY) == OWN


@pytest.mark.parametrize(
    "identity", [None, {}, {"publicKeyPem": 5}, {"publicKeyPem": "!"}, {"publicKeyPem": "AAAA"}]
)
def test_what_is_no_identity_is_nobody(identity: object) -> None:
    with pytest.raises(ValueError, match="public key"):
        device_id(identity)


@pytest.mark.parametrize(
    ("changed", "own"),
    [
        ({}, True),
        ({"scopes": ["operator.approvals", "operator.pairing"]}, True),
        ({"deviceId": "another"}, False),
        ({"clientId": "cli"}, False),
        ({"clientMode": "ui"}, False),
        ({"clientMode": None}, False),
        ({"role": "node", "roles": ["node"]}, False),
        ({"roles": ["operator", "node"]}, False),
        ({"role": None, "roles": []}, False),
        ({"scopes": ["operator.read", "operator.admin"]}, False),
        ({"scopes": []}, False),
    ],
)
def test_only_our_key_and_only_for_the_least(changed: dict[str, Any], *, own: bool) -> None:
    assert is_own(row(**changed), OWN) is own


class Rig:
    def __init__(self, folder: Path, descriptor: int) -> None:
        self.clock = ManualClock()
        self.path = folder / "device.json"
        self.path.write_text(json.dumps(IDENTITY))
        self.orders: list[Order] = []
        self.answer = PairingAnswer(success=True, message="")
        self.client = OwnClient(
            str(self.path), decide=self.decide, hint=lambda: None, clock=self.clock,
            log=Log(self.clock, descriptor),
        )  # fmt: skip

    async def decide(self, order: Order) -> PairingAnswer:
        self.orders.append(order)
        return self.answer

    async def see(self, *rows: Row) -> int:
        """Return how many approvals were tried after these were seen."""
        self.client.see(rows)
        task = self.client._trying
        if task is not None:
            await until(task.done, "the try")
        return len(self.orders)


@pytest.fixture
def rig(tmp_path: Path) -> Any:
    with (tmp_path / "log").open("wb") as log:
        made = Rig(tmp_path, log.fileno())
        yield made
        made.client.close()


async def test_it_is_approved_as_it_was_seen(rig: Rig) -> None:
    mine = row()
    assert await rig.see(row(requestId="other", clientId="cli"), mine) == 1
    (order,) = rig.orders
    assert (order.request_id, order.fingerprint) == ("r", mine.fingerprint)
    assert (order.kind, order.ruling) == ("devices", "approved")


async def test_after_a_failure_it_waits(rig: Rig) -> None:
    rig.answer = refuse("pairing_failed", "no")
    assert await rig.see(row()) == 1
    rig.clock.advance(round(limits.OWN_RETRY_S * 1_000) - 1)
    assert await rig.see(row()) == 1
    rig.clock.advance(1)
    assert await rig.see(row()) == 2
    assert await rig.see() == 2
    assert await rig.see(row()) == 3, "what went away is forgotten"


async def test_without_an_identity_nobody_is_own(rig: Rig) -> None:
    rig.path.unlink()
    assert await rig.see(row()) == 0
    rig.path.write_text("{broken")
    assert await rig.see(row()) == 0
