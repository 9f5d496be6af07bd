"""What closed towns and removed rigs leave is erased, whatever became of the order to end them."""

from __future__ import annotations

from typing import Any, cast

from holdfast.kernel.clock import ManualClock
from holdfast.plane.town_erasure import KEPT_MS, TownErasure
from holdfast.stores.memory.towns import MemoryTownRecords
from holdfast.towns.records import Notice, RigSettings, Text
from holdfast.towns.state import Rig, Town, encode_entity
from holdfast.towns.views import RIG_VIEW, TOWN_VIEW


class Rows:
    """Committed rows of towns and rigs."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], bytes] = {}

    async def view(self, view: str, key: str) -> tuple[bytes, str, int] | None:
        body = self.kept.get((view, key))
        return None if body is None else (body, "acme", 1)

    async def views(
        self, view: str, *, account: str | None, after: str, limit: int
    ) -> list[tuple[str, bytes, int]]:
        del account
        rows = sorted((key, body, 1) for (of, key), body in self.kept.items() if of == view)
        return [row for row in rows if row[0] > after][:limit]


class Scene:
    def __init__(self) -> None:
        self.clock, self.rows, self.records = ManualClock(), Rows(), MemoryTownRecords()
        self.erasure = TownErasure(cast("Any", self.rows), self.records, self.clock)

    def town(self, name: str, closed_ms: int = 0) -> None:
        self.rows.kept[TOWN_VIEW, name] = encode_entity(Town(id=name, closed_ms=closed_ms))

    def rig(self, town: str, name: str, *, gone: bool = False) -> None:
        self.rows.kept[RIG_VIEW, f"{town}:{name}"] = encode_entity(Rig(id=name, gone=gone))

    async def sealed(self, town: str, name: str, token: str = "sealed") -> None:
        repository = "https://forge.test/web"
        settings = RigSettings(rig=name, repository=repository, token=token)
        await self.records.put_rig(town, settings)

    async def left(self) -> set[tuple[str, str]]:
        return {(town, one.rig) for town, one in await self.records.sealed()}


async def test_credentials_of_what_is_over_are_erased_and_others_stay() -> None:
    scene = Scene()
    scene.town("lives")
    scene.town("closed", closed_ms=scene.clock.now_ms())
    scene.rig("lives", "web")
    scene.rig("lives", "old", gone=True)
    scene.rig("closed", "web")
    for town, rig in (("lives", "web"), ("lives", "old"), ("lives", "lost"), ("closed", "web")):
        await scene.sealed(town, rig)
    await scene.sealed("unknown", "web")
    await scene.erasure.run()
    await scene.sealed("lives", "old", "of one that is added again")
    await scene.erasure.run()
    assert await scene.left() == {("lives", "web"), ("lives", "old"), ("unknown", "web")}
    scene.rig("lives", "old")
    await scene.erasure.run()
    await scene.erasure.run()
    assert await scene.left() == {("lives", "web"), ("lives", "old"), ("unknown", "web")}


async def test_texts_of_a_closed_town_are_erased_after_a_while() -> None:
    scene = Scene()
    scene.town("lives")
    scene.town("closed", closed_ms=scene.clock.now_ms())
    for town in ("lives", "closed"):
        await scene.records.put_text(town, Text(id="c", kind="bead", title="Mend it"))
        await scene.sealed(town, "web", "")
        await scene.records.put_notice(town, Notice(code="x"))
    scene.clock.advance(KEPT_MS)
    await scene.erasure.run()
    assert await scene.records.text("closed", "c") is not None
    scene.clock.advance(1)
    await scene.erasure.run()
    assert await scene.records.text("closed", "c") is None
    assert await scene.records.rigs("closed") == ()
    assert await scene.records.notices("closed") == ()
    assert await scene.records.text("lives", "c") is not None
    assert len(await scene.records.rigs("lives")) == 1
