"""Pages and their streams over sample data, without a server."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as replace_struct

from holdfast.letters.topics import CONTACT, INSTANCE
from holdfast.web.api import Api
from holdfast.web.pages.fleet import DrawnRows
from holdfast.web.site import PAGES, Pages
from holdfast.wire.api.call import Call, Principal, Problem, Refusal
from holdfast.wire.api.operations import QuarantineList
from holdfast.wire.api.table import by_name
from tests.support.patience import patience
from tests.unit.web.desk import HOSTILE, OPERATOR, OWNER, Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_every_page_of_the_table_has_its_handler(desk: Desk) -> None:
    rows = {name for name in by_name if name.startswith("page.")}
    assert set(desk.pages.by_endpoint()) == rows


def test_every_live_page_and_no_other_has_a_stream() -> None:
    (page,) = (each for each in by_name["page.events"].params if each.name == "page")
    assert set(page.pattern.split("|")) == {each.name for each in PAGES if each.live}


async def test_the_fleet_shows_names_counts_and_no_style_or_script_of_its_own(desk: Desk) -> None:
    html = await desk.show("page.fleet")
    assert "12 of 12 shown" in html
    assert ">atlas<" in html
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=|<script>", html)


async def test_an_owner_sees_their_account_and_no_operators_page(desk: Desk) -> None:
    html = await desk.show("page.fleet", OWNER)
    assert ">birch<" in html
    assert ">atlas<" not in html
    assert "/quarantine" not in html
    with pytest.raises(Refusal) as refused:
        await desk.show("page.quarantine", OWNER)
    assert refused.value.status == 403
    with pytest.raises(Refusal) as refused:
        await desk.show("page.instance", OWNER, path={"id": "in-0000"})
    assert refused.value.status == 404


async def test_whatever_people_and_machines_wrote_is_escaped(desk: Desk) -> None:
    desk.fleet.change("in-0001", attention=HOSTILE, error=HOSTILE, agent_version=HOSTILE)
    desk.fleet.env["in-0001"]["EVIL"] = HOSTILE
    desk.fleet.say(HOSTILE)
    html = await desk.show("page.fleet", query={"text": HOSTILE})
    html += await desk.show("page.fleet")
    html += await desk.show("page.instance", path={"id": "in-0001"})
    html += await desk.show("page.sign-in", query={"link": "x", "next": "/a"})
    html += (await anext(await desk.stream(page="instance", id="in-0001"))).decode()
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html
    assert desk.pages.problem_page(404, Problem(code="c", message=HOSTILE)).count(b"<script>") == 0


async def test_a_part_that_fails_leaves_the_page_standing(desk: Desk) -> None:
    async def fails(call: Call) -> Any:
        raise Refusal(503, "busy", f"{call.endpoint} is busy", fix="try again")

    api = desk.handlers() | {"instance.explain": fails, "instance.timeline": fails}
    desk.pages = Pages(api, hub=desk.hub, clock=desk.clock, version="0")
    html = await desk.show("page.instance", path={"id": "in-0001"})
    assert "instance.explain is busy" in html
    assert "instance.timeline is busy" in html
    assert ">birch<" in html


async def test_the_rehearsal_is_asked_for_by_its_own_audited_page_alone(desk: Desk) -> None:
    await desk.show("page.instance", path={"id": "in-0003"})
    assert "rehearse.dry-run" not in desk.asked
    assert by_name["page.instance-next"].audited
    html = await desk.show("page.instance-next", path={"id": "in-0003"})
    assert "start.down" in html
    assert "restart.cooldown" in html


async def test_a_page_can_neither_change_nor_look_beyond_its_reader(desk: Desk) -> None:
    api = Api(desk.handlers())
    for endpoint in ("instance.stop", "rehearse.dry-run"):
        with pytest.raises(ValueError, match="must not call"):
            await api.ask(desk.call("page.fleet"), endpoint, QuarantineList)
    with pytest.raises(Refusal):
        await api.ask(desk.call("page.fleet", OWNER), "quarantine.list", QuarantineList)


async def test_a_stream_begins_with_everything_and_goes_on_with_rows(desk: Desk) -> None:
    stream = await desk.stream(page="fleet")
    first = (await anext(stream)).decode()
    assert 'hx-target="#fleet-rows"' in first
    assert 'hx-target="#fleet-summary"' in first
    desk.fleet.change("in-0001", load=9.87)
    row = (await anext(stream)).decode()
    assert 'hx-target="#i-in-0001"' in row
    assert "9.87" in row
    assert "in-0002" not in row
    await stream.aclose()
    assert desk.hub.readers == 0


async def test_the_list_is_drawn_again_for_what_is_not_on_it_but_not_at_once(desk: Desk) -> None:
    stream = await desk.stream(page="fleet", status="running")
    await anext(stream)
    desk.clock.advance(2_000)
    desk.fleet.change("in-0003", status="running", desired="running")
    drawn = (await anext(stream)).decode()
    assert 'hx-target="#fleet-rows"' in drawn
    assert "in-0003" in drawn
    await stream.aclose()


async def test_an_owners_stream_says_nothing_of_others(desk: Desk) -> None:
    stream = await desk.stream(OWNER, page="fleet")
    assert "in-0000" not in (await anext(stream)).decode()
    desk.fleet.change("in-0000", load=8.88)
    desk.fleet.change("in-0001", load=7.77)
    row = (await anext(stream)).decode()
    assert "7.77" in row
    assert "8.88" not in row
    await stream.aclose()


async def test_a_row_is_drawn_once_for_all_who_may_see_it(desk: Desk) -> None:
    streams = [await desk.stream(page="fleet") for _ in range(4)]
    for stream in streams:
        await anext(stream)
    desk.asked.clear()
    for load in (1.11, 2.22):
        desk.fleet.change("in-0001", load=load)
        for stream in streams:
            assert str(load) in (await anext(stream)).decode()
    assert desk.asked.count("instance.get") == 2
    assert desk.pages.context.cache(DrawnRows).writes == 2
    for stream in streams:
        await stream.aclose()


async def test_many_changes_at_once_are_drawn_as_one_list(desk: Desk) -> None:
    stream = await desk.stream(page="fleet")
    await anext(stream)
    desk.asked.clear()
    desk.clock.advance(2_000)
    for instance_id in list(desk.fleet.instances):
        desk.fleet.change(instance_id, load=5.55)
    assert 'hx-target="#fleet-rows"' in (await anext(stream)).decode()
    assert "instance.get" not in desk.asked
    await stream.aclose()


@pytest.mark.parametrize("page", ["fleet", "instance"])
async def test_what_nobody_announces_is_looked_for_and_shown_only_where_it_is_new(
    desk: Desk, page: str
) -> None:
    stream = await desk.stream(page=page, id="in-0001")
    await anext(stream)
    view = desk.fleet.instances["in-0001"]
    desk.fleet.instances["in-0001"] = replace_struct(view, load=6.66)
    desk.clock.advance(5_000)
    desk.hub.publish(CONTACT, "in-0001" if page == "instance" else "another", "local")
    if page == "fleet":
        desk.hub.publish(INSTANCE, "another", "local")
    assert "6.66" in (await asyncio.wait_for(anext(stream), patience(5))).decode()
    desk.clock.advance(5_000)
    desk.hub.publish(INSTANCE, "another", "local")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.2)


async def test_the_page_of_an_instance_that_goes_away_says_so_and_ends(desk: Desk) -> None:
    stream = await desk.stream(page="instance", id="in-0001")
    assert "birch" in (await anext(stream)).decode()
    gone = desk.fleet.instances.pop("in-0001")
    desk.hub.publish(INSTANCE, gone.id, gone.account)
    rest = b"".join([chunk async for chunk in stream]).decode()
    assert "no such instance" in rest
    assert "event: gone" in rest
    assert desk.hub.readers == 0


async def test_a_stream_ends_after_its_life(desk: Desk) -> None:
    stream = await desk.stream(page="fleet")
    await anext(stream)
    desk.clock.advance(3_600_000)
    desk.fleet.change("in-0001", load=1.0)
    assert len([chunk async for chunk in stream]) <= 1


@pytest.mark.parametrize(
    ("who", "query", "status"),
    [
        (OPERATOR, {"page": "instance"}, 400),
        (OPERATOR, {"page": "operation"}, 400),
        (OWNER, {"page": "quarantine"}, 403),
    ],
)
async def test_streams_that_cannot_be(
    desk: Desk, who: Principal, query: dict[str, str], status: int
) -> None:
    with pytest.raises(Refusal) as refused:
        await desk.stream(who, **query)
    assert refused.value.status == status


@pytest.mark.parametrize("page", ["operations", "quarantine"])
async def test_lists_have_their_streams(desk: Desk, page: str) -> None:
    stream = await desk.stream(page=page)
    assert f'hx-target="#{page}"' in (await anext(stream)).decode()
    await stream.aclose()


async def test_looking_at_a_link_signs_nobody_in(desk: Desk) -> None:
    nobody = Principal("anonymous", "public", None, "anonymous")
    call = replace(desk.call("page.sign-in", nobody), query={"link": "s3cret"})
    reply = await desk.pages.by_endpoint()["page.sign-in"](call)
    assert reply.cookies == ()
    assert desk.asked == []
    assert b"s3cret" in reply.body
