"""The feed of corrections, brains and lessons in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from holdfast.kernel.clock import SystemClock
from tests.browser.conftest import Open
from tests.browser.harness import Served
from tests.browser.test_fleet import expect_live
from tests.support.sample_brains import correction


@pytest.fixture
def feed(open_page: Open, served: Served) -> Page:
    served.run(served.plane.brains.fill)
    page = open_page("/corrections")
    expect_live(page)
    return page


def receive(served: Served, at: int, **fields: object) -> None:
    now_ms = SystemClock().now_ms()
    served.run(lambda: served.plane.brains.receive(correction(at, now_ms=now_ms, **fields)))


def test_a_correction_shows_by_itself_marked_by_more_than_colour(
    feed: Page, served: Served
) -> None:
    feed.evaluate("window.stayed = true")
    receive(served, 100, draft="tea at noon", final="tea at one")
    entry = feed.locator("#c-co-0100")
    expect(entry.locator("del")).to_have_text("noon")
    expect(entry.locator("ins")).to_have_text("one")
    lines = entry.evaluate(
        "e => [...e.querySelectorAll('del, ins')].map(m => getComputedStyle(m).textDecorationLine)"
    )
    assert lines == ["line-through", "underline"]
    receive(served, 100, draft="tea at noon", final="tea at one", count=2)
    expect(entry).to_contain_text("2 times")
    for at in range(101, 145):
        receive(served, at)
    expect(feed.locator("#feed > li").first).to_have_id("c-co-0144")
    expect(feed.locator("#feed > li")).to_have_count(50)
    assert feed.evaluate("window.stayed")


def test_search_and_filters(feed: Page, served: Served) -> None:
    feed.locator("#search").press_sequentially("refund order")
    expect(feed.locator("#feed > li")).to_have_count(3)
    expect(feed).to_have_url(re.compile(r"text=refund\+order"))
    expect(feed.locator("#search")).to_be_focused()
    feed.evaluate("document.querySelector('.chip.clear').held = true")
    feed.locator(".chip", has_text="Clear").hover()
    feed.mouse.down()  # a person holds a button for longer than an answer takes
    feed.wait_for_timeout(400)
    assert feed.evaluate("document.querySelector('.chip.clear').held"), "what is clicked stays"
    feed.mouse.up()
    expect(feed.locator("#feed > li")).to_have_count(18)
    feed.locator(".chip", has_text="major").click()
    expect(feed.locator("#feed > li")).to_have_count(3)
    expect_live(feed)  # before that the filters have no listeners
    feed.locator("#brain").select_option("release-notes")
    expect(feed.locator("#feed")).to_contain_text("Nothing matches.")
    expect(feed).to_have_url(re.compile("severity=major"))
    feed.goto(served.url + "/corrections")
    expect_live(feed)
    feed.keyboard.press("j")
    feed.keyboard.press("Enter")
    feed.wait_for_url("**/corrections/co-0000")
    expect(feed.locator("h1")).to_have_text("Tone")


def test_the_first_correction_takes_the_place_of_the_words_on_how_to_begin(
    open_page: Open, served: Served
) -> None:
    page = open_page("/corrections")
    expect(page.locator("#feed")).to_contain_text("brain.correct(")
    expect_live(page)
    receive(served, 0)
    expect(page.locator("#feed > li")).to_have_count(1)
    expect(page.locator("#feed")).not_to_contain_text("brain.correct(")


def test_a_brain_shows_its_trend_senders_and_what_is_missing(
    open_page: Open, served: Served
) -> None:
    served.run(served.plane.brains.fill)
    page = open_page("/brains")
    expect(page.locator("#brain-alerts")).to_contain_text("1,412 corrections waiting")
    page.get_by_role("link", name="weekly-report").last.click()
    expect(page.locator(".charts canvas")).to_have_count(2)
    expect(page.locator("#brain-senders")).to_contain_text("388 to 393")
    expect(page.locator("#brain-senders")).to_contain_text("gradata/0.6.0")
    expect_live(page)
    receive(served, 200, brain="br-2", draft="tea at noon", final="tea at one")
    expect(page.locator("#brain-feed del").first).to_have_text("noon")


def test_a_key_is_shown_once_and_revoked(open_page: Open, served: Served) -> None:
    served.run(served.plane.brains.fill)
    page = open_page("/brains")
    page.get_by_role("button", name="New key").click()
    page.keyboard.type("desk")
    page.keyboard.press("Enter")
    expect(page.locator("[data-secret]")).to_have_text("hfb_" + "k" * 40)
    page.reload()
    assert "kkkk" not in page.content()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Revoke").click()
    expect(page.locator("#keys-part")).to_contain_text("revoked")
    assert served.plane.brains.keys[0].revoked_at


def test_lessons_are_decided_by_keyboard(open_page: Open, served: Served) -> None:
    served.run(served.plane.brains.fill)
    page = open_page("/lessons")
    expect_live(page)
    page.keyboard.press("j")
    page.keyboard.press("a")
    expect(page.locator("#lessons > li").first).to_contain_text("approved")
    page.keyboard.press("j")
    page.keyboard.press("d")
    expect(page.locator("#lessons > li").nth(1)).to_contain_text("rejected")
    assert [each.decision for each in served.plane.brains.lessons] == ["approved", "rejected", ""]
