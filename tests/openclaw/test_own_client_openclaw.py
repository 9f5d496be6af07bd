"""The repair of the agent's own client (contract 2.9) on stores that real releases wrote.

A device with the key of the agent's own folder is approved without the scope of approvals, as older
releases did, and then requests it: OpenClaw shows that request to no client that could grant it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.integration.machine.rig import until
from tests.openclaw.conftest import find_release
from tests.openclaw.fakes import Device
from tests.openclaw.machines import DEVICES, Stage, run_stage

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(900)]

IN_FILES = ("2026.3.13", "2026.7.35")
CLIENT = ("gateway-client", "backend")
BEFORE = ("operator.read",)
WANTED = ("operator.read", "operator.approvals")


def read(stage_home: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((stage_home / "agent/openclaw/devices" / name).read_bytes())
    return found


async def let_in_too_early(stage: Stage, own: Device) -> None:
    """Pair it for less than it needs, with a pending request for the rest."""
    answer = await stage.knock(own, client=CLIENT, scopes=BEFORE)
    assert answer["error"]["code"] == "NOT_PAIRED"
    row = await stage.waits(DEVICES, "deviceId", own.id)
    code, _ = await stage.decide(DEVICES, "approve", requestId=row["requestId"])
    assert code == 200
    assert (await stage.knock(own, client=CLIENT, scopes=BEFORE))["ok"] is True
    answer = await stage.knock(own, client=CLIENT, scopes=WANTED)
    assert answer["ok"] is False, "it asks for more than it holds"
    home = stage.machine.home
    await until(
        lambda: [one for one in read(home, "pending.json").values() if one["deviceId"] == own.id],
        "its request",
    )


@pytest.mark.parametrize("version", IN_FILES)
async def test_the_agents_own_client_gets_what_it_lacks_before_the_start(
    version: str, downloads: Path, tmp_path: Path
) -> None:
    release, home, own = find_release(downloads, version), tmp_path / "m", Device()
    key = home / "agent/openclaw/identity/device.json"
    key.parent.mkdir(parents=True)
    key.write_text(json.dumps(own.identity()))
    async with run_stage(home, release) as stage:
        stranger = Device()
        await stage.knock(stranger, client=CLIENT, scopes=WANTED)
        await let_in_too_early(stage, own)
        assert await stage.machine.end() == 0
    before = read(home, "paired.json")
    assert "operator.approvals" not in before[own.id]["scopes"]

    async with run_stage(home, release, HOLDFAST_APPROVE_OWN="true") as stage:
        (said,) = stage.machine.events("pairing.repair")[-1:]
        assert (said["status"], said["repairedCount"], said["removedCount"]) == ("repaired", 1, 1)
        _, told = await stage.machine.ask("GET", "/_holdfast/version")
        assert told["devicePairingRepair"]["repairedCount"] == 1
        after = read(home, "paired.json")
        assert "operator.approvals" in after[own.id]["scopes"]
        assert {key: entry for key, entry in after.items() if key != own.id} == {
            key: entry for key, entry in before.items() if key != own.id
        }, "nobody else was touched"
        assert own.id not in {entry["deviceId"] for entry in read(home, "pending.json").values()}
        answer = await stage.knock(own, client=CLIENT, scopes=WANTED)
        assert answer["ok"] is True, "the gateway itself takes the repaired store"
        answer = await stage.knock(stranger, client=CLIENT, scopes=WANTED)
        assert answer["ok"] is False, "who only says that it is the agent's client is nobody"
