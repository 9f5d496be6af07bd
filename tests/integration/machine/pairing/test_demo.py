"""Pairing with the demo agent: real files, a real command line, over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.wire.controller.pairing import ChannelList, DeviceList
from tests.integration.machine.rig import Machine, run_machine, run_plane, until

LIST = "/_kilo/pairing/channels"
DEVICES = "/_holdfast/pairing/devices"


@pytest.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    async with run_machine(tmp_path) as found:
        await found.opened()
        await found.ready()
        yield found


async def say(machine: Machine, sender: str) -> str:
    url = f"http://127.0.0.1:{machine.state_file()['agentPort']}/say"
    async with machine.session.post(url, data={"sender": sender, "text": "hi"}) as answer:
        return await answer.text()


async def knock(machine: Machine) -> str:
    token = (machine.home / "run" / "agent.token").read_text()
    url = f"http://127.0.0.1:{machine.state_file()['agentPort']}/_demo/device"
    async with machine.session.post(url, headers={"Authorization": f"Bearer {token}"}) as answer:
        return str((await answer.json())["requestId"])


async def listed(machine: Machine, path: str, count: int) -> list[dict[str, Any]]:
    async def look() -> list[dict[str, Any]] | None:
        _, body = await machine.ask("GET", path)
        return body["requests"] if len(body["requests"]) == count else None

    found: list[dict[str, Any]] = await until(look, f"{count} in {path}")
    return found if count else []


async def none_left(machine: Machine, path: str) -> None:
    async def look() -> bool:
        return not (await machine.ask("GET", path))[1]["requests"]

    await until(look, f"nobody in {path}")


async def test_somebody_writes_is_seen_is_let_in_and_is_answered(machine: Machine) -> None:
    code, body = await machine.ask("GET", f"{LIST}?refresh=true")
    assert (code, body["requests"], body["refreshed"]) == (200, [], True)
    assert body["lastUpdated"]
    assert "I do not know you yet" in await say(machine, "ada")
    (row,) = await listed(machine, f"{LIST}?refresh=true", 1)
    assert (row["channel"], row["id"], row["meta"]["username"]) == ("chat", "ada", "ada")
    assert row["code"] in await say(machine, "ada")
    order = {"channel": "chat", "code": row["code"]}
    found = await machine.ask("POST", f"{LIST}/approve", body=order)
    assert found == (200, {"success": True, "message": "Pairing approved"})
    assert (await machine.ask("GET", LIST))[1]["requests"] == []
    assert "pong: hi" in await say(machine, "ada")
    code, body = await machine.ask("POST", f"{LIST}/approve", body=order)
    assert (code, body["code"]) == (409, "pairing_already")


async def test_a_device_is_let_in(machine: Machine) -> None:
    request = await knock(machine)
    (row,) = await listed(machine, f"{DEVICES}?refresh=true", 1)
    assert row["requestId"] == request
    assert (row["role"], row["scopes"]) == ("operator", ["operator.read", "operator.write"])
    assert "publicKey" not in row
    found = await machine.ask("POST", f"{DEVICES}/approve", body={"requestId": request.upper()})
    assert found == (200, {"success": True, "message": "Device approved"})
    await none_left(machine, DEVICES)
    paired = json.loads((machine.home / "agent/state/devices/paired.json").read_text())
    assert list(paired) == [row["deviceId"]]


async def test_the_answers_are_of_the_wires_types(machine: Machine) -> None:
    await say(machine, "ada")
    await knock(machine)
    for path in (LIST, DEVICES):
        await listed(machine, f"{path}?refresh=true", 1)
        _, body = await machine.ask("GET", path)
        found: ChannelList | DeviceList
        if path == LIST:
            found = msgspec.convert(body, ChannelList)
        else:
            found = msgspec.convert(body, DeviceList)
        assert (found.state, found.stale, found.error) == ("known", False, None)
        assert [status.source for status in found.statuses] == ["json"]
        assert found.requests[0].fingerprint


WRONG: tuple[tuple[object, str, str], ...] = (
    ({"channel": "Chat", "code": "AB"}, "Invalid channel name", "channel"),
    ({"channel": "chat\n", "code": "AB"}, "Invalid channel name", "channel"),
    ({"channel": "1chat", "code": "AB"}, "Invalid channel name", "channel"),
    ({"channel": "c" * 65, "code": "AB"}, "Invalid channel name", "channel"),
    ({"channel": "chat", "code": "A" * 33}, "Invalid pairing code", "code"),
    ({"channel": "chat", "code": "AB\n"}, "Invalid pairing code", "code"),
    ({"channel": "chat", "code": "A-B"}, "Invalid pairing code", "code"),
    ({"channel": "chat", "requestId": "x"}, "Invalid request ID", "requestId"),
    ({"channel": "chat"}, "Missing required field: code", "code"),
    ({"code": "AB"}, "Missing required field: channel", "channel"),
    ({"channel": 5, "code": "AB"}, "Missing required field: channel", "channel"),
    ([], "Invalid request body", ""),
    (b"{", "Invalid request body", ""),
)


async def test_bad_input_names_the_field(machine: Machine) -> None:
    for verb in ("approve", "dismiss"):
        for body, message, field in WRONG:
            code, answer = await machine.ask("POST", f"{LIST}/{verb}", body=body)
            assert (code, answer["success"], answer["message"]) == (400, False, message), body
            assert answer.get("field", "") == field
            assert "error" not in answer


async def test_what_nobody_asked_for_is_not_found(machine: Machine) -> None:
    code, body = await machine.ask(
        "POST", f"{LIST}/approve", body={"channel": "chat", "code": "ABCDEFGH"}
    )
    assert (code, body["code"]) == (404, "pairing_not_found")
    missing = {"requestId": "00000000-0000-0000-0000-000000000000"}
    code, body = await machine.ask("POST", f"{DEVICES}/approve", body=missing)
    assert (code, body["code"]) == (404, "pairing_not_found")


async def test_nothing_is_decided_while_the_agent_does_not_run(machine: Machine) -> None:
    await machine.ask("POST", "/_kilo/gateway/stop")
    code, body = await machine.ask(
        "POST", f"{LIST}/approve", body={"channel": "chat", "code": "ABCDEFGH"}
    )
    assert (code, body["code"]) == (503, "agent_not_running")


async def test_who_was_dismissed_stays_away_over_a_restart_but_may_ask_anew(
    tmp_path: Path,
) -> None:
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        await machine.ready()
        await say(machine, "ada")
        (row,) = await listed(machine, f"{LIST}?refresh=true", 1)
        order = {"channel": "chat", "requestId": row["requestId"]}
        code, body = await machine.ask("POST", f"{LIST}/dismiss", body=order)
        assert (code, body["message"]) == (200, "Pairing dismissed")
        assert (await machine.ask("GET", f"{LIST}?refresh=true"))[1]["requests"] == []
    async with run_machine(tmp_path) as machine:
        await machine.opened()
        await machine.ready()
        assert (await machine.ask("GET", f"{LIST}?refresh=true"))[1]["requests"] == []
        store = tmp_path / "agent/state/credentials/chat-pairing.json"
        kept = json.loads(store.read_text())
        assert len(kept["requests"]) == 1, "the agent still has it"
        kept["requests"][0] |= {"createdAt": "2036-01-01T00:00:00.000Z", "code": "ANOTHER2"}
        store.write_text(json.dumps(kept))
        (row,) = await listed(machine, f"{LIST}?refresh=true", 1)
        assert row["code"] == "ANOTHER2"


async def test_a_change_is_reported_at_once(tmp_path: Path) -> None:
    async with run_plane() as plane, run_machine(
        tmp_path, HOLDFAST_PLANE_URL=plane.url
    ) as machine:  # fmt: skip
        await machine.opened()
        await machine.ready()
        await say(machine, "ada")
        await listed(machine, f"{LIST}?refresh=true", 1)
        await until(lambda: plane.heard and plane.last.pairing_count == 1, "the count")
        epoch = (await machine.ask("GET", LIST))[1]["epoch"]
        assert plane.last.pairing_epoch == epoch
        assert {"pairing.channels", "pairing.devices", "pairing.dismiss"} <= set(
            plane.last.capabilities
        )


async def test_what_is_not_understood_is_unknown_and_no_empty_list(machine: Machine) -> None:
    await say(machine, "ada")
    (row,) = await listed(machine, LIST, 1)
    state = machine.home / "agent" / "state"
    store = state / "credentials" / "chat-pairing.json"
    store.write_text(json.dumps({"version": 2, "requests": {}}))
    # Its own command line still reads it; break that too, for later runs of it.
    config = {"channels": {"chat": {"enabled": True}}, "nonsense": 1}
    (state / "demo.json").write_text(json.dumps(config))
    code, body = await machine.ask("GET", f"{LIST}?refresh=true")
    assert (code, body["state"], body["stale"]) == (200, "stale", True)
    assert [one["code"] for one in body["requests"]] == [row["code"]], "what was known is shown"
    assert body["refreshed"] is False
    order = {"channel": "chat", "requestId": row["requestId"]}
    await machine.ask("POST", f"{LIST}/dismiss", body=order)
    code, body = await machine.ask("GET", LIST)
    assert (code, body["code"], body["state"]) == (503, "pairing_unknown", "unknown")
    assert "requests" not in body
    assert body["statuses"][0]["error"]["code"] == "store_unknown"


async def test_a_request_is_seen_without_anybody_asking_for_a_refresh(machine: Machine) -> None:
    await say(machine, "ada")
    (row,) = await listed(machine, LIST, 1)
    await knock(machine)
    await listed(machine, DEVICES, 1)
    (machine.home / "agent/state/demo.json").write_text('{"channels": {}}')
    await none_left(machine, LIST)
    assert machine.events("pairing.command") == []
    assert row["channel"] == "chat"


async def test_a_stranger_may_come_by_itself(tmp_path: Path) -> None:
    async with run_machine(tmp_path, HOLDFAST_AGENT_ARGS='["--stranger-s", "0.1"]') as machine:
        await machine.opened()
        (row,) = await listed(machine, LIST, 1)
        assert (row["id"], row["channel"]) == ("ada", "chat")


async def test_an_agent_that_is_full_makes_no_more_requests(machine: Machine) -> None:
    for name in ("ada", "bob", "eve"):
        assert "pairing code" in await say(machine, name)
    assert "Too many" in await say(machine, "mallory")
    rows = await listed(machine, LIST, 3)
    assert [row["id"] for row in rows] == ["ada", "bob", "eve"]
