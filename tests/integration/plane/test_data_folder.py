"""A data folder that an earlier version wrote opens as it is, and everything is found in it.

`home-6f5f58d.zip` was made by the code of that commit: a plane with three instances that do not
run (one with a secret, one with a pairing rule), a brain with corrections, lessons and a decision,
two accounts, tokens and a person. `facts.json` beside the folder is what that plane answered.
"""

from __future__ import annotations

import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from holdfast.actors.rehearsal_worker import Back, look_back
from holdfast.instances.ports import Context
from holdfast.kernel.clock import MINUTE_MS, SystemClock
from holdfast.plane.operations import instance_address
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring.places import CommittedPlaces
from holdfast.plane.wiring.plane import Plane, make_plane
from holdfast.wire.health import HEALTHS
from holdfast.wire.times import parse_time
from tests.support.asgi import Answer, call, json_headers
from tests.support.logs import Lines

_LATER = {"confinement": "unknown", "paused": False, "budget": "", "upgrade": None}
"""What later planes answer besides."""
FOLDER = Path(__file__).parents[2] / "support" / "data" / "home-6f5f58d.zip"


class ClockOf:
    """A clock that runs on from the moment at which the folder was made.

    Days later its plane would do what is due by then: it gives instances up that nobody started.
    """

    def __init__(self, made_ms: int) -> None:
        self._ahead_ms = made_ms - SystemClock().now_ms()

    def now_ms(self) -> int:
        return SystemClock().now_ms() + self._ahead_ms

    def steady_ms(self) -> float:
        return SystemClock().steady_ms()


class Old:
    """The present plane over the old folder, called with the old tokens."""

    def __init__(self, plane: Plane, facts: dict[str, Any]) -> None:
        self.plane = plane
        self.facts = facts
        self.instances: dict[str, str] = facts["instances"]

    async def ask(self, method: str, target: str, body: Any = None, *, key: str = "") -> Answer:
        headers = json_headers(key or self.facts["tokens"]["operator"])
        raw = b"" if body is None else msgspec.json.encode(body)
        return await call(self.plane.app, method, target, headers=headers, body=raw)

    async def get(self, target: str, *, by: str = "operator") -> Any:
        answer = await self.ask("GET", target, key=self.facts["tokens"][by])
        assert answer.status == 200, (target, answer.body)
        return answer.json()


@pytest.fixture
async def old(tmp_path: Path) -> AsyncIterator[Old]:
    with zipfile.ZipFile(FOLDER) as packed:
        packed.extractall(tmp_path)
    home = tmp_path / "home"
    for path in (home, *home.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    facts = msgspec.json.decode((tmp_path / "facts.json").read_bytes())
    settings = load_settings({}, home=str(home), public_url="http://plane.test")
    made = [parse_time(item["created_at"]) for item in facts["list"]["items"]]
    made_ms = max(ms for ms in made if ms is not None) + MINUTE_MS
    plane = await make_plane(settings, clock=ClockOf(made_ms), log=Lines(), url="http://plane.test")
    await plane.start()
    yield Old(plane, facts)
    await plane.stop()


async def test_instances_are_as_they_were(old: Old) -> None:
    found = await old.get("/api/instances", by="owner")
    assert {item.pop("health")["code"] for item in found["items"]} <= set(
        HEALTHS
    )  # of later planes
    del found["health_counts"]
    expected = old.facts["list"]
    for item in expected["items"]:
        item.update(_LATER)
        if item["name"] == "gamma":  # received after the old plane had answered
            item["last_contact_at"] = "2026-05-28T20:26:40.000Z"
    assert found == expected
    for name, one in old.instances.items():
        detail = await old.get(f"/api/instances/{one}", by="owner")
        assert detail["env"] == {"PLACE": name}
        (entry, *_) = (await old.get(f"/api/instances/{one}/timeline", by="owner"))["entries"]
        assert entry
    kept = await old.plane.core.stores.contacts.load()
    assert [(row.instance, row.heard_ms) for row in kept] == [
        (old.instances["gamma"], 1_780_000_000_000)
    ]
    for one in old.instances.values():
        replayed = await look_back(
            old.plane.core.stores.reader,
            old.plane.core.tables.kinds,
            Back(actor=f"instance/{one}"),
        )
        assert replayed.match
        assert replayed.bit_equal


async def test_secrets_open_and_pairing_decides_as_before(old: Old) -> None:
    alpha, beta = old.instances["alpha"], old.instances["beta"]
    assert await old.get(f"/api/instances/{alpha}/secrets") == old.facts["secrets"]
    assert await old.get(f"/api/instances/{beta}/pairing/policy") == old.facts["policy"]
    folded = await old.plane.core.engine.owner.state(instance_address(alpha))
    assert folded is not None
    sealed = folded.state.config.secrets["API_TOKEN"]
    context = Context("local", alpha, "API_TOKEN")
    assert old.plane.core.keyring.open(sealed, context) == "no secret that matters"
    places = CommittedPlaces()
    await places.fill(old.plane.core.stores.reader)
    place = places.of(beta)
    assert place is not None
    assert (place.name, place.account, place.running) == ("beta", "local", False)
    assert [rule.sender for rule in places.pairing(beta).rules] == ["s1"]


async def test_corrections_and_decisions_are_there_and_a_repeat_is_known(old: Old) -> None:
    expected = old.facts["corrections"]
    for item in expected["items"]:
        item["damaged"] = ""  # the old plane had no such field
    assert await old.get("/api/corrections", by="owner") == expected
    lessons = {row["id"]: row for row in (await old.get("/api/lessons"))["items"]}
    assert lessons[old.facts["lesson"]]["decision"] == "approved"
    assert len(lessons) == 2
    key = old.facts["brain_key"]
    answer = await old.ask("POST", "/api/v1/ingest", old.facts["batch"], key=key)
    assert answer.status == 200, answer.body
    assert (answer.json()["accepted"], answer.json()["deduplicated"]) == (0, 5)
    found = await old.get("/api/corrections?text=quick", by="owner")
    assert len(found["items"]) == 1


async def test_accounts_tokens_and_the_audit_are_there(old: Old) -> None:
    accounts = old.plane.core.stores.accounts
    assert old.facts["account"] in {row.name for row in await accounts.accounts()}
    assert await accounts.person("ada") is not None
    assert (await old.get("/api/instances", by="stranger"))["items"] == []
    assert (await old.ask("GET", "/api/instances", key="hf_nobody")).status == 401
    assert len((await old.get("/api/audit"))["items"]) >= old.facts["audit"]
    assert (await old.get("/api/audit/verify"))["ok"]
    assert len((await old.get("/api/operations"))["items"]) == old.facts["operations"]


async def test_the_old_folder_takes_new_orders(old: Old) -> None:
    made = await old.ask("POST", "/api/instances", {"name": "delta", "desired": "stopped"})
    assert made.status in {201, 202}, made.body
    gone = await old.ask(
        "POST", f"/api/instances/{old.instances['gamma']}/destroy", {"confirm": "gamma"}
    )
    assert gone.status in {200, 202}, gone.body
