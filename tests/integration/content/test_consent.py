"""Content with the real ledger of consent: registered, refused, granted by its owner, revoked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.plane.consent_key import trusted_keys
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.plane import make_plane
from holdfast.telemetry.machines import MachineIndex
from holdfast.wire.consent import CLASSES, SignedDocument
from tests.integration.content.conftest import NEW, Watchtower
from tests.support.logs import Lines
from tests.support.patience import patience
from tests.support.toys.consents import ToyConsents

EVENTS = [{"id": "e1", "message": {"role": "user", "content": "MARKER-1"}}]


@pytest.fixture
async def real(tmp_path: Path) -> AsyncIterator[Watchtower]:
    log = Lines()
    settings = load_settings(
        {}, home=str(tmp_path / "home"), public_url="http://plane.test", accept_unconfined=True
    )
    plane = await make_plane(settings, clock=SystemClock(), log=log, url="http://plane.test")
    plane.app._check_responses = True
    await plane.start()
    made = Watchtower(plane, tmp_path / "home", log, ToyConsents(), MachineIndex())
    secret, _ = await plane.subjects.people.directory.make_token(
        "owner", scope="owner", account="local", created_by="test"
    )
    made.tokens["owner"] = secret
    answer = (await made.register()).json()
    made.key, made.name, made.node = answer["api_key"], answer["node_id"], answer["node"]
    assert answer["plane_key"]
    yield made
    await plane.stop()


async def allowed(real: Watchtower, *, wanted: bool) -> Any:
    """Return the first heartbeat's answer that has the gate as wanted."""
    ends = time.monotonic() + patience(10)
    while (answer := await real.beat(NEW))["sync_allowed"] is not wanted:
        assert time.monotonic() < ends, answer
        await asyncio.sleep(0.02)
    return answer


async def test_the_owner_alone_opens_the_gate_and_closes_it(real: Watchtower) -> None:
    answer = await real.beat(NEW)
    assert (answer["sync_allowed"], answer["reason"], answer["grant"]) == (
        False, "intent_pending", None
    )  # fmt: skip
    await real.send("/ingest/events", session_file="s", events=EVENTS)
    assert (await real.about())["stored"] == []
    started = await real.post("/api/cloud/intent-start", {}, bearer=True)
    assert started.status == 200, started.body
    answer = await allowed(real, wanted=True)
    assert answer["grant"]["signature"]
    await real.send("/ingest/events", session_file="s", events=EVENTS)
    assert (await real.about())["stored"][0]["rows"] == 1
    await revoke(real, delete=False)
    told = await real.send("/ingest/events", session_file="s", events=[{"id": "e2"}])
    assert (told["sync_allowed"], told["accepted"]) == (False, 0)
    assert (await real.about())["stored"][0]["rows"] == 1, "what was stored is kept"


async def revoke(real: Watchtower, *, delete: bool) -> None:
    """Take every class back, and return once the node's gate is closed."""
    body = {"classes": CLASSES, "delete": delete}
    revoked = await real.ask("POST", f"/api/consent/nodes/{real.node}/revoke", body)
    assert revoked.status in {200, 202}, revoked.body
    await allowed(real, wanted=False)


async def test_a_revocation_with_deletion_leaves_nothing_stored(real: Watchtower) -> None:
    await real.beat(NEW)
    assert (await real.post("/api/cloud/intent-start", {}, bearer=True)).status == 200
    await allowed(real, wanted=True)
    await real.send("/ingest/events", session_file="s", events=EVENTS)
    assert real.bytes_on_disk(b"MARKER-1")
    await revoke(real, delete=True)
    ends = time.monotonic() + patience(10)
    while (await real.about())["stored"]:
        assert time.monotonic() < ends, "what was stored is deleted"
        await asyncio.sleep(0.02)


async def test_a_node_that_pinned_a_key_learns_its_successor(real: Watchtower) -> None:
    first = real.plane.core.consent_key.public_key
    assert (await real.beat(NEW))["keys"] == []
    secret, _ = await real.plane.subjects.people.directory.make_token(
        "operator", scope="operator", account=None, created_by="test"
    )
    real.tokens["operator"] = secret
    rotated = await real.ask("POST", "/api/consent/keys/rotate", {}, by="operator")
    assert rotated.status == 200, rotated.body
    (document,) = msgspec.convert((await real.beat(NEW))["keys"], list[SignedDocument])
    trusted = trusted_keys([first], [document])
    assert real.plane.core.consent_key.public_key in trusted.values()


async def test_a_persons_key_is_granted_by_connecting(real: Watchtower) -> None:
    made = (await real.ask("POST", "/api/node-keys", {"name": "laptop"})).json()
    answer = await real.post("/auth", {"hostname": "laptop"}, key=made["key"])
    assert answer.status == 200, answer.body
    real.key, real.name = made["key"], "laptop"
    assert (await allowed(real, wanted=True))["reason"] == "intent_started"


async def test_a_yes_ends_the_held_poll(real: Watchtower) -> None:
    await real.beat(NEW)
    held = await real.hold_poll()
    assert (await real.post("/api/cloud/intent-start", {}, bearer=True)).status == 200
    told = await asyncio.wait_for(held, patience(10))
    assert (told["work"], told["sync_allowed"]) == (True, True)
