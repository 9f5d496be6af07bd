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
from tests.unit.web.sample_pages import HOSTILE, OPERATOR, OWNER, SamplePages


@pytest.fixture
def samples() -> SamplePages:
    return SamplePages()


def test_every_page_of_the_table_has_its_handler(samples: SamplePages) -> None:
    rows = {name for name in by_name if name.startswith("page.")}
    assert set(samples.pages.by_endpoint()) == rows


def test_every_live_page_and_no_other_has_a_stream() -> None:
    (page,) = (each for each in by_name["page.events"].params if each.name == "page")
    assert set(page.pattern.split("|")) == {each.name for each in PAGES if each.live}


async def test_the_fleet_shows_names_counts_and_no_style_or_script_of_its_own(
    samples: SamplePages,
) -> None:
    html = await samples.show("page.fleet")
    assert "12 of 12 shown" in html
    assert ">atlas<" in html
    assert not re.search(r"\sstyle=|<style|\son[a-z]+=|<script>", html)


async def test_an_owner_sees_their_account_and_no_operators_page(samples: SamplePages) -> None:
    html = await samples.show("page.fleet", OWNER)
    assert ">birch<" in html
    assert ">atlas<" not in html
    assert "/quarantine" not in html
    with pytest.raises(Refusal) as refused:
        await samples.show("page.quarantine", OWNER)
    assert refused.value.status == 403
    with pytest.raises(Refusal) as refused:
        await samples.show("page.instance", OWNER, path={"id": "in-0000"})
    assert refused.value.status == 404


async def test_whatever_people_and_machines_wrote_is_escaped(samples: SamplePages) -> None:
    samples.fleet.change("in-0001", attention=HOSTILE, error=HOSTILE, agent_version=HOSTILE)
    samples.fleet.env["in-0001"]["EVIL"] = HOSTILE
    samples.fleet.say(HOSTILE)
    html = await samples.show("page.fleet", query={"text": HOSTILE})
    html += await samples.show("page.fleet")
    html += await samples.show("page.instance", path={"id": "in-0001"})
    html += await samples.show("page.sign-in", query={"link": "x", "next": "/a"})
    html += (await anext(await samples.stream(page="instance", id="in-0001"))).decode()
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html
    assert (
        samples.pages.problem_page(404, Problem(code="c", message=HOSTILE)).count(b"<script>") == 0
    )


async def test_a_part_that_fails_leaves_the_page_standing(samples: SamplePages) -> None:
    async def fails(call: Call) -> Any:
        raise Refusal(503, "busy", f"{call.endpoint} is busy", fix="try again")

    api = samples.handlers() | {"instance.explain": fails, "instance.timeline": fails}
    samples.pages = Pages(api, hub=samples.hub, clock=samples.clock, version="0")
    html = await samples.show("page.instance", path={"id": "in-0001"})
    assert "instance.explain is busy" in html
    assert "instance.timeline is busy" in html
    assert ">birch<" in html


async def test_the_rehearsal_is_asked_for_by_its_own_audited_page_alone(
    samples: SamplePages,
) -> None:
    await samples.show("page.instance", path={"id": "in-0003"})
    assert "rehearse.dry-run" not in samples.asked
    assert by_name["page.instance-next"].audited
    html = await samples.show("page.instance-next", path={"id": "in-0003"})
    assert "start.down" in html
    assert "restart.cooldown" in html


async def test_a_page_can_neither_change_nor_look_beyond_its_reader(samples: SamplePages) -> None:
    api = Api(samples.handlers())
    for endpoint in ("instance.stop", "rehearse.dry-run"):
        with pytest.raises(ValueError, match="must not call"):
            await api.ask(samples.call("page.fleet"), endpoint, QuarantineList)
    with pytest.raises(Refusal):
        await api.ask(samples.call("page.fleet", OWNER), "quarantine.list", QuarantineList)


@pytest.mark.parametrize("name", ["status", "health"])
async def test_a_filter_with_a_word_that_is_none_is_refused(
    samples: SamplePages, name: str
) -> None:
    with pytest.raises(Refusal) as refused:
        await samples.show("page.fleet", query={name: "bogus"})
    problem = refused.value.problem
    assert (refused.value.status, problem.code, problem.field) == (400, "unknown_value", name)
    assert "use " in problem.fix


async def test_a_stream_begins_with_everything_and_goes_on_with_rows(samples: SamplePages) -> None:
    stream = await samples.stream(page="fleet")
    first = (await anext(stream)).decode()
    assert 'hx-target="#fleet-rows"' in first
    assert 'hx-target="#fleet-summary"' in first
    samples.fleet.change("in-0001", load=9.87)
    row = (await anext(stream)).decode()
    assert 'hx-target="#i-in-0001"' in row
    assert "9.87" in row
    assert "in-0002" not in row
    await stream.aclose()
    assert samples.hub.readers == 0


async def test_the_list_is_drawn_again_for_what_is_not_on_it_but_not_at_once(
    samples: SamplePages,
) -> None:
    stream = await samples.stream(page="fleet", status="running")
    await anext(stream)
    samples.clock.advance(2_000)
    samples.fleet.change("in-0003", status="running", desired="running")
    drawn = (await anext(stream)).decode()
    assert 'hx-target="#fleet-rows"' in drawn
    assert "in-0003" in drawn
    await stream.aclose()


async def test_an_owners_stream_says_nothing_of_others(samples: SamplePages) -> None:
    stream = await samples.stream(OWNER, page="fleet")
    assert "in-0000" not in (await anext(stream)).decode()
    samples.fleet.change("in-0000", load=8.88)
    samples.fleet.change("in-0001", load=7.77)
    row = (await anext(stream)).decode()
    assert "7.77" in row
    assert "8.88" not in row
    await stream.aclose()


async def test_a_row_is_drawn_once_for_all_who_may_see_it(samples: SamplePages) -> None:
    streams = [await samples.stream(page="fleet") for _ in range(4)]
    for stream in streams:
        await anext(stream)
    samples.asked.clear()
    for load in (1.11, 2.22):
        samples.fleet.change("in-0001", load=load)
        for stream in streams:
            assert str(load) in (await anext(stream)).decode()
    assert samples.asked.count("instance.get") == 2
    assert samples.pages.context.cache(DrawnRows).writes == 2
    for stream in streams:
        await stream.aclose()


async def test_many_changes_at_once_are_drawn_as_one_list(samples: SamplePages) -> None:
    stream = await samples.stream(page="fleet")
    await anext(stream)
    samples.asked.clear()
    samples.clock.advance(2_000)
    for instance_id in list(samples.fleet.instances):
        samples.fleet.change(instance_id, load=5.55)
    assert 'hx-target="#fleet-rows"' in (await anext(stream)).decode()
    assert "instance.get" not in samples.asked
    await stream.aclose()


@pytest.mark.parametrize("page", ["fleet", "instance"])
async def test_what_nobody_announces_is_looked_for_and_shown_only_where_it_is_new(
    samples: SamplePages, page: str
) -> None:
    stream = await samples.stream(page=page, id="in-0001")
    await anext(stream)
    view = samples.fleet.instances["in-0001"]
    samples.fleet.instances["in-0001"] = replace_struct(view, load=6.66)
    samples.clock.advance(5_000)
    samples.hub.publish(CONTACT, "in-0001" if page == "instance" else "another", "local")
    if page == "fleet":
        samples.hub.publish(INSTANCE, "another", "local")
    assert "6.66" in (await asyncio.wait_for(anext(stream), patience(5))).decode()
    samples.clock.advance(5_000)
    samples.hub.publish(INSTANCE, "another", "local")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.2)


async def test_the_page_of_an_instance_that_goes_away_says_so_and_ends(
    samples: SamplePages,
) -> None:
    stream = await samples.stream(page="instance", id="in-0001")
    assert "birch" in (await anext(stream)).decode()
    gone = samples.fleet.instances.pop("in-0001")
    samples.hub.publish(INSTANCE, gone.id, gone.account)
    rest = b"".join([chunk async for chunk in stream]).decode()
    assert "no such instance" in rest
    assert "event: gone" in rest
    assert samples.hub.readers == 0


async def test_a_stream_ends_after_its_life(samples: SamplePages) -> None:
    stream = await samples.stream(page="fleet")
    await anext(stream)
    samples.clock.advance(3_600_000)
    samples.fleet.change("in-0001", load=1.0)
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
    samples: SamplePages, who: Principal, query: dict[str, str], status: int
) -> None:
    with pytest.raises(Refusal) as refused:
        await samples.stream(who, **query)
    assert refused.value.status == status


@pytest.mark.parametrize("page", ["operations", "quarantine"])
async def test_lists_have_their_streams(samples: SamplePages, page: str) -> None:
    stream = await samples.stream(page=page)
    assert f'hx-target="#{page}"' in (await anext(stream)).decode()
    await stream.aclose()


async def test_looking_at_a_link_signs_nobody_in(samples: SamplePages) -> None:
    nobody = Principal("anonymous", "public", None, "anonymous")
    call = replace(samples.call("page.sign-in", nobody), query={"link": "s3cret"})
    reply = await samples.pages.by_endpoint()["page.sign-in"](call)
    assert reply.cookies == ()
    assert samples.asked == []
    assert b"s3cret" in reply.body
