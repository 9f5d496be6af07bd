"""A plane that places its machines at Fly: the life of an instance, and what its doctor says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from holdfast.kernel.clock import SystemClock
from holdfast.plane.key_folder import KeysError
from holdfast.plane.settings import SettingError, load_settings
from holdfast.plane.wiring.plane import Plane, make_plane
from holdfast.world.clouds.simulated_world import Timing
from tests.support.asgi import call, json_headers
from tests.support.fake_fly import ORG, TOKEN, FakeFly
from tests.support.patience import patience, until
from tests.support.real_plane import Log

QUICK = Timing(
    call_ms=2, create_ms=5, start_ms=10, stop_ms=10, destroy_ms=10, listing_lag_ms=20
)  # fmt: skip


@asynccontextmanager
async def plane_at(fake: FakeFly, home: Path, **changes: Any) -> AsyncIterator[Plane]:
    token = home.parent / "token"
    token.write_text(f"FlyV1 {TOKEN}\n")
    token.chmod(0o600)
    given = {
        "cloud": "fly", "fly_org": ORG, "fly_image": "registry.example.com/agents:1",
        "fly_api": fake.base, "fly_token_file": str(token), "fly_regions": "ams,fra",
        "public_url": "http://plane.test", "accept_unconfined": True, **changes,
    }  # fmt: skip
    settings = load_settings({}, home=str(home), **given)
    plane = await make_plane(settings, clock=SystemClock(), log=Log(), url=settings.public_url)
    await plane.start()
    try:
        yield plane
    finally:
        await plane.stop()


@pytest.fixture
async def fake() -> AsyncIterator[FakeFly]:
    async def sleep(by_ms: float) -> None:
        await asyncio.sleep(by_ms / 1_000)

    made = FakeFly(clock=SystemClock(), sleep=sleep, timing=QUICK)
    async with made.serving():
        yield made
        assert made.wrong == []
        assert made.answered[429] == 0


async def test_an_instance_lives_at_fly(fake: FakeFly, tmp_path: Path) -> None:
    async with plane_at(fake, tmp_path / "home") as plane:
        people = plane.subjects.people.directory
        made = await people.make_token("mine", scope="operator", account=None, created_by="test")
        headers = json_headers(made[0])

        async def ask(method: str, path: str, body: bytes = b"") -> Any:
            answer = await call(plane.app, method, path, headers=headers, body=body)
            assert answer.status < 300, answer.body
            return answer.json()

        async def status_is(wanted: str) -> None:
            async with asyncio.timeout(patience(10)):
                while (await ask("GET", path))["instance"]["status"] != wanted:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)

        made_id = (await ask("POST", "/api/instances", b'{"name":"one"}'))["id"]
        path = f"/api/instances/{made_id}"
        await status_is("running")
        (row,), (volume,) = list(fake.world.rows()), fake.world.volumes()
        assert (row.state, row.spec.region) == ("started", volume.region)
        assert row.spec.volume_id == volume.id
        (app,) = fake.apps.values()
        assert app.secrets.keys() == {"HOLDFAST_ENV_KEY"}
        seen = await ask("GET", path)
        assert seen["instance"]["region"] == volume.region
        elsewhere = b'{"name":"two","region":"iad","desired":"stopped"}'
        other = await ask("POST", "/api/instances", elsewhere)
        assert other["region"] == "iad", "one that is not tried unless it is asked for"
        doctor = await ask("GET", "/api/doctor")
        (found,) = [one for one in doctor["checks"] if one["name"] == "fly"]
        assert (found["result"], TOKEN in str(doctor)) == ("ok", False)
        await ask("POST", f"{path}/destroy", b'{"confirm":"one"}')
        await until(lambda: row.state in {"destroying", "destroyed"})


async def test_the_doctor_says_what_is_wrong_with_the_token(fake: FakeFly, tmp_path: Path) -> None:
    async with plane_at(fake, tmp_path / "home", fly_org="nobody") as plane:
        made = await plane.subjects.people.directory.make_token(
            "mine", scope="operator", account=None, created_by="test"
        )
        doctor = await call(plane.app, "GET", "/api/doctor", headers=json_headers(made[0]))
        (found,) = [one for one in doctor.json()["checks"] if one["name"] == "fly"]
        assert found["result"] == "failed"
        assert "HOLDFAST_FLY_ORG" in found["fix"]


def test_what_fly_needs_is_asked_for_at_the_start(fake: FakeFly, tmp_path: Path) -> None:
    home = str(tmp_path / "home")
    for given, named in (
        ({"cloud": "fly"}, "FLY_ORG"),
        ({"cloud": "fly", "fly_org": "acme"}, "FLY_IMAGE"),
        ({"fly_api": "http://api.machines.dev/v1"}, "fly-api"),
        ({"fly_prefix": "Holdfast"}, "fly-prefix"),
    ):
        with pytest.raises(SettingError, match=named):
            load_settings({}, home=home, **given)


async def test_a_token_that_others_may_read_is_refused(fake: FakeFly, tmp_path: Path) -> None:
    path = tmp_path / "loose"
    path.write_text(TOKEN)
    path.chmod(0o644)
    with pytest.raises(KeysError, match="chmod 600"):
        async with plane_at(fake, tmp_path / "home", fly_token_file=str(path)):
            pass
    with pytest.raises(KeysError, match="no token for Fly"):
        async with plane_at(fake, tmp_path / "other", fly_token_file=str(tmp_path / "none")):
            pass
