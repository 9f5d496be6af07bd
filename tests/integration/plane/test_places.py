"""After each commit, the rows that pairing caches in memory equal the committed ones."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec

from holdfast.instances.views import INSTANCE_VIEW
from holdfast.plane.wiring.places import CommittedPlaces
from tests.support.asgi import Answer, call, json_headers
from tests.support.patience import patience
from tests.support.real_plane import Made, end, make


async def ask(made: Made, method: str, target: str, body: Any) -> Answer:
    headers = json_headers(made.tokens.owner)
    return await call(
        made.plane.app, method, target, headers=headers, body=msgspec.json.encode(body)
    )


async def check(made: Made, instance: str) -> CommittedPlaces:
    """Return the plane's places, found to be those of a plane that started now."""
    part = next(one for one in made.plane.subjects.parts if one.name == "places")
    kept, anew = getattr(part.on_commit[0], "__self__", None), CommittedPlaces()
    assert isinstance(kept, CommittedPlaces)
    await anew.fill(made.plane.core.stores.reader)
    assert kept.of(instance) == anew.of(instance)
    assert kept.pairing(instance) == anew.pairing(instance)
    return kept


async def test_places_follow_what_is_committed(tmp_path: Path) -> None:
    made = await make(tmp_path / "home")
    try:
        one = made.instance
        place = (await check(made, one)).of(one)
        assert place is not None
        assert (place.name, place.account, place.running) == ("theirs", "local", False)
        assert place.provider

        told = await ask(made, "PATCH", f"/api/instances/{one}", {"env": {"A": "b"}})
        assert told.status == 200, told.body
        changed = (await check(made, one)).of(one)
        assert changed is not None
        assert changed.config_version > place.config_version

        rule = {"kind": "channel", "channel": "telegram", "sender": "s1"}
        told = await ask(
            made, "PUT", f"/api/instances/{one}/pairing/policy", {"mode": "rules", "rules": [rule]}
        )
        assert told.status == 200, told.body
        assert (await check(made, one)).pairing(one).mode == "rules"

        told = await ask(made, "POST", f"/api/instances/{one}/destroy", {"confirm": "theirs"})
        assert told.status in {200, 202}, told.body
        async with asyncio.timeout(patience(120)):
            reader = made.plane.core.stores.reader
            while await reader.view(INSTANCE_VIEW, one) is not None:  # noqa: ASYNC110  there is no event for it
                await asyncio.sleep(0.02)
        await made.plane.core.engine.stop()  # the last commit is published before this returns
        assert (await check(made, one)).of(one) is None
        assert (await check(made, "nobody")).of("nobody") is None
    finally:
        await end(made)
