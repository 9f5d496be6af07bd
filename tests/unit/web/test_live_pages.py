"""The inbox, the feed and the number in the bar: pages and streams without a server."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from holdfast.letters.topics import BRAIN, PAIRING
from holdfast.web.page import Page
from holdfast.web.site import PAGES, Pages
from holdfast.wire.api.call import Call, Principal, Refusal
from holdfast.wire.api.table import by_name
from holdfast.wire.times import time_text
from tests.support.patience import patience
from tests.support.sample_brains import correction
from tests.support.sample_pairing import channel
from tests.unit.web.sample_pages import HOSTILE, NOW, OPERATOR, OWNER, SamplePages

OTHER = Principal("otto", "owner", "studio", "session", "s3")


@pytest.fixture
def samples() -> SamplePages:
    made = SamplePages()
    made.pairing.fill()
    made.brains.fill()
    return made


async def drawn(stream: Any) -> str:
    return str((await asyncio.wait_for(anext(stream), patience(5))).decode())


async def test_the_inbox_shows_who_waits_and_what_is_not_known(samples: SamplePages) -> None:
    html = await samples.show("page.pairing")
    assert html.count("data-row-link") == 3
    assert "Ana Souza" in html
    assert "layout that this controller does not know" in html
    assert "More may wait than is shown" in html
    assert "style=" not in html


async def test_another_account_sees_nobody_and_no_number(samples: SamplePages) -> None:
    html = await samples.show("page.pairing", OTHER)
    assert "Ana Souza" not in html
    assert 'class="count"' not in html
    assert 'class="count"' in await samples.show("page.operations", OWNER)


async def test_nobody_waiting_is_told_from_not_knowing(samples: SamplePages) -> None:
    samples.pairing.waiting.clear()
    assert "No request is known." in await samples.show("page.pairing")
    samples.pairing.troubles = ()
    assert "Nobody is waiting." in await samples.show("page.pairing")


async def test_a_request_arrives_and_leaves_by_itself_and_its_decision_stays(
    samples: SamplePages,
) -> None:
    stream = await samples.stream(page="pairing")
    assert "Ana Souza" in await drawn(stream)
    samples.pairing.come(channel(3, "in-0002", "cedar", now_ms=NOW, sender_name="Mika"))
    html = await drawn(stream)
    assert "Mika" in html
    assert 'hx-target="#waiting"' in html
    samples.pairing.note(
        "in-0002", what="approved", request_id="telegram:X", sender="Mika", by="olga"
    )
    del samples.pairing.waiting[channel(3, "in-0002", "cedar", now_ms=NOW).request_id]
    samples.hub.publish(PAIRING, "in-0002", "local")
    html = await drawn(stream)
    assert "Approve Mika" not in html
    assert "by olga" in html
    await stream.aclose()
    # Whoever opens the page only now is told too, unless it is not theirs to know.
    assert "by olga" in await samples.show("page.pairing", OWNER)
    assert "by olga" not in await samples.show("page.pairing", OTHER)


async def test_a_request_that_expires_leaves_without_being_told(samples: SamplePages) -> None:
    brief = time_text(NOW + 10_000)
    samples.pairing.come(
        channel(6, "in-0001", "birch", now_ms=NOW, sender_name="Mika", expires_at=brief)
    )
    stream = await samples.stream(page="pairing")
    assert "Mika" in await drawn(stream)
    samples.clock.advance(10_000)
    samples.hub.publish(PAIRING, "in-0777", "local")  # a look, as comes by itself every few seconds
    html = await drawn(stream)
    assert "Mika" not in html
    assert "Ana Souza" in html
    await stream.aclose()


LIVE = {page.name: page for page in PAGES if page.live is not None}


@pytest.mark.parametrize("page", LIVE.values(), ids=LIVE)
def test_the_stream_of_a_page_repeats_all_of_its_address(page: Page) -> None:
    own = {param.name: f"of {param.name}" for param in page.endpoint.params}
    shown = dict.fromkeys(page.path_params, "it")
    query = {name: text for name, text in own.items() if name not in shown}
    found = page.stream_href(Call(page.endpoint.name, OWNER, path=shown, query=query))
    told = dict(parse_qsl(urlsplit(found).query))
    assert told == query | {"page": page.name} | dict.fromkeys(page.stream_params, "it")
    assert told.keys() <= {param.name for param in by_name["page.events"].params}


@pytest.mark.parametrize("page", ["fleet", "operations", "corrections", "lessons"])
async def test_every_live_page_keeps_the_number_in_its_bar(samples: SamplePages, page: str) -> None:
    stream = await samples.stream(page=page)
    assert 'hx-target="#waiting"' in await drawn(stream)
    samples.pairing.come(channel(4, "in-0003", "delta", now_ms=NOW))
    html = await drawn(stream)
    assert 'title="4 wait to be let in"' in html
    await stream.aclose()


async def test_the_number_is_not_sent_again_when_it_is_the_same(samples: SamplePages) -> None:
    stream = await samples.stream(page="operations")
    await drawn(stream)
    samples.hub.publish(PAIRING, "in-0001", "local")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.2)


async def test_a_fleet_row_says_how_many_wait_there(samples: SamplePages) -> None:
    stream = await samples.stream(page="fleet")
    assert "2 to pair" in await drawn(stream)
    samples.pairing.come(channel(4, "in-0001", "birch", now_ms=NOW))
    html = await drawn(stream)
    assert 'hx-target="#i-in-0001"' in html
    assert "3 to pair" in html
    await stream.aclose()


async def test_an_instances_page_shows_its_own_requests_policy_and_secrets(
    samples: SamplePages,
) -> None:
    html = await samples.show("page.instance", path={"id": "in-0001"})
    assert "Ana Souza" in html
    assert "jonas" not in html
    assert "<b>People decide</b>" in html
    assert "Replace Telegram" in html
    assert "Set Discord" in html
    stream = await samples.stream(page="instance", id="in-0001")
    await drawn(stream)
    samples.pairing.come(channel(5, "in-0001", "birch", now_ms=NOW, sender_name="Mika"))
    html = await drawn(stream)
    assert "Mika" in html
    assert 'hx-target="#timeline"' not in html
    await stream.aclose()


async def test_how_sources_stand_is_a_part_that_asks_the_machine(samples: SamplePages) -> None:
    html = await samples.show("page.instance", path={"id": "in-0001"})
    assert "pairing.list" not in samples.asked
    html = await samples.show("page.instance-sources", path={"id": "in-0001"})
    assert samples.asked[-1] == "pairing.list"
    assert "the store has a layout this release does not know" in html

    async def fails(call: Call) -> Any:
        raise Refusal(504, "timeout", "the machine did not answer in time", fix="Try again.")

    api = samples.handlers() | {"pairing.list": fails}
    samples.pages = Pages(api, hub=samples.hub, clock=samples.clock, version="0")
    html = await samples.show("page.instance-sources", path={"id": "in-0001"})
    assert "did not answer in time" in html
    assert "Look again" in html


async def test_what_only_its_machine_knows_is_asked_when_somebody_opens_it(
    samples: SamplePages,
) -> None:
    await samples.show("page.instance", path={"id": "in-0001"})
    assert "config.versions" not in samples.asked
    html = await samples.show("page.instance-care", path={"id": "in-0001"})
    assert "was not ready in 40 s" in html
    assert html.count("Put back") == 1
    assert "It has not looked yet." in html

    async def fails(call: Call) -> Any:
        raise Refusal(409, "controller_too_old", f"{call.endpoint} is too new", fix="Restart it.")

    api = samples.handlers() | {"config.versions": fails, "doctor.run": fails}
    samples.pages = Pages(api, hub=samples.hub, clock=samples.clock, version="0")
    html = await samples.show("page.instance-care", path={"id": "in-0001"})
    assert "config.versions is too new" in html
    assert "doctor.run is too new" in html


async def test_another_version_is_previewed_before_it_is_ordered(samples: SamplePages) -> None:
    html = await samples.show("page.instance", path={"id": "in-0001"})
    assert "/instances/in-0001/change-version" in html
    html = await samples.show("page.instance-upgrade", path={"id": "in-0001"})
    assert "to <b>2026.9.6</b>" in html, "the newest other one"
    assert "the doctor of 2026.9.6 looks" in html
    assert 'name="restore"' not in html
    html = await samples.show(
        "page.instance-upgrade", path={"id": "in-0001"}, query={"version": "2026.3.13"}
    )
    assert 'name="restore" required' in html


async def test_without_pairing_an_instances_page_still_stands(samples: SamplePages) -> None:
    async def fails(call: Call) -> Any:
        raise Refusal(503, "busy", f"{call.endpoint} is busy", fix="try again")

    names = ("pairing.inbox", "pairing.policy", "pairing.history", "instance.secrets")
    api = samples.handlers() | dict.fromkeys(names, fails)
    samples.pages = Pages(api, hub=samples.hub, clock=samples.clock, version="0")
    html = await samples.show("page.instance", path={"id": "in-0001"})
    assert "pairing.policy is busy" in html
    assert "instance.secrets is busy" in html
    assert ">birch<" in html
    with pytest.raises(Refusal):
        await samples.show("page.pairing")


async def test_a_correction_arrives_on_top_and_alone(samples: SamplePages) -> None:
    stream = await samples.stream(page="corrections")
    first = await drawn(stream)
    assert first.count("<li") == 18
    samples.brains.receive(correction(99, now_ms=NOW, draft="tea at noon", final="tea at one"))
    html = await drawn(stream)
    assert 'hx-target="#feed" hx-swap="afterbegin"' in html
    assert html.count("<li") == 1
    assert "<del>noon</del>" in html
    assert "<ins>one</ins>" in html
    samples.brains.receive(
        correction(99, now_ms=NOW, draft="tea at noon", final="tea at one", count=2)
    )
    html = await drawn(stream)
    assert 'hx-target="#c-co-0099"' in html
    assert "2 times" in html
    await stream.aclose()


async def test_a_feed_that_was_wholly_renewed_is_drawn_as_a_whole(samples: SamplePages) -> None:
    stream = await samples.stream(page="corrections")
    await drawn(stream)
    for at in range(100, 151):
        samples.brains.corrections.insert(0, correction(at, now_ms=NOW))
    samples.brains.receive(correction(151, now_ms=NOW))
    html = await drawn(stream)
    assert 'hx-target="#feed" hx-swap="innerMorph"' in html
    assert html.count("<li") == 50
    await stream.aclose()


async def test_a_feed_that_runs_over_rests_and_then_shows_the_newest(samples: SamplePages) -> None:
    stream = await samples.stream(page="corrections")
    await drawn(stream)
    for at in range(100, 120):
        samples.brains.receive(correction(at, now_ms=NOW))
    assert "c-co-0119" in await drawn(stream)
    samples.brains.receive(correction(120, now_ms=NOW))
    waits = asyncio.ensure_future(anext(stream))
    with pytest.raises(TimeoutError):  # the feed rests, as long as the clock stands
        await asyncio.wait_for(asyncio.shield(waits), 0.2)
    samples.clock.advance(1_000)
    samples.brains.receive(correction(121, now_ms=NOW))
    html = (await asyncio.wait_for(waits, patience(5))).decode()
    assert "c-co-0120" in html
    assert "c-co-0121" in html
    await stream.aclose()


async def test_time_that_passes_sends_no_list_again(samples: SamplePages) -> None:
    stream = await samples.stream(page="brains")
    assert "support-desk" in await drawn(stream)
    samples.clock.advance(7_000)
    samples.hub.publish(BRAIN, "br-1", "local")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.2)


async def test_a_brains_page_is_not_drawn_for_another(samples: SamplePages) -> None:
    stream = await samples.stream(page="brain", id="br-2")
    await drawn(stream)
    samples.clock.advance(2_000)
    samples.asked.clear()
    samples.hub.publish(BRAIN, "br-1", "local")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(anext(stream), 0.2)
    assert "brain.get" not in samples.asked


async def test_a_filtered_feed_hears_of_its_own_only(samples: SamplePages) -> None:
    stream = await samples.stream(page="corrections", severity="major")
    assert (await drawn(stream)).count("<li") == 3
    samples.brains.receive(correction(100, now_ms=NOW, severity="minor"))
    samples.brains.receive(correction(101, now_ms=NOW, severity="major"))
    html = await drawn(stream)
    assert "c-co-0101" in html
    assert "c-co-0100" not in html
    await stream.aclose()


async def test_a_brain_and_its_lessons_are_live(samples: SamplePages) -> None:
    stream = await samples.stream(page="brain", id="br-2")
    assert "388 to 393" in await drawn(stream)
    samples.clock.advance(2_000)
    call = samples.call("lesson.approve", path={"id": "le-2"})
    await samples.brains.decide(call)
    html = await drawn(stream)
    assert "by operator" in html
    await stream.aclose()
    with pytest.raises(Refusal) as refused:
        await samples.stream(page="brain")
    assert refused.value.status == 400


async def test_empty_pages_say_how_to_begin(samples: SamplePages) -> None:
    samples.brains.corrections, samples.brains.brains = [], []
    for page in ("page.corrections", "page.brains"):
        html = await samples.show(page)
        assert "brain.correct(" in html, page
        assert "HOLDFAST_API_KEY" in html, page
    assert "No lessons yet." in await samples.show("page.lessons")
    html = await samples.show("page.corrections", query={"text": "zzz"})
    assert "Nothing matches." in html


async def test_whatever_senders_wrote_is_escaped(samples: SamplePages) -> None:
    samples.brains.receive(
        correction(0, now_ms=NOW, draft=HOSTILE, final=f"a {HOSTILE}", category=HOSTILE[:40])
    )
    samples.pairing.come(
        channel(6, "in-0001", HOSTILE, now_ms=NOW, sender_name=HOSTILE, sender=HOSTILE)
    )
    samples.brains.lessons[0] = msgspec.structs.replace(samples.brains.lessons[0], text=HOSTILE)
    html = await samples.show("page.corrections", query={"text": "alert", "brain": "br-0"})
    html += await samples.show("page.correction", path={"id": "co-0000"})
    html += await samples.show("page.pairing")
    html += await samples.show("page.instance", path={"id": "in-0001"})
    html += await samples.show("page.lessons")
    html += await samples.show("page.brain", path={"id": "br-0"})
    assert "<script>alert" not in html
    assert html.count("&lt;script&gt;") > 8
    assert "' onload" not in html


async def test_all_of_a_correction_is_shown_on_its_page(samples: SamplePages) -> None:
    html = await samples.show("page.correction", OPERATOR, path={"id": "co-0004"})
    assert "left-out" not in html
    assert "1 word removed, 4 added" in html
    assert "ticket" in html
