"""Nodes and their consent through the API of a whole plane, with its real key and stores."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.accounts.rules import secret_hash
from holdfast.kernel.clock import SystemClock
from holdfast.kernel.ids import address
from holdfast.plane.consent_key import CONSENT_KEY_FILE, rotate_consent_key, trusted_keys, verify
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.consent import signing_keys
from holdfast.plane.wiring.plane import Plane, make_plane
from holdfast.wire.api.call import Refusal
from holdfast.wire.consent import (
    CLASSES,
    INTENT_CLASSES,
    TEXT_VERSION,
    UNKNOWN,
    ContentClass,
    Grant,
    Receipt,
    SignedDocument,
    Successor,
    node_of_instance,
    node_of_name,
)
from holdfast.wire.limits import SUCCESSORS_MAX
from tests.support.asgi import Answer, call, json_headers
from tests.support.gates import heard, opened, pinned
from tests.support.patience import patience, until
from tests.support.real_plane import Log, Made, end, make

AGENT = {"by": "observer", "credential": "observer:cm_1"}


@asynccontextmanager
async def planes(home: Path) -> AsyncIterator[Made]:
    made = await make(home)
    try:
        yield made
    finally:
        await end(made)
    assert made.log.at_least("error", "critical") == []


async def ask(made: Made, method: str, path: str, body: Any = None, *, token: str = "") -> Answer:
    headers = json_headers(token or made.tokens.owner)
    return await call(
        made.plane.app, method, path, headers=headers,
        body=b"" if body is None else msgspec.json.encode(body),
    )  # fmt: skip


async def decide(
    made: Made, node: str, act: str, body: Any, *, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    """Return the answer to a decision, asked for again while a busy machine has not taken it."""
    headers = headers or json_headers(made.tokens.owner)
    headers = {**headers, "idempotency-key": str(uuid.uuid4())}
    path, raw = f"/api/consent/nodes/{node}/{act}", msgspec.json.encode(body)
    async with asyncio.timeout(patience(20)):
        while True:
            answer = await call(made.plane.app, "POST", path, headers=headers, body=raw)
            if answer.status != 202:
                assert answer.status == 200, answer.body
                return dict(answer.json())


def granting(*classes: ContentClass, **changes: Any) -> dict[str, Any]:
    return {"classes": classes, "text_version": TEXT_VERSION} | changes


async def node_of(made: Made, name: str = "laptop", **changes: Any) -> str:
    plain: dict[str, Any] = {"instance": "", "source": "auto", **AGENT}
    nodes = made.plane.subjects.consent.nodes
    return await nodes.register("local", name, **(plain | changes))


async def signed(made: Made, node: str, *classes: ContentClass) -> None:
    """Wait until exactly these classes are in force."""
    index = made.plane.subjects.consent.index
    await until(lambda: index.standing(node).classes == frozenset(classes))
    await until(lambda: not found.unsigned if (found := index.of(node)) else False)


async def test_a_node_from_registration_to_receipts(tmp_path: Path) -> None:
    async with planes(tmp_path / "home") as made:
        consent = made.plane.subjects.consent
        assert consent.index.standing(node_of_name("local", "laptop")) == UNKNOWN
        node = await node_of(made)
        assert node == node_of_name("local", "laptop") == await node_of(made)
        (listed,) = (await ask(made, "GET", "/api/consent/nodes")).json()["items"]
        assert (listed["state"], listed["classes"], listed["name"]) == ("waiting", [], "laptop")
        shown = (await ask(made, "GET", f"/api/consent/nodes/{node}")).json()
        assert {one["status"] for one in shown["classes"]} == {"pending"}
        assert "Nobody has decided about" in shown["why"][0]

        body = {"classes": ["logs", "counters"], "text_version": shown["text_version"]}
        await decide(made, node, "grant", body)
        await signed(made, node, "logs", "counters")
        await decide(made, node, "revoke", {"classes": ["logs"]})
        assert consent.index.standing(node).classes == {"counters"}
        await signed(made, node, "counters")

        key = made.plane.core.consent_key
        grant = consent.index.standing(node).grant
        assert grant is not None
        said = verify(grant, key.public_key)
        assert isinstance(said, Grant)
        assert (said.node, said.classes) == (node, ("counters",))
        receipts = (await ask(made, "GET", f"/api/consent/nodes/{node}/receipts")).json()["items"]
        assert [one["act"] for one in receipts] == ["revoked", "granted"]
        first = verify(msgspec.convert(receipts[1]["document"], SignedDocument), key.public_key)
        assert isinstance(first, Receipt)
        assert (first.by, first.credential[:6], first.text_version) == ("mine", "token:", "2026-11")
        page = (await ask(made, "GET", f"/api/consent/nodes/{node}/receipts?limit=1")).json()
        assert page["items"] == receipts[:1]
        following = f"/api/consent/nodes/{node}/receipts?limit=1&after={page['next']}"
        assert (await ask(made, "GET", following)).json()["items"] == receipts[1:]
        history = (await ask(made, "GET", f"/api/consent/nodes/{node}/history")).json()["entries"]
        assert [one["what"] for one in history] == ["revoked", "granted", "registered"]
        bundle = await ask(made, "GET", f"/api/consent/nodes/{node}/receipts/export")
        assert f"consent-{node}.json" in bundle.header("content-disposition")
        assert len(bundle.json()["receipts"]) == 2
        assert bundle.json()["signing"]["keys"][0]["id"] == key.key_id
        await _rehearses(made, node)


async def _rehearses(made: Made, node: str) -> None:
    """Replay and explain the node's actor: they come from the engine, for every kind."""
    operator, path = made.tokens.operator, f"/api/rehearse/node/{node}"
    answer = await ask(made, "POST", f"{path}/replay", {}, token=operator)
    assert answer.status == 200, answer.body
    assert (answer.json()["differences"], answer.json()["bit_equal"]) == (0, True)
    assert answer.json()["events_folded"] > 5
    for mode in ("dry-run", "explain"):
        answer = await ask(made, "POST", f"{path}/{mode}", {}, token=operator)
        assert answer.status == 200, answer.body


async def test_a_session_is_named_by_its_person_and_its_id_is_nowhere(tmp_path: Path) -> None:
    """The id of a session is the hash of its secret."""
    async with planes(tmp_path / "home") as made:
        node = await node_of(made)
        secret, _ = await made.plane.subjects.people.directory.make_link("operator")
        answer = await call(
            made.plane.app, "POST", "/api/session/link", headers=json_headers(),
            body=msgspec.json.encode({"link": secret}),
        )  # fmt: skip
        assert answer.status == 200, answer.body
        cookie = answer.header("set-cookie").split(";")[0]
        session = secret_hash(cookie.partition("=")[2])
        signed_in = json_headers() | {"cookie": cookie, "x-csrf-token": answer.json()["csrf"]}
        await decide(made, node, "grant", granting("logs"), headers=signed_in)
        await decide(made, node, "revoke", {"classes": ["logs"]}, headers=signed_in)
        await decide(made, node, "intent", {"classes": ["counters"]}, headers=signed_in)
        await signed(made, node)
        shown = [
            await ask(made, "GET", f"/api/consent/nodes/{node}{part}")
            for part in ("", "/history", "/receipts", "/receipts/export")
        ]
        receipts = shown[2].json()["items"]
        assert {one["credential"] for one in receipts} == {"session:operator"}
        assert all(session not in one.body.decode() for one in shown)
        log = await made.plane.core.stores.reader.log(address("node", node))
        assert any(b"session:operator" in row.body for row in log)
        assert all(session.encode() not in row.body for row in log)


async def test_what_is_not_visible_is_not_there(tmp_path: Path) -> None:
    async with planes(tmp_path / "home") as made:
        node = await node_of(made)
        other = made.tokens.other_owner
        body = granting("logs")
        for method, path, sent in (
            ("GET", "", None), ("GET", "/receipts", None), ("GET", "/receipts/export", None),
            ("GET", "/history", None), ("POST", "/grant", body),
            ("POST", "/revoke", {"classes": ["logs"]}), ("POST", "/intent", {}),
        ):  # fmt: skip
            answer = await ask(made, method, f"/api/consent/nodes/{node}{path}", sent, token=other)
            assert (answer.status, answer.json()["code"]) == (404, "no_such_node")
        assert (await ask(made, "GET", "/api/consent/nodes", token=other)).json()["total"] == 0
        everything = (
            await ask(made, "GET", "/api/consent/nodes", token=made.tokens.operator)
        ).json()
        assert (everything["total"], everything["looked_at"]) == (1, 0)
        assert (await ask(made, "GET", "/api/consent/nodes/nd_x")).status == 404
        assert made.plane.subjects.consent.index.standing(node).classes == frozenset()


async def test_an_intent_grants_once_and_no_agent_grants_itself(tmp_path: Path) -> None:
    async with planes(tmp_path / "home") as made:
        nodes = made.plane.subjects.consent.nodes
        node = await node_of(made, instance=made.instance)
        assert node == node_of_instance("local", made.instance)
        with pytest.raises(Refusal, match="403 agent_cannot_grant"):
            await nodes.intent(node, **AGENT)
        answer = await ask(made, "GET", f"/api/consent/nodes?instance={made.instance}")
        assert [one["id"] for one in answer.json()["items"]] == [node]
        assert answer.json()["items"][0]["state"] == "waiting"
        taken = await decide(made, node, "intent", {"classes": []})
        assert taken["already_started"] is False
        history = (await ask(made, "GET", f"/api/consent/nodes/{node}/history")).json()["entries"]
        assert [one["what"] for one in history] == ["intent", "intent", "registered"]
        assert history[1]["refused"]
        taken = await decide(made, node, "intent", {})
        assert taken["already_started"] is True
        assert made.plane.subjects.consent.index.standing(node).classes == frozenset()
        assert (await ask(made, "GET", "/api/consent/nodes")).json()["looked_at"] == 1

        elsewhere = await node_of(made, "elsewhere")
        assert await nodes.intent(elsewhere, **AGENT) is False
        assert await nodes.intent(elsewhere, **AGENT) is True
        await signed(made, elsewhere, *INTENT_CLASSES)
        with pytest.raises(Refusal, match="404 no_such_node"):
            await nodes.intent(node_of_name("local", "nobody"), **AGENT)
        with pytest.raises(Refusal, match="400 bad_field"):
            await node_of(made, "")


async def test_what_cannot_be_granted_is_refused_and_named(tmp_path: Path) -> None:
    async with planes(tmp_path / "home") as made:
        node = await node_of(made)
        path = f"/api/consent/nodes/{node}/grant"
        answer = await ask(made, "POST", path, granting("logs", text_version="2020-01"))
        assert (answer.status, answer.json()["code"]) == (409, "text_changed")
        bodies: tuple[dict[str, Any], ...] = (
            granting(),
            granting("logs", classes=["everything"]),
            granting("logs", backfill="days"),
            granting("logs", backfill_days=3),
            granting("logs", days=0),
            granting("logs", text_version=""),
            {"classes": ["logs"]},
        )
        for wrong in bodies:
            assert (await ask(made, "POST", path, wrong)).status == 400
        assert made.plane.subjects.consent.index.standing(node).number == 0


async def doctors_word(made: Made) -> str:
    """Return the doctor's result about the signing key."""
    answer = await ask(made, "GET", "/api/doctor", token=made.tokens.operator)
    (check,) = (one for one in answer.json()["checks"] if one["name"] == "consent-key")
    return str(check["result"])


async def test_a_key_that_nodes_could_not_follow_is_refused(tmp_path: Path) -> None:
    async with planes(tmp_path / "home") as made:
        folder = made.plane.core.settings.keys_folder
        for _ in range(SUCCESSORS_MAX):
            await asyncio.to_thread(rotate_consent_key, folder, now_ms=1)
        before = made.plane.core.consent_key.public_key
        path = "/api/consent/keys/rotate"
        answer = await ask(made, "POST", path, {}, token=made.tokens.operator)
        assert (answer.status, answer.json()["code"]) == (409, "key_not_rotated")
        assert "register again" in answer.json()["message"]
        assert made.plane.core.consent_key.public_key == before


async def test_a_new_key_follows_the_old_one(tmp_path: Path) -> None:
    async with planes(tmp_path / "home") as made:
        node = await node_of(made)
        index = made.plane.subjects.consent.index
        await decide(made, node, "grant", granting(*CLASSES))
        await signed(made, node, *CLASSES)
        before = index.standing(node).grant
        assert before is not None
        path = "/api/consent/keys"
        (known,) = (await call(made.plane.app, "GET", path)).json()["keys"]
        assert (await ask(made, "POST", f"{path}/rotate", {})).status == 403
        rotated = await ask(made, "POST", f"{path}/rotate", {}, token=made.tokens.operator)
        assert rotated.status == 200, rotated.body
        old, new = (one["public_key"] for one in rotated.json()["keys"])
        assert old == known["public_key"]
        (successor,) = rotated.json()["successors"]
        said = verify(msgspec.convert(successor, SignedDocument), old)
        assert isinstance(said, Successor)
        assert said.public_key == new
        await decide(made, node, "revoke", {"classes": ["files"]})
        await signed(made, node, *INTENT_CLASSES)
        grant = index.standing(node).grant
        assert grant is not None
        verify(grant, new)
        verify(before, old)
        with pytest.raises(ValueError, match="not of this key"):
            verify(grant, old)
        assert await doctors_word(made) == "ok"
        folder = made.plane.core.settings.keys_folder
        (folder / CONSENT_KEY_FILE).rename(folder / "aside")
        assert await doctors_word(made) == "failed"
        (folder / "aside").rename(folder / CONSENT_KEY_FILE)
    again = await reopened(tmp_path / "home")
    try:
        assert signing_keys(again.core.consent_key).keys[-1].public_key == new
    finally:
        await again.stop()


async def test_after_a_rotation_a_gate_that_pins_anew_opens_and_one_that_was_open_stays_so(
    tmp_path: Path,
) -> None:
    async with planes(tmp_path / "home") as made:
        node, key = await node_of(made), made.plane.core.consent_key
        await decide(made, node, "grant", granting(*CLASSES))
        await signed(made, node, *CLASSES)
        old = heard(made.plane, node, pinned(made.plane, node))
        assert opened(old) == {*CLASSES}
        path, token = "/api/consent/keys/rotate", made.tokens.operator
        assert (await ask(made, "POST", path, {}, token=token)).status == 200
        index = made.plane.subjects.consent.index
        await until(lambda: index.is_signed_with(node, key.key_id))
        anew = heard(made.plane, node, pinned(made.plane, node))
        assert opened(anew) == {*CLASSES}
        followed = heard(made.plane, node, old)
        assert (opened(followed), followed.number) == ({*CLASSES}, old.number + 1)
        await decide(made, node, "revoke", {"classes": ["logs"]})
        await until(lambda: not index.of(node).unsigned)  # type: ignore[union-attr]
        for each in (old, anew, followed):
            assert "logs" not in opened(heard(made.plane, node, each))
        history = (await ask(made, "GET", f"/api/consent/nodes/{node}/history")).json()
        assert "renewed" in [one["what"] for one in history["entries"]]


async def test_what_a_rotation_left_is_signed_anew_after_a_start(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with planes(home) as made:
        node = await node_of(made)
        await decide(made, node, "grant", granting("logs"))
        await signed(made, node, "logs")
        folder = made.plane.core.settings.keys_folder
    await asyncio.to_thread(rotate_consent_key, folder, now_ms=1)
    again = await reopened(home)
    try:
        consent, key = again.subjects.consent, again.core.consent_key.key_id
        assert [*consent.index.outdated(key)] == [node]
        await consent.renewal.run()
        assert consent.index.is_signed_with(node, key)
        assert consent.index.standing(node).classes == {"logs"}
    finally:
        await again.stop()


async def test_rotations_at_the_same_time_are_one_after_another(tmp_path: Path) -> None:
    async with planes(tmp_path / "home") as made:
        path, token = "/api/consent/keys/rotate", made.tokens.operator
        answers = await asyncio.gather(*(ask(made, "POST", path, {}, token=token) for _ in "abc"))
        assert sorted(len(one.json()["keys"]) for one in answers) == [2, 3, 4]
        key = made.plane.core.consent_key
        assert len(trusted_keys((key.keys[0].public_key,), key.successors)) == 4


async def test_a_restart_keeps_what_was_decided_and_a_higher_number_closes_it(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    async with planes(home) as made:
        node = await node_of(made)
        await decide(made, node, "grant", granting(*CLASSES, backfill="everything"))
        await signed(made, node, *CLASSES)
    again = await reopened(home)
    try:
        index, nodes = again.subjects.consent.index, again.subjects.consent.nodes
        number = index.standing(node).number
        assert index.standing(node).classes == set(CLASSES)
        nodes.numbers_seen(node, number)
        assert index.standing(node).classes == set(CLASSES)
        nodes.numbers_seen(node, number + 1)
        await until(lambda: index.standing(node).classes == frozenset())
        assert index.standing(node).reason == "revoked"
        assert index.standing(node).number > number + 1
        nodes.numbers_seen(node_of_name("local", "nobody"), 7)
        far = 2**53 - 1
        nodes.numbers_seen(node, far)
        await until(lambda: (found := index.of(node)) is not None and found.reported == far)
        assert index.standing(node).number < far
        await until(lambda: (found := index.of(node)) is not None and not found.unsigned)
    finally:
        await again.stop()


async def test_the_end_of_an_instance_closes_its_node(tmp_path: Path) -> None:
    async with planes(tmp_path / "home") as made:
        node = await node_of(made, instance=made.instance)
        await decide(made, node, "grant", granting("logs"))
        await signed(made, node, "logs")
        path = f"/api/instances/{made.instance}/destroy"
        answer = await ask(made, "POST", path, {"confirm": "theirs"})
        assert answer.status in {200, 202}, answer.body
        index = made.plane.subjects.consent.index
        await until(lambda: index.standing(node).classes == frozenset())
        shown = (await ask(made, "GET", f"/api/consent/nodes/{node}")).json()
        assert shown["node"]["state"] == "closed"
        assert "destroyed" in shown["why"][0]
        with pytest.raises(Refusal, match="409 node_closed"):
            await node_of(made, "again", instance=made.instance)


async def reopened(home: Path) -> Plane:
    """Start a plane over a data folder that another left."""
    chosen = load_settings(
        {}, home=str(home), public_url="http://plane.test", accept_unconfined=True
    )
    plane = await make_plane(chosen, clock=SystemClock(), log=Log(), url="http://plane.test")
    await plane.start()
    return plane
