"""An instance that is destroyed ends its pairing, and so did those of before they wrote letters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import apsw

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.ids import address
from holdfast.pairing.definition import PAIRING, arrival
from holdfast.pairing.events import InstanceGone, PolicySet, decode_event
from holdfast.pairing.state import Pairing
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.plane import Plane, make_plane
from tests.support.asgi import call, json_headers
from tests.support.logs import Lines
from tests.support.patience import patience

ORPHAN = "0b1c2d3e-4f50-4a6b-8c7d-9e0f1a2b3c4d"


class Log(Lines):
    def exception(self, event: str, **fields: Any) -> None:
        self.error(event, **fields)


@asynccontextmanager
async def running(home: Path) -> AsyncIterator[Plane]:
    chosen, log = load_settings({}, home=str(home), public_url="http://plane.test"), Log()
    plane = await make_plane(chosen, clock=SystemClock(), log=log, url="http://plane.test")
    try:
        await plane.start()
        yield plane
    finally:
        await plane.stop()
    assert log.at_least("error", "critical") == []


async def set_policy(plane: Plane, instance: str) -> None:
    """Give an instance's pairing some state."""
    event = PolicySet(account="local", mode="rules", by="test")
    row = arrival(event, dedupe="policy", source="api")
    answer = await plane.core.mailbox.ask(address("pairing", instance), row, wait_ms=60_000)
    assert answer.stamp is not None
    assert answer.stamp.outcome == "applied"


async def pairing_of(plane: Plane, instance: str) -> Pairing:
    loaded = await plane.core.stores.reader.load(address("pairing", instance))
    assert loaded is not None
    assert loaded.state is not None
    return PAIRING.decode_state(loaded.state, loaded.state_version)


async def is_shown(plane: Plane, instance: str) -> bool:
    return await plane.core.stores.reader.view("pairing", instance) is not None


async def until_ended(plane: Plane, instance: str) -> None:
    try:
        async with asyncio.timeout(patience(60)):
            while await is_shown(plane, instance):  # noqa: ASYNC110  nothing else to wait for
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError("the pairing does not end within a minute") from None


async def test_a_destroyed_instance_ends_its_pairing_by_a_letter(tmp_path: Path) -> None:
    async with running(tmp_path / "home") as plane:
        directory = plane.subjects.people.directory
        token, _ = await directory.make_token(
            "mine", scope="owner", account="local", created_by="test"
        )
        headers = json_headers(token)
        made = await call(
            plane.app, "POST", "/api/instances", headers=headers,
            body=b'{"name":"alpha","desired":"stopped"}',
        )  # fmt: skip
        instance = made.json()["id"]
        await set_policy(plane, instance)
        assert await is_shown(plane, instance)
        with plane.hub.subscribe(await principal(plane, token), {"pairing"}) as page:
            gone = await call(
                plane.app, "POST", f"/api/instances/{instance}/destroy", headers=headers,
                body=b'{"confirm":"alpha"}',
            )  # fmt: skip
            assert gone.status in {200, 202}, gone.body
            await until_ended(plane, instance)
            batch = await page.next(60.0)
        assert batch is not None
        assert {(one.topic, one.key) for one in batch.changes} == {("pairing", instance)}
        assert (await pairing_of(plane, instance)).gone
        log = await plane.core.stores.reader.log(address("pairing", instance))
        assert [(row.source, row.by) for row in log[1:]] == [("letter", f"instance/{instance}")]
        assert decode_event(log[1].body, log[1].version) == InstanceGone("local")


async def principal(plane: Plane, token: str) -> Any:
    found = await plane.subjects.people.access.by_token(token)
    assert found is not None
    return found


async def test_a_pairing_that_an_older_plane_left_behind_ends_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    async with running(home) as plane:
        await set_policy(plane, ORPHAN)
    # Nothing sweeps: what this version leaves like that (it does not) stays as it is.
    async with running(home) as plane:
        assert await is_shown(plane, ORPHAN)
    journal = apsw.Connection(str(home / "journal.db"))
    # As the version before the second migration left it.
    journal.execute("DELETE FROM migrations WHERE number >= 2; DROP TABLE key_bodies")
    journal.close()
    async with running(home) as plane:
        await until_ended(plane, ORPHAN)
        assert await pairing_of(plane, ORPHAN) == Pairing(
            instance=ORPHAN, account="local", epoch=1, policy_version=0, gone=True
        )
        seq = len(await plane.core.stores.reader.log(address("pairing", ORPHAN)))
    async with running(home) as plane:
        assert len(await plane.core.stores.reader.log(address("pairing", ORPHAN))) == seq == 2
