"""Towns as people see them, of a whole plane: now, earlier, and looked through in its process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from holdfast.towns import board_handlers
from tests.integration.towns.test_api import ask, order
from tests.integration.towns.test_orders import new_town, read
from tests.support.real_plane import Made, end, make

pytestmark = [pytest.mark.timeout(240), pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Made]:
    made = await make(tmp_path_factory.mktemp("board") / "home")
    yield made
    await end(made)


async def test_a_town_is_seen_now_and_at_each_of_its_ticks(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = await new_town(made, "seen")
    convoy = {"rig": "web", "title": "Both", "tasks": [{"title": "One"}, {"title": "Two"}]}
    await order(made, f"{where}/convoys", convoy)
    late = await order(made, f"{where}/beads", {"rig": "web", "title": "Late", "held": True})

    now = await read(made, f"{where}/board")
    titles = [now["titles"][card["content"]] for card in now["columns"][0]["cards"]]
    assert sorted(titles) == ["Late", "One", "Two"]
    assert [one["repository"] for one in now["rigs"]] == ["https://forge.test/web"]
    assert now["notes"][0]["text"] == "Nothing is handed out: the agents' host is going away."
    monkeypatch.setattr(board_handlers, "BEADS_HERE_MAX", 0)
    there = await read(made, f"{where}/board")
    assert {**there, "at": ""} == {**now, "at": ""}
    summary = (await read(made, "/api/town-summaries"))["items"][0]
    assert summary["counts"]["open"] == 3

    seen = []
    for tick in (await read(made, f"{where}/ticks"))["ticks"]:
        then = await read(made, f"{where}/board?tick={tick['number']}")
        assert (then["past"], then["tick"], then["at"]) == (True, tick["number"], tick["at"])
        seen.append(then["columns"][0]["total"])
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (0, 3)
    gone = await ask(made, "GET", f"{where}/board?tick=99999")
    assert (gone.status, gone.json()["code"]) == (404, "no_such_actor")

    story = await read(made, f"{where}/beads/{late['id']}/story")
    assert story["why"]["text"] == "Somebody holds it back."
    assert story["lines"][-1]["text"] == "was made"
    short = late["id"][:12]
    assert (await read(made, f"/api/towns/seen/beads/{short}/story"))["card"] == story["card"]
    named = await read(made, "/api/towns/seen/board")
    assert {**named, "at": ""} == {**now, "at": ""}
    assert (await read(made, "/api/towns/seen/ticks"))["ticks"]
    assert (await read(made, "/api/towns/seen/panels"))["charts"]
    lines = (await read(made, "/api/towns/seen/timeline"))["lines"]
    assert lines[0]["bead"] == late["id"]


async def test_towns_of_others_are_not_there(made: Made) -> None:
    where = await new_town(made, "hidden")
    bead = await order(made, f"{where}/beads", {"rig": "web", "title": "Mine"})
    for what in ("board", "board?tick=1", "ticks", "timeline", f"beads/{bead['id']}/story"):
        answer = await ask(made, "GET", f"{where}/{what}", token=made.tokens.other_owner)
        assert answer.status == 404, what
    listed = await ask(made, "GET", "/api/town-summaries", token=made.tokens.other_owner)
    assert where.rpartition("/")[2] not in listed.body.decode()
