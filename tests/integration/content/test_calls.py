"""Observers over HTTP: the gate, both credentials, refusals by version, registration, intent."""

from __future__ import annotations

import asyncio
import time
import uuid
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from holdfast.actors.ports import MailboxFullError
from holdfast.content import limits
from holdfast.content.accept import ROUTES
from holdfast.wire.api.call import Refusal
from holdfast.wire.api.clawmetry import UPLOADS
from holdfast.wire.consent import (
    CLASSES,
    INTENT_CLASSES,
    Grant,
    SignedDocument,
    encode_document,
    node_of_instance,
    node_of_name,
    to_base64url,
)
from holdfast.wire.controller.identity import gateway_token, key_hash
from tests.integration.content.conftest import NEW, OLD, Watchtower, make_watchtower
from tests.support.asgi import Answer, call
from tests.support.patience import patience
from tests.support.toys.consents import ToyConsents

SECRET = "MARKER-" + "s" * 40
BODIES: dict[str, Any] = {
    "session_file": f"{SECRET}.jsonl",
    "events": [
        {"type": "cron_state", "id": SECRET, "data": {"job_id": SECRET, "name": SECRET}},
        {"id": "e2", "message": {"role": "user", "content": SECRET}},
    ],
    "lines": [SECRET, {"message": SECRET}],
    "sessions": [{"session_id": SECRET, "display_name": SECRET}],
    "memory_content": [{"path": f"{SECRET}.md", "content": SECRET}],
    "snapshots": [{"day": SECRET}],
    "args": {"command": SECRET},
    "id": SECRET,
}
PATHS = {row.name: row.path for row in UPLOADS} | {"clawmetry.approval": "/api/approvals/request"}


def event(name: str, said: str = "x", **more: Any) -> dict[str, Any]:
    return {
        "type": "message", "id": name, "timestamp": "2026-11-30T07:00:00Z",
        "message": {"role": "user", "content": [{"type": "text", "text": said}]}, **more,
    }  # fmt: skip


async def flushed(tower: Watchtower) -> None:
    await tower.plane.subjects.content.observed.directory.flush()


@pytest.mark.parametrize("version", [OLD, NEW])
async def test_nothing_of_a_refused_body_is_anywhere(tower: Watchtower, version: str) -> None:
    pushes = [{"key": f"memory:{SECRET}", "blob": SECRET}, {"key": "brain:x", "blob": SECRET}]
    about = {"hostname": SECRET, "os": "Linux"}
    answer = await tower.beat(version, cache_pushes=pushes, node_meta=about, limits=SECRET)
    assert (answer["sync_allowed"], answer["reason"]) == (False, "intent_pending")
    for path in PATHS.values():
        for body in (BODIES, {"encrypted": True, "blob": SECRET, "session_file": SECRET}):
            answer = await tower.post(path, {"node_id": tower.name, **body})
            assert answer.status in {200, 403}
            told = answer.json()
            assert (told["sync_allowed"], told["reason"]) == (False, "intent_pending")
            assert SECRET not in answer.body.decode() or path.startswith("/api/approvals")
        broken = await tower.post(path, b'{"node_id": "x", "events": "' + SECRET.encode())
        assert broken.status == 400
    await flushed(tower)
    assert tower.bytes_on_disk(SECRET[:20].encode()) == []
    assert SECRET not in repr(tower.log.lines)
    found = await tower.about()
    assert found["stored"] == []
    refused = {one["of"]: one["bytes"] for one in found["refused"] if one["why"] == "consent"}
    assert refused.keys() == set(CLASSES)
    assert all(size > len(SECRET) for size in refused.values())


@pytest.mark.parametrize("of", CLASSES)
async def test_each_route_is_let_in_by_its_own_class_alone(tower: Watchtower, of: Any) -> None:
    tower.consents.grant(tower.node, (of,))
    await tower.beat(NEW)
    for path in PATHS.values():
        await tower.post(path, {"node_id": tower.name, **BODIES})
    stored = {one["of"] for one in (await tower.about())["stored"]}
    assert stored == {of}
    for name, route in ROUTES.items():
        counted = tower.kept().refused
        if route.of is not None and route.of != of:
            assert (route.of, "consent") in counted, name


async def test_the_refusal_is_chosen_by_the_version(tower: Watchtower) -> None:
    sent: dict[str, Any] = {"session_file": "s.jsonl", "events": [event("e1")]}
    unknown = await tower.send("/ingest/events", 403, **sent)
    assert (unknown["ok"], unknown["error"]) == (False, "not_consented")
    await tower.beat(OLD)
    await tower.send("/ingest/events", 403, **sent)
    assert tower.kept().gap_from_ms == 0
    await tower.beat(NEW)
    refused = await tower.send("/ingest/events", **sent)
    assert (refused["ok"], refused["accepted"]) == (True, 0), "an observer keeps it"
    assert refused["error"] == "not_consented"
    assert tower.kept().gap_from_ms > 0
    tower.consents.grant(tower.node)
    useless: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("unreadable", "/ingest/events", {"session_file": "s", "events": [7]}),
        ("unused", "/ingest/system-snapshot", sent),
        ("unused", "/ingest/cache", {"id": "never-asked", "blob": "QUJD"}),
    )
    for error, path, body in useless:
        told = await tower.send(path, **body)
        assert (told["accepted"], told["error"]) == (0, error), "nothing of it is kept"
    assert "accepted" not in await tower.send("/ingest/events", **sent), "1 is what is not said"
    assert not [line for line in tower.log.lines if line[1] == "call"], "a closed gate is no news"


async def test_what_is_let_in_is_stored_once_and_shown(tower: Watchtower) -> None:
    tower.consents.grant(tower.node)
    sent: dict[str, Any] = {
        "session_file": "s.jsonl",
        "events": [event("e1", "hello"), event("e2", "again")],
    }
    for _ in range(8):
        assert (await tower.send("/ingest/events", **sent))["sync_allowed"]
    about = {"session_id": "s", "display_name": "Title", "model": "m", "total_cost": 0.5}
    await tower.send("/ingest/sessions", sessions=[about])
    node = f"/api/nodes/{tower.node}"
    turns = (await tower.get(f"{node}/turns?session=s"))["items"]
    assert [(one["role"], one["text"]) for one in turns] == [("user", "hello"), ("user", "again")]
    (session,) = (await tower.get(f"{node}/sessions"))["items"]
    assert (session["title"], session["events"], session["cost"]) == ("Title", 2, 0.5)
    await tower.send("/ingest/stream", lines=["one", "one", "two"])
    assert [one["text"] for one in (await tower.get(f"{node}/logs"))["items"]] == ["two", "one"]
    for content in ("a", "a", "b"):
        await tower.send("/ingest/memory", memory_content=[{"path": "M.md", "content": content}])
    (file,) = (await tower.get(f"{node}/memory"))["items"]
    assert (file["path"], file["versions"]) == ("M.md", 2)
    versions = (await tower.get(f"{node}/memory/versions?path=M.md"))["items"]
    assert [one["content"] for one in versions] == ["b", "a"]
    lines = (await tower.ask("GET", f"{node}/export")).body.splitlines()
    assert len(lines) == 2 + 1 + 2 + 2
    lines = (await tower.ask("GET", f"{node}/export?of=memory")).body.splitlines()
    assert {msgspec.json.decode(line)["of"] for line in lines} == {"memory"}


async def test_pages_of_a_session_and_of_sessions_lead_through_all(tower: Watchtower) -> None:
    tower.consents.grant(tower.node)
    for number in range(5):
        events = [event(f"e{n}", str(n), ts=n) for n in range(5)]
        await tower.send("/ingest/events", session_file=f"s {number}.jsonl", events=events)
    seen, after = [], ""
    while True:
        page = await tower.get(f"/api/nodes/{tower.node}/sessions?limit=2{after}")
        seen += [one["name"] for one in page["items"]]
        if not page["next"]:
            break
        after = f"&after={page['next']}"
    assert sorted(seen) == [f"s {number}" for number in range(5)]
    turns, after = [], ""
    while True:
        page = await tower.get(f"/api/nodes/{tower.node}/turns?session=s%200&limit=2{after}")
        turns += [one["text"] for one in page["items"]]
        if not page["next"]:
            break
        after = f"&after={page['next']}"
    assert turns == ["0", "1", "2", "3", "4"]
    for wrong in ("x", "1", "1-x"):
        await tower.get(f"/api/nodes/{tower.node}/sessions?after={wrong}", status=400)


async def test_sealed_and_megabyte_bodies_are_taken(tower: Watchtower) -> None:
    tower.consents.grant(tower.node)
    blob = "QUJD" * 1_500_000
    await tower.send("/ingest/events", encrypted=True, blob=blob)
    await tower.send("/ingest/events", encrypted=True, blob="not base64: <>")
    events = [event(str(n), "x" * 40_000) for n in range(100)]
    await tower.send("/ingest/events", session_file="s.jsonl", events=events)
    found = await tower.about()
    assert found["node"]["stored_bytes"] > 10_000_000
    assert [one["why"] for one in found["refused"]] == ["unreadable"]
    sealed = (await tower.get(f"/api/nodes/{tower.node}/sessions"))["sealed"]
    assert [(one["of"], one["rows"]) for one in sealed] == [("transcripts", 1)]
    (turn,) = (await tower.get(f"/api/nodes/{tower.node}/turns?sealed=true"))["items"]
    assert (turn["sealed"], turn["text"], turn["cut"]) == (True, "", True)


async def test_a_quota_refuses_what_is_more_and_says_so(
    tmp_path: Path, consents: ToyConsents
) -> None:
    tower = await make_watchtower(tmp_path / "home", consents, content_node_mb=1)
    made = (await tower.register()).json()
    tower.key, tower.name, tower.node = made["api_key"], made["node_id"], made["node"]
    consents.grant(tower.node)
    await tower.beat(OLD)
    too_big = [event("0", "x" * 1_100_000)]
    told = await tower.send("/ingest/events", 403, session_file="s", events=too_big)
    assert (told["error"], told["sync_allowed"]) == ("quota_full", True)
    await tower.beat(NEW)
    for number in range(3):
        big = [event(str(number), "x" * 600_000)]
        answer = await tower.send("/ingest/events", session_file="s", events=big)
        assert answer["sync_allowed"], "a full quota is no closed gate"
    found = await tower.about()
    assert [one["why"] for one in found["refused"] if one["of"] == "transcripts"] == ["quota"]
    assert found["node"]["stored_bytes"] < found["quota_bytes"] == 1_000_000
    deleted = await tower.plane.subjects.content.observed.deletion.delete(tower.node, CLASSES)
    assert deleted["transcripts"] == 1
    await tower.send("/ingest/events", session_file="s", events=[event("9")])
    assert (await tower.about())["stored"][0]["rows"] == 1
    await tower.plane.stop()


async def test_a_disk_that_fails_is_neither_429_nor_503(tower: Watchtower) -> None:
    tower.consents.grant(tower.node)
    store: Any = tower.plane.subjects.content.observed.store

    def bound(pages: int) -> Any:
        return lambda connection: connection.execute(f"PRAGMA max_page_count={pages}").get

    await store._writer.call(bound(1))
    big = [event("e1", "MARKER-" + "x" * 600_000)]
    answer = await tower.send("/ingest/events", 409, session_file="s", events=big)
    assert (answer["error"], answer["sync_allowed"]) == ("not_stored", True)
    assert (await tower.beat(NEW))["ok"]
    assert "MARKER-" not in repr(tower.log.lines)
    await store._writer.call(bound(1 << 30))
    await tower.send("/ingest/events", session_file="s", events=big)
    assert (await tower.about())["stored"][0]["rows"] == 1


async def test_pages_show_what_is_stored_and_what_was_refused(tower: Watchtower) -> None:
    await tower.send("/ingest/events", 403, session_file="s", events=[event("e0")])
    page = (await tower.ask("GET", f"/nodes/{tower.node}/sessions")).body.decode()
    assert "Waits for consent" in page
    assert "not consented to" in page
    assert "waiting for its first heartbeat" not in page, "an upload is a sign of life too"
    tower.consents.grant(tower.node)
    await tower.send(
        "/ingest/events", session_file="s<1>.jsonl",
        events=[event("e1", "<script>alert(1)</script>")],
    )  # fmt: skip
    await tower.send("/ingest/events", encrypted=True, blob="QUJD")
    page = (await tower.ask("GET", f"/nodes/{tower.node}/sessions")).body.decode()
    assert "s&lt;1&gt;" in page
    assert "Sealed uploads of transcripts: 1" in page
    target = f"/nodes/{tower.node}/sessions?session=s%3C1%3E"
    page = (await tower.ask("GET", target)).body.decode()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<script>alert" not in page
    assert (await tower.ask("GET", f"/nodes/{tower.node}/sessions", by="stranger")).status == 404


# -- credentials


async def test_both_credentials_are_taken_and_a_wrong_one_is_json(tower: Watchtower) -> None:
    for bearer in (False, True):
        answer = await tower.post(
            "/ingest/heartbeat", {"node_id": tower.name, "version": NEW}, bearer=bearer
        )
        assert answer.status == 200
    for wrong in ("cm_" + "0" * 32, "hf_" + "A" * 43, "nonsense"):
        # More than the edge takes of wrong proofs elsewhere.
        answers = [await tower.post("/ingest/events", {}, key=wrong) for _ in range(60)]
        assert {answer.status for answer in answers} == {401}
        told = answers[-1].json()
        assert (told["ok"], told["error"], told["sync_allowed"]) == (
            False, "invalid_api_key", False
        )  # fmt: skip
    assert (await tower.beat())["ok"], "others behind the address are let through"


async def test_a_registered_key_speaks_for_its_own_node(tower: Watchtower) -> None:
    other = (await tower.register()).json()
    for path in ("/ingest/heartbeat", "/ingest/events"):
        answer = await tower.post(path, {"node_id": other["node_id"]})
        assert (answer.status, answer.json()["error"]) == (403, "wrong_node")
    told = [line["code"] for line in tower.log.named("call")]
    assert told == ["wrong_node", "wrong_node"], "it is counted nowhere, so the log has it"
    assert (await tower.post("/ingest/heartbeat", {})).status == 200, "it has one node"


async def test_a_revoked_key_stops_at_once_and_for_good(tower: Watchtower) -> None:
    (key,) = (await tower.get("/api/node-keys"))["items"]
    assert (key["source"], key["node"]) == ("kiloclaw", tower.name)
    assert (await tower.ask("DELETE", f"/api/node-keys/{key['id']}", by="stranger")).status == 404
    assert (await tower.ask("DELETE", f"/api/node-keys/{key['id']}")).status == 200
    assert (await tower.post("/ingest/heartbeat", {})).status == 401
    await tower.plane.stop()
    again = await make_watchtower(tower.home, tower.consents)
    tower.plane = again.plane
    assert (await tower.post("/ingest/heartbeat", {})).status == 401


async def test_what_is_sent_is_not_shown_to_others(tower: Watchtower) -> None:
    tower.consents.grant(tower.node)
    await tower.send("/ingest/events", session_file="s", events=[event("e1")])
    assert (await tower.get("/api/nodes", by="stranger"))["items"] == []
    for path in ("", "/sessions", "/turns?session=s", "/logs", "/memory", "/export"):
        await tower.get(f"/api/nodes/{tower.node}{path}", by="stranger", status=404)
    assert [one["id"] for one in (await tower.get("/api/nodes", by="operator"))["items"]] == [
        tower.node
    ]


# -- registration and connecting


async def test_registering_has_the_answer_of_the_contract(tower: Watchtower) -> None:
    made = (await tower.register()).json()
    assert made["ok"]
    assert made["plan"] == "free"
    assert str(uuid.UUID(made["dashboard_id"])) == made["dashboard_id"]
    assert made["api_key"].startswith("cm_")
    assert len(bytes.fromhex(made["api_key"].removeprefix("cm_"))) == 16
    assert made["dashboard_url"] == f"http://plane.test/nodes/{made['node']}/sessions"
    assert made["node"] == node_of_name("local", made["node_id"])
    assert tower.consents.registered[-1][1:] == ("auto", f"node-key:{_key_of(tower, made)}")
    assert made["api_key"] not in repr(tower.log.lines)
    await flushed(tower)
    assert tower.bytes_on_disk(made["api_key"].encode()) == []


def _key_of(tower: Watchtower, made: Any) -> str:
    directory = tower.plane.subjects.content.observed.directory
    return next(key.id for key in directory.keys_of("local") if key.node == made["node_id"])


async def test_an_address_registers_ten_an_hour(tower: Watchtower) -> None:
    for _ in range(limits.REGISTRATIONS_PER_HOUR):
        assert (await tower.register("198.51.100.1")).status == 200
    answer = await tower.register("198.51.100.1")
    assert (answer.status, answer.json()["code"]) == (429, "too_many_registrations")
    assert int(answer.header("retry-after")) > 3_000
    assert (await tower.register("198.51.100.2")).status == 200


async def test_nobody_gets_a_name_that_is_taken(tower: Watchtower) -> None:
    names = [(await tower.register(machine_id="m", hostname="h")).json()["node_id"] for _ in "abc"]
    assert len(set(names)) == 3


async def machine_headers(tower: Watchtower) -> tuple[str, str, dict[str, str]]:
    """Return an instance, its sandbox and the credentials of its machine."""
    made = await tower.ask("POST", "/api/instances", {"name": "one", "desired": "stopped"})
    instance = made.json()["id"]
    facts = tower.machines.of_instance(instance)
    assert facts is not None
    key = "hfm_" + "k" * 43
    tower.machines.put(replace(facts, api_key_hash=key_hash(key)))
    secret = tower.plane.core.token_secret.reveal()
    token = gateway_token(secret, facts.sandbox, version=facts.token_version)
    headers = {
        "content-type": "application/json", "authorization": f"Bearer {key}",
        "x-holdfast-gateway-token": token,
    }  # fmt: skip
    return instance, facts.sandbox, headers


async def test_a_machine_of_an_instance_registers_without_a_limit(tower: Watchtower) -> None:
    instance, sandbox, headers = await machine_headers(tower)
    body = msgspec.json.encode({"hostname": "h", "source": "holdfast", "sandbox": sandbox})

    async def register(sent: dict[str, str]) -> Answer:
        return await call(
            tower.plane.app, "POST", "/api/register", headers=sent, body=body, peer="198.51.100.9"
        )

    answers = [await register(headers) for _ in range(limits.REGISTRATIONS_PER_HOUR + 2)]
    assert {answer.status for answer in answers} == {200}
    found = answers[-1].json()
    assert found["node"] == node_of_instance("local", instance)
    kept = [one for one in (await tower.get("/api/node-keys"))["items"] if one["instance"]]
    assert len(kept) == limits.KEYS_PER_INSTANCE, "what is superseded is deleted"
    wrong = await register({**headers, "x-holdfast-gateway-token": "0" * 64})
    assert wrong.status in {401, 403}


async def test_an_instances_own_key_cannot_say_yes(tower: Watchtower) -> None:
    _, sandbox, headers = await machine_headers(tower)
    body = msgspec.json.encode({"sandbox": sandbox})
    made = await call(tower.plane.app, "POST", "/api/register", headers=headers, body=body)
    found = made.json()
    tower.key, tower.name, tower.node = found["api_key"], found["node_id"], found["node"]
    answer = await tower.post("/api/cloud/intent-start", {}, bearer=True)
    assert answer.status == 403
    assert tower.consents.intents == [], "a consent that would grant is not asked"
    assert (await tower.about())["intents_refused"] == 1


@pytest.mark.parametrize("first", ["person", "machine"])
async def test_a_persons_key_never_speaks_for_an_instances_node(
    tower: Watchtower, first: str
) -> None:
    instance, sandbox, headers = await machine_headers(tower)
    body = msgspec.json.encode({"sandbox": sandbox})
    made = (await tower.ask("POST", "/api/node-keys", {"name": "all"})).json()["key"]
    own = node_of_instance("local", instance)
    if first == "person":
        # The name is free, so the key gets a node of it, which the instance does not take over.
        answer = await tower.post("/ingest/heartbeat", {"node_id": instance}, key=made)
        assert answer.json()["node"] == node_of_name("local", instance)
    answer = await call(tower.plane.app, "POST", "/api/register", headers=headers, body=body)
    tower.key, tower.name, tower.node = answer.json()["api_key"], instance, answer.json()["node"]
    assert (tower.node, tower.kept().instance) == (own, instance)
    answer = await tower.post("/ingest/heartbeat", {"node_id": instance}, key=made)
    assert (answer.status, answer.json()["code"]) == (403, "wrong_node")
    assert (await tower.beat(NEW))["node"] == own


async def test_a_busy_consent_is_neither_429_nor_503_to_a_key(tower: Watchtower) -> None:
    for wrong, code in (
        (Refusal(503, "busy", "the plane is busy", retry_after_s=1), "busy"),
        (Refusal(429, "too_many", "too many orders", retry_after_s=1), "too_many"),
        (MailboxFullError("node"), "mailbox_full"),
    ):
        tower.consents.intent_fails = wrong
        answer = await tower.post("/api/cloud/intent-start", {}, bearer=True)
        assert (answer.status, answer.json()["code"]) == (409, code)


async def test_connecting_with_a_persons_key_is_that_persons_grant(tower: Watchtower) -> None:
    made = (await tower.ask("POST", "/api/node-keys", {"name": "laptop"})).json()
    answer = await tower.post(
        "/auth", {"hostname": "my laptop", "machine_id": "m"}, key=made["key"]
    )
    told = answer.json()
    assert (told["ok"], told["e2e"], told["plan"]) == (True, True, "free")
    assert told["node_id"] == "my laptop"
    node, source, credential = tower.consents.registered[-1]
    assert (node, source) == (told["node"], "person")
    assert credential.startswith("token:")
    tower.key, tower.name = made["key"], "my laptop"
    assert (await tower.beat())["sync_allowed"]


async def test_intent_opens_the_nodes_of_a_key_once(tower: Watchtower) -> None:
    first = await tower.post("/api/cloud/intent-start", {}, bearer=True)
    assert (first.json()["already_started"], first.json()["sync_allowed"]) == (False, True)
    second = await tower.post("/api/cloud/intent-start", {}, bearer=True)
    assert second.json()["already_started"]
    assert (await tower.about())["node"]["classes"] == list(INTENT_CLASSES)


async def test_account_calls_never_lead_to_a_claim_or_a_plan(tower: Watchtower) -> None:
    async def get(path: str) -> Any:
        headers = {"x-api-key": tower.key}
        answer = await call(tower.plane.app, "GET", path, headers=headers)
        assert answer.status == 200, answer.body
        return answer.json()

    account = await get("/api/cloud/account?token=x")
    assert (account["ok"], account["plan"]) == (True, "free")
    assert not account["email"].endswith(("@clawmetry.auto", "@clawmetry.linked"))
    assert (await get(f"/api/cloud/claim-status?node_id={tower.name}"))["claimed"] is False
    assert (await get("/api/cloud/policies"))["policies"] == []
    assert (await get("/api/approvals/" + "a" * 32))["status"] == "expired"


async def test_a_node_is_told_of_again_where_consent_does_not_know_it(tower: Watchtower) -> None:
    tower.consents.known.clear()
    tower.kept().registered_try_ms = 0
    before = len(tower.consents.registered)
    for _ in range(3):
        assert not (await tower.beat())["sync_allowed"]
    await asyncio.sleep(0)
    assert len(tower.consents.registered) == before + 1


async def test_a_number_above_ours_is_passed_on(tower: Watchtower) -> None:
    await tower.beat(seen_number=7)
    await tower.beat(seen_number=-1)
    await tower.beat(seen_number="8")
    assert tower.consents.seen == [(tower.node, 7)]


# -- who looks, and what was missed


async def test_a_look_and_a_yes_end_the_held_poll(tower: Watchtower) -> None:
    await tower.beat()

    held = await tower.hold_poll()
    await tower.about()
    told = await asyncio.wait_for(held, patience(5))
    assert (told["work"], told["viewer_active"]) == (True, True)
    assert (await tower.beat())["viewer_active"]
    held = await tower.hold_poll()
    tower.consents.grant(tower.node)
    tower.plane.subjects.content.consent_changed(tower.node)
    told = await asyncio.wait_for(held, patience(5))
    assert (told["work"], told["sync_allowed"]) == (True, True)


async def test_polls_beyond_the_budget_are_muted_by_404(tower: Watchtower) -> None:
    await tower.beat()
    wakes: Any = tower.plane.subjects.content.presence._wakes
    wakes._hub._max = 0
    target = f"/ingest/wake?node_id={tower.name}"
    answer = await call(tower.plane.app, "GET", target, headers={"x-api-key": tower.key})
    assert answer.status == 404
    told = answer.json()
    assert (told["ok"], told["error"], told["sync_allowed"]) == (False, "polls_full", False)
    assert "ten minutes" in told["fix"]


async def test_a_backfill_leaves_nothing_to_be_asked_for(tower: Watchtower) -> None:
    await tower.beat(NEW)
    await tower.send("/ingest/events", encrypted=True, blob="QUJD")
    tower.consents.grant(tower.node)
    sessions = [{"session_id": "touched", "updated_at": tower.kept().gap_from_ms}]
    await tower.send("/ingest/sessions", sessions=sessions)
    grant = Grant(
        version=1, node=tower.node, number=1, classes=CLASSES, at_ms=1, backfill_from_ms=1
    )
    payload = to_base64url(encode_document(grant))
    document = SignedDocument(payload=payload, key="k", signature="")
    tower.consents.grant(tower.node, document=document)
    assert (await tower.beat(NEW))["pending_queries"] == []
    tower.consents.grant(tower.node)
    assert len((await tower.beat(NEW))["pending_queries"]) == 1


async def test_the_numbers_of_a_day_are_deleted_with_their_class(tower: Watchtower) -> None:
    tower.consents.grant(tower.node)
    await tower.beat(NEW, tool_calls_today=123_456_789, node_meta={"os": "Linux"})
    await flushed(tower)
    assert tower.bytes_on_disk(b"123456789")
    deletion = tower.plane.subjects.content.observed.deletion
    await deletion.delete(tower.node, ("counters",))
    assert [one["name"] for one in (await tower.about())["facts"]] == ["os"]
    ends = time.monotonic() + patience(10)
    while found := tower.bytes_on_disk(b"123456789"):
        assert time.monotonic() < ends, found
        await asyncio.sleep(0.02)


async def test_sessions_of_a_deferral_are_fetched_after_the_yes(tower: Watchtower) -> None:
    await tower.beat(NEW)
    await tower.send("/ingest/events", encrypted=True, blob="QUJD")
    tower.consents.grant(tower.node)
    assert (await tower.beat(NEW))["pending_queries"] == []
    now = msgspec.to_builtins(tower.kept().gap_from_ms) / 1_000
    sessions = [
        {"session_id": "touched", "updated_at": now}, {"session_id": "old", "updated_at": 1e9},
    ]  # fmt: skip
    await tower.send("/ingest/sessions", sessions=sessions)
    (query,) = (await tower.beat(NEW))["pending_queries"]
    assert (query["shape"], query["args"]["session_id"]) == ("transcript", "touched")
    assert (await tower.beat(NEW))["pending_queries"] == [], "it is not asked again at once"
    assert (await tower.about())["gaps_open"] == 1
    await tower.send("/ingest/cache", id="never-asked", blob="QUJD")
    assert ("transcripts", "unused") in tower.kept().refused
    for _ in range(2):
        await tower.send("/ingest/cache", id=query["id"], blob="QUJD", shape="transcript")
    assert (await tower.about())["gaps_open"] == 0
    (turn,) = (await tower.get(f"/api/nodes/{tower.node}/turns?session=touched"))["items"]
    assert (turn["sealed"], turn["blob"]) == (True, "QUJD")


async def test_contacts_and_counts_outlive_the_plane(tower: Watchtower) -> None:
    await tower.beat(NEW, node_meta={"os": "Linux"})
    await tower.send("/ingest/events", events=[event("e1")])
    before = await tower.about()
    await tower.plane.stop()
    again = await make_watchtower(tower.home, tower.consents)
    tower.plane, tower.tokens = again.plane, again.tokens
    after = await tower.about()
    assert after == before
    assert tower.kept().gap_from_ms > 0


async def test_a_heartbeat_says_who_is_online(tower: Watchtower) -> None:
    await tower.beat()
    assert (await tower.about())["node"]["online"]
    tower.kept().heard_ms = int(time.time() * 1_000) - limits.ONLINE_MS - 1
    assert not (await tower.about())["node"]["online"]
