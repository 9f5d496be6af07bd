"""The pages of towns: drawings, the strip of ticks, differences, what is shown and what is not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from holdfast.letters.topics import TOWN
from holdfast.towns import events
from holdfast.towns.state import NewBead
from holdfast.web.pages.towns import POLICY, compare
from holdfast.web.parts.dependency_graph import HEIGHT, WIDTH, graph, label
from holdfast.web.parts.scrubber import scrubber
from holdfast.web.site import Pages
from holdfast.wire.api.call import Call, Refusal
from holdfast.wire.api.rehearsals import (
    Rehearsal,
    RehearsedAction,
    RehearsedTick,
    Suppressed,
)
from holdfast.wire.api.table import by_name
from holdfast.wire.api.town_board import TownTick
from tests.support.sample_town import SampleTown
from tests.unit.web.sample_pages import HOSTILE, OPERATOR, OWNER, SamplePages

ID = {"id": "town-orders"}


@pytest.fixture
def samples() -> SamplePages:
    return SamplePages(count=1)


def test_each_bead_stands_below_all_that_it_waits_for() -> None:
    waits = {"d": ("b", "c"), "b": ("a",), "c": ("a",), "a": (), "e": ("gone",)}
    drawn = graph(waits)
    places = {node.id: node for node in drawn.nodes}
    for one, before in waits.items():
        for other in before:
            assert other == "gone" or places[other].y + HEIGHT < places[one].y
    assert {(edge.first, edge.then) for edge in drawn.edges} == {
        ("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"),
    }  # fmt: skip
    assert all(0 <= node.x <= drawn.width - WIDTH for node in drawn.nodes)
    assert len({(node.x, node.y) for node in drawn.nodes}) == len(waits)
    assert graph({}).width == 0


def test_beads_in_a_circle_are_drawn_and_named() -> None:
    drawn = graph({"a": ("b",), "b": ("a",), "c": ()})
    assert set(drawn.circle) == {"a", "b"}
    assert {node.id for node in drawn.nodes} == {"a", "b", "c"}


def test_a_long_title_is_cut_on_its_second_line() -> None:
    assert label("Short") == ("Short", "")
    assert label("") == ("", "")
    first, second = label("A title that is far too long for the two lines of a bead")
    assert first == "A title that is"
    assert second.endswith("\N{HORIZONTAL ELLIPSIS}")


def ticks(*numbers: int) -> list[TownTick]:
    at = "2026-11-30T12:00:00Z"
    return [
        TownTick(number=one, at=at, seq=one, events=one, actions=0, notes=one % 2)
        for one in numbers
    ]


def test_the_strip_stands_at_a_tick_that_is_there() -> None:
    found = scrubber(ticks(3, 4, 7, 9), 5)
    assert found is not None
    assert (found.first, found.last, found.at) == (3, 9, 7)
    assert (found.earlier, found.later) == (4, 9)
    assert [bar.tone for bar in found.bars] == ["bad", "", "bad", "bad"]
    latest = scrubber(ticks(3, 4), 0)
    assert latest is not None
    assert (latest.at, latest.later) == (4, 0)
    assert scrubber([], 0) is None


def rehearsal(*reasons: str, held: str = "") -> Rehearsal:
    actions = tuple(RehearsedAction(name="Dispatch", rule="r", reason=one) for one in reasons)
    suppressed = (Suppressed(name="b/1", rule="r", reason=held),) if held else ()
    tick = RehearsedTick(number=1, at="t", actions=actions, suppressed=suppressed)
    return Rehearsal(actor="town/t", mode="dry-run", ticks=(tick,))


def test_a_what_if_is_told_apart_from_what_is() -> None:
    found = compare(rehearsal("a", "b", "b"), rehearsal("b", "c", held="it rests"))
    assert found.only_now == ("Dispatch: a (r)", "Dispatch: b (r)")
    assert found.only_then == ("Dispatch: c (r)", "left alone, it rests (r)")
    assert found.same == ("Dispatch: b (r)",)


async def test_a_town_shows_its_board_queue_convoy_and_orders(samples: SamplePages) -> None:
    html = await samples.show("page.town", path=ID)
    for text in (
        "The list of customers takes four seconds", "Polecat-4 works on it", "Help request",
        "The breaker is closed", 'class="edge"', "/escalations/esc-1/acknowledge", "Sling work",
        "What if the policy were another?",
    ):  # fmt: skip
        assert text in html
    assert " style=" not in html


async def test_the_past_can_be_looked_at_and_not_be_ordered(samples: SamplePages) -> None:
    html = await samples.show("page.town", path=ID, query={"tick": "9"})
    assert "as it was after tick 9" in html
    assert "/acknowledge" not in html
    assert "hx-sse:connect" not in html
    assert 'href="/towns/town-orders?tick=10"' in html


async def test_an_owner_is_offered_no_rehearsal_and_no_quarantine(samples: SamplePages) -> None:
    html = await samples.show("page.town", OWNER, path=ID)
    assert "Rehearse the next tick" not in html
    assert "quarantine.list" not in samples.asked
    for page in ("page.town-next", "page.town-what-if"):
        assert by_name[page].scope == "operator"
        assert "needs the scope operator" in await samples.show(page, OWNER, path=ID, query={})


async def test_a_what_if_asks_for_the_policy_in_its_own_units(samples: SamplePages) -> None:
    bodies: list[Any] = []

    async def what_if(call: Call) -> Any:
        bodies.append(call.body)
        raise Refusal(503, "busy", "others rehearse")

    api = samples.handlers() | {"rehearse.what-if": what_if}
    samples.pages = Pages(api, hub=samples.hub, clock=samples.clock, version="0")
    for field in POLICY:
        query = {"field": field.name, "value": "3", "span": "past"}
        html = await samples.show("page.town-what-if", path=ID, query=query)
        assert "others rehearse" in html
        assert bodies[-1].policy == {field.name: 3 * field.per_unit}
        assert bodies[-1].from_seq == 0


async def test_what_people_wrote_of_work_is_escaped(samples: SamplePages) -> None:
    samples.town._text("text-slow", HOSTILE, HOSTILE)
    html = await samples.show("page.town", path=ID)
    html += await samples.show("page.town-bead", path=ID | {"bead": "bead-slow"})
    html += await samples.show("page.town-timeline", path=ID)
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html


async def test_a_town_without_a_rig_says_the_next_command(samples: SamplePages) -> None:
    calm = SampleTown(samples.hub, now_ms=samples.clock.now_ms(), name="calm", busy=False)
    api = samples.handlers() | calm.handlers()
    samples.pages = Pages(api, hub=samples.hub, clock=samples.clock, version="0")
    html = await samples.show("page.town", path={"id": "town-calm"})
    assert "holdfast rig add calm NAME" in html
    assert 'data-opens="#sling"' not in html


async def test_an_open_town_is_told_of_its_own_ticks_alone(samples: SamplePages) -> None:
    stream = await samples.stream(page="town", id="town-orders")
    assert 'hx-target="#town-board"' in (await anext(stream)).decode()
    samples.hub.publish(TOWN, "another", "local")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.2)
    await stream.aclose()
    stream = await samples.stream(page="town", id="town-orders")
    await anext(stream)
    samples.clock.advance(2_000)
    bead = NewBead(id="bead-new", rig="shop", content="text-typo", held=True)
    samples.town.do(events.BeadCreated(bead=bead, by="olga"))
    assert "/beads/bead-new" in (await anext(stream)).decode()
    await stream.aclose()


async def test_the_stream_of_a_bead_needs_the_bead(samples: SamplePages) -> None:
    with pytest.raises(Refusal) as refused:
        await samples.stream(OPERATOR, page="town-bead", id="town-orders")
    assert refused.value.problem.field == "bead"
    stream = await samples.stream(page="town-bead", id="town-orders", bead="bead-page")
    assert "It waits for 2 other beads." in (await anext(stream)).decode()
    await stream.aclose()
