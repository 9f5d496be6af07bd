"""Pairing with the real OpenClaw, on a release of each way to store requests.

One start for all steps of a release, because a start takes up to minutes.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.machine.agents.pairing import Place
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing.openclaw.by_websocket import SocketSource
from holdfast.machine.controller.pairing.openclaw.connection import Link
from holdfast.machine.controller.pairing.state import DEVICES as DEVICES_PART
from holdfast.machine.controller.pairing.state import Failure
from tests.integration.machine.rig import until
from tests.openclaw.fakes import ANSWER, Device
from tests.openclaw.machines import CHANNELS, DEVICES, Stage, run_stage

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(900)]


async def test_people_and_devices_are_let_in(release: Path, tmp_path: Path) -> None:
    async with run_stage(tmp_path / "m", release) as stage:
        await nobody_waits_and_all_is_known(stage)
        await somebody_writes_and_is_let_in_and_answered(stage)
        await somebody_is_dismissed_and_may_ask_anew(stage)
        await devices_are_let_in_and_sent_away(stage)
        await the_interface_says_the_same(stage, tmp_path)
        await what_is_unknown_is_told_apart(stage)
        await nothing_but_approvals_ran_a_command(stage)
    async with run_stage(tmp_path / "m", release) as stage:
        await nothing_decided_comes_back(stage)


async def nobody_waits_and_all_is_known(stage: Stage) -> None:
    source = "sqlite" if stage.has_interface else "json"
    for path in (CHANNELS, DEVICES):
        code, body = await stage.machine.ask("GET", f"{path}?refresh=true")
        assert (code, body["requests"], body["state"]) == (200, [], "known"), body
        assert [status["source"] for status in body["statuses"]] == [source]
        assert [status["note"] for status in body["statuses"]] == [""]


async def somebody_writes_and_is_let_in_and_answered(stage: Stage) -> None:
    await stage.telegram.write(777001, "hello")
    row = await stage.waits(CHANNELS, "id", "777001")
    assert (row["channel"], row["meta"]["username"]) == ("telegram", "tester777001")
    told = await until(lambda: stage.telegram.said_to(777001), "a code for the sender", 20)
    assert row["code"] in told[0]
    order = {"channel": "telegram", "code": row["code"].lower()}
    code, body = await stage.decide(CHANNELS, "approve", **order)
    assert (code, body["message"]) == (200, "Pairing approved"), body
    assert row["code"] not in str(await stage.listed(CHANNELS))
    await stage.telegram.write(777001, "ping")
    await until(
        lambda: any(ANSWER in text for text in stage.telegram.said_to(777001)), "an answer", 120
    )
    code, body = await stage.decide(CHANNELS, "approve", **order)
    assert (code, body["code"]) == (409, "pairing_already")


async def somebody_is_dismissed_and_may_ask_anew(stage: Stage) -> None:
    await stage.telegram.write(777002, "me too")
    row = await stage.waits(CHANNELS, "id", "777002")
    code, _ = await stage.decide(
        CHANNELS, "dismiss", channel="telegram", requestId=row["requestId"]
    )
    assert code == 200
    _, body = await stage.machine.ask("GET", f"{CHANNELS}?refresh=true")
    assert body["requests"] == []
    if stage.has_interface:
        await stage.telegram.write(777002, "me again")
        again = await stage.waits(CHANNELS, "id", "777002")
        assert again["requestId"] != row["requestId"]
        # Approved by the id alone, as from a source without codes.
        code, _ = await stage.decide(
            CHANNELS, "approve", channel="telegram", requestId=again["requestId"]
        )
        assert code == 200


async def devices_are_let_in_and_sent_away(stage: Stage) -> None:
    for how in ({}, {"role": "node", "scopes": ()}):
        device = Device()
        answer = await stage.knock(device, **how)
        assert answer["error"]["code"] == "NOT_PAIRED"
        row = await stage.waits(DEVICES, "deviceId", device.id)
        assert "publicKey" not in row
        code, body = await stage.decide(DEVICES, "approve", requestId=row["requestId"])
        assert (code, body["message"]) == (200, "Device approved"), body
        assert (await stage.knock(device, **how))["ok"] is True
    stranger = Device()
    await stage.knock(stranger)
    row = await stage.waits(DEVICES, "deviceId", stranger.id)
    code, _ = await stage.decide(DEVICES, "dismiss", requestId=row["requestId"])
    assert code == 200
    _, body = await stage.machine.ask("GET", f"{DEVICES}?refresh=true")
    assert body["requests"] == [], "nobody else waits, our own connections least of all"


async def what_is_unknown_is_told_apart(stage: Stage) -> None:
    code, body = await stage.decide(CHANNELS, "approve", channel="telegram", code="ABCDEFGH")
    assert (code, body["code"]) == (404, "pairing_not_found")
    nobody = "00000000-0000-4000-8000-000000000000"
    code, body = await stage.decide(DEVICES, "approve", requestId=nobody)
    assert (code, body["code"]) == (404, "pairing_not_found")


async def nothing_but_approvals_ran_a_command(stage: Stage) -> None:
    by = [(row["kind"], row["means"]) for row in stage.machine.events("pairing.decided")]
    channels = {means for kind, means in by if kind == "channels"}
    assert {means for kind, means in by if kind == "devices"} == {"rpc"}
    assert channels == ({"rpc"} if stage.has_interface else {"command", "hidden"})
    assert stage.machine.events("pairing.command") == [] or not stage.has_interface
    assert len(stage.machine.events("pairing.command")) == (0 if stage.has_interface else 1)


async def nothing_decided_comes_back(stage: Stage) -> None:
    for path in (CHANNELS, DEVICES):
        _, body = await stage.machine.ask("GET", f"{path}?refresh=true")
        assert (body["requests"], body["state"]) == ([], "known")


async def the_interface_says_the_same(stage: Stage, folder: Path) -> None:
    """The query used if a store is not understood returns the same requests in another form."""
    await stage.telegram.write(777003, "hello")
    person = await stage.waits(CHANNELS, "id", "777003")
    device = Device()
    await stage.knock(device)
    client = await stage.waits(DEVICES, "deviceId", device.id)
    token = (stage.machine.home / "run" / "agent.token").read_text().strip()
    port = int(stage.machine.state_file()["agentPort"])
    link = Link(
        Place(home=str(folder), port=port, token=token, python=""), stage.machine.session,
        key_path=folder / "device.key", on_open=lambda: None, on_news=lambda: None,
        log=Log(SystemClock(), 1),
    )  # fmt: skip
    link.want(ready=True)
    task = asyncio.create_task(link.run())
    try:
        await until(lambda: link.gateway is not None, "a connection", 30)
        assert link.version == stage.version
        source = SocketSource(link)
        found = (await source.look("devices", [DEVICES_PART]))[DEVICES_PART]
        assert isinstance(found, tuple), found
        same = next(row for row in found if row.key == client["requestId"])
        assert same.fingerprint == client["fingerprint"]
        listed = (await source.look("channels", ["telegram"]))["telegram"]
        if stage.has_interface:
            assert isinstance(listed, tuple), listed
            (row,) = listed
            assert (row.key, row.code) == (person["requestId"], "")
            assert row.fingerprint == person["fingerprint"]
        else:
            assert isinstance(listed, Failure), listed
            assert listed.strange, "which is no empty list"
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await stage.decide(DEVICES, "dismiss", requestId=client["requestId"])
    await stage.decide(CHANNELS, "dismiss", channel="telegram", requestId=person["requestId"])
