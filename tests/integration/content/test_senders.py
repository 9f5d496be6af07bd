"""Two programs that send for one node, on a whole plane: one is refused until its owner chooses."""

from __future__ import annotations

from typing import Any

import msgspec

from tests.integration.content.conftest import NEW, OLD, Watchtower, make_watchtower
from tests.support.asgi import call

OURS = "holdfast-observer/0.1.0"
DAEMON = "Python-urllib/3.11"


async def send(tower: Watchtower, agent: str, path: str, *, status: int = 200, **body: Any) -> Any:
    raw = msgspec.json.encode({"node_id": tower.name, **body})
    headers = {
        "content-type": "application/json", "content-length": str(len(raw)),
        "x-api-key": tower.key, "user-agent": agent,
    }  # fmt: skip
    answer = await call(tower.plane.app, "POST", path, headers=headers, body=raw)
    assert answer.status == status, answer.body
    return answer.json()


async def beat(tower: Watchtower, agent: str, version: str, **body: Any) -> Any:
    return await send(tower, agent, "/ingest/heartbeat", version=version, platform="Linux", **body)


async def lines(tower: Watchtower) -> list[str]:
    return [one["text"] for one in (await tower.get(f"/api/nodes/{tower.node}/logs"))["items"]]


async def test_the_daemon_beside_our_observer_is_named_and_refused_until_the_owner_chooses(
    tower: Watchtower,
) -> None:
    tower.consents.grant(tower.node)
    assert (await beat(tower, OURS, "0.1.0"))["sync_allowed"]
    await send(tower, OURS, "/ingest/logs", lines=["ours"])

    told = await beat(tower, DAEMON, NEW, tool_calls_today=7, cache_pushes=[{"key": "memory:x"}])
    assert (told["sync_allowed"], told["reason"], told["pending_queries"]) == (
        False, "intent_pending", []
    )  # fmt: skip
    answer = await send(tower, DAEMON, "/ingest/logs", lines=["MARKER-second"])
    assert (answer["ok"], answer["accepted"], answer["error"]) == (True, 0, "second_sender")
    assert await lines(tower) == ["ours"]
    assert tower.bytes_on_disk(b"MARKER-second") == []

    about = await tower.about()
    assert about["node"]["second_sender"]
    assert about["node"]["version"] == "0.1.0"  # the facts are those of the one that sends
    assert "tool_calls_today" not in {one["name"] for one in about["facts"]}
    assert {one["of"] for one in about["refused"] if one["why"] == "sender"} == {
        "logs", "memory", "counters", "metadata",
    }  # fmt: skip
    ours, theirs = about["senders"]
    assert (ours["program"], ours["state"], ours["undecided"]) == (
        "holdfast-observer", "sends", False
    )  # fmt: skip
    assert (theirs["program"], theirs["version"], theirs["state"], theirs["undecided"]) == (
        "clawmetry", NEW, "refused", True
    )  # fmt: skip

    path = f"/api/nodes/{tower.node}/sender"
    assert (await tower.ask("POST", path, {"sender": theirs["id"]}, by="stranger")).status == 404
    assert (await tower.ask("POST", path, {"sender": "nobody:k"})).status == 404
    chosen = await tower.ask("POST", path, {"sender": theirs["id"]})
    assert chosen.status == 200, chosen.body
    assert not chosen.json()["node"]["second_sender"]
    assert chosen.json()["sender_chosen_by"].startswith("owner (token:")
    assert (await beat(tower, DAEMON, NEW))["sync_allowed"]
    await send(tower, DAEMON, "/ingest/logs", lines=["theirs"])
    assert not (await beat(tower, OURS, "0.1.0"))["sync_allowed"]
    await send(tower, OURS, "/ingest/logs", lines=["ours again"])
    assert await lines(tower) == ["theirs", "ours"]
    audited = await tower.get("/api/audit", by="operator")
    assert "content.choose-sender" in msgspec.json.encode(audited).decode()


async def test_the_choice_survives_a_restart_and_registering_again_is_no_second_sender(
    tower: Watchtower,
) -> None:
    await beat(tower, OURS, "0.1.0")
    await beat(tower, DAEMON, NEW)
    (_, theirs) = (await tower.about())["senders"]
    await tower.ask("POST", f"/api/nodes/{tower.node}/sender", {"sender": theirs["id"]})
    secret, _ = await tower.plane.subjects.content.observed.directory.make_key(
        "again", account="local", source="person", created_by="test"
    )
    await tower.plane.stop()
    again = await make_watchtower(tower.home, tower.consents)
    try:
        again.key, again.name, again.node = tower.key, tower.name, tower.node
        again.consents.grant(again.node)
        assert not (await beat(again, OURS, "0.1.0"))["sync_allowed"]
        assert (await beat(again, DAEMON, NEW))["sync_allowed"]
        again.key = secret  # the same machine has another key
        assert (await beat(again, DAEMON, NEW))["sync_allowed"]
        about = await again.about()
        assert not about["node"]["second_sender"]
        assert about["sender_chosen_by"].startswith("owner (token:")
        assert {(one["program"], one["key"] == theirs["key"]): one["state"]
                for one in about["senders"]} == {
            ("holdfast-observer", True): "refused",
            ("clawmetry", True): "replaced",
            ("clawmetry", False): "sends",
        }  # fmt: skip
        told = again.log.named("content.second_sender")
        assert [(one["program"], one["refused"]) for one in told] == [("clawmetry", False)]
    finally:
        await again.plane.stop()


async def test_an_old_daemon_is_told_to_keep_what_a_second_sender_sends(tower: Watchtower) -> None:
    tower.consents.grant(tower.node)
    await beat(tower, OURS, "0.1.0")
    await beat(tower, DAEMON, OLD)
    answer = await send(tower, DAEMON, "/ingest/events", status=403, events=[{"id": 1}])
    assert (answer["ok"], answer["error"], answer["sync_allowed"]) == (
        False, "second_sender", False
    )  # fmt: skip


async def test_a_poll_of_a_second_sender_does_not_end_at_once_for_ever(tower: Watchtower) -> None:
    tower.consents.grant(tower.node)
    await beat(tower, OURS, "0.1.0")
    await beat(tower, DAEMON, NEW)
    await tower.about()  # somebody looks
    target = f"/ingest/wake?node_id={tower.name}&wait=0"
    headers = {"x-api-key": tower.key, "user-agent": DAEMON}
    answer = (await call(tower.plane.app, "GET", target, headers=headers)).json()
    assert (answer["work"], answer["sync_allowed"]) == (False, False)
    headers["user-agent"] = OURS
    assert (await call(tower.plane.app, "GET", target, headers=headers)).json()["work"]
