"""The fleet in a real browser: filters, selection, live rows, keys, themes, a phone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Open
from tests.browser.harness import Served

CONTRAST_MIN = 4.5  # WCAG 2.2 AA for text

CONTRAST = Path(__file__).with_name("contrast.js").read_text().partition("\n")[2]


def expect_live(page: Page) -> None:
    expect(page.locator("[data-live-text]")).to_have_text("live")


def test_filter_sort_and_search(open_page: Open, served: Served) -> None:
    page = open_page()
    expect(page.locator("[data-row]")).to_have_count(60)
    badges = page.locator("[data-row] .badge")
    expect(badges.nth(0)).to_have_text("Parked")  # what hurts most stands first
    expect(badges.nth(2)).to_have_text("Silent")
    page.locator(".chip", has_text="Stopped").click()
    expect(page.locator("[data-row]")).to_have_count(5)
    expect(page).to_have_url(re.compile("health=stopped"))
    page.locator(".chip", has_text="Clear").click()
    page.get_by_role("link", name="Restarts").click()
    expect(page.locator("th[aria-sort]")).to_have_attribute("aria-sort", "descending")
    expect(page.locator("[data-row-link]").nth(0)).to_have_text("lumen-2")
    expect(page.locator("[data-row-link]").nth(1)).to_have_text("juniper")
    page.locator("#search").press_sequentially("otter")
    expect(page.locator("[data-row]")).to_have_count(2)
    expect(page).to_have_url(re.compile("sort=-restarts.*text=otter"))
    expect(page.locator("#search")).to_be_focused()
    expect_live(page)  # of the stream that belongs to the new filter
    page.locator("#search").fill("nobody is called so é")
    expect(page.locator("#fleet-rows")).to_contain_text("Nothing matches.")
    page.goto(served.url + "/?attention=true&text=&agent=")
    expect(page.locator("[data-row]")).to_have_count(2)


def test_a_change_arrives_without_loading_the_page_again(open_page: Open, served: Served) -> None:
    page = open_page()
    expect_live(page)
    page.evaluate("window.stayed = true")
    fleet = served.plane.fleet
    row = page.locator("#i-in-0001")
    page.get_by_label("Select birch", exact=True).check()
    served.run(lambda: fleet.change("in-0001", agent_ready=False))
    expect(row).to_contain_text("Not answering")
    served.run(lambda: fleet.change("in-0001", agent_ready=True, restarts=3))
    expect(row).to_contain_text("Ready")
    expect(page.get_by_label("Select birch", exact=True)).to_be_checked()
    served.run(lambda: fleet.change("in-0001", status="stopped", desired="stopped"))
    expect(page.locator(".chip", has_text="Stopped")).to_contain_text("6")
    assert page.evaluate("window.stayed")


def test_a_lost_connection_is_shown_and_found_again(
    open_page: Open, forgive: Callable[[str], None]
) -> None:
    page = open_page()
    expect_live(page)
    with page.expect_console_message(lambda message: "DISCONNECTED" in message.text):
        page.context.set_offline(True)
        page.evaluate("document.querySelector('[data-stream]')._htmx.sse.reader.cancel()")
    expect(page.locator("[data-live-text]")).to_have_text("reconnecting")
    page.context.set_offline(False)
    expect_live(page)
    forgive("ERR_INTERNET_DISCONNECTED")
    forgive("htmx:sse:error")


def test_many_are_ordered_at_once(open_page: Open, served: Served) -> None:
    page = open_page()
    expect_live(page)
    for name in ("amber", "basil", "xenon"):
        page.get_by_label(f"Select {name}", exact=True).check()
    bar = page.locator("[data-bulk]")
    expect(bar).to_contain_text("3 selected")
    bar.get_by_role("button", name="Stop").click()
    expect(page.locator("#toasts")).to_contain_text("Stop: 2 of 3 accepted")
    expect(page.locator("#toasts")).to_contain_text("It is being destroyed.")
    expect(bar).to_be_hidden()
    expect(page.locator("#i-in-0027")).to_contain_text("Stopped")
    assert served.plane.fleet.instances["in-0026"].desired == "stopped"


def test_a_new_instance_is_made_and_opened(open_page: Open) -> None:
    page = open_page()
    page.get_by_role("button", name="New instance").click()
    page.locator("#create").get_by_label("Name").fill("harbour")
    page.get_by_role("button", name="Create").click()
    page.wait_for_url("**/instances/in-0060")
    expect(page.locator("h1")).to_have_text("harbour")


def test_five_charts_are_drawn(open_page: Open) -> None:
    page = open_page()
    expect(page.locator(".fleet-charts canvas")).to_have_count(5)
    page.get_by_role("button", name="24h").click()
    expect(page.get_by_role("button", name="24h")).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".fleet-charts canvas")).to_have_count(5)


def test_everything_by_the_keyboard(open_page: Open) -> None:
    page = open_page()
    expect_live(page)
    for key in ("j", "j", "j", "k"):
        page.keyboard.press(key)
    expect(page.locator("[data-row-link]").nth(1)).to_be_focused()
    page.keyboard.press("x")
    expect(page.locator("[data-bulk]")).to_contain_text("1 selected")
    page.keyboard.press("/")
    expect(page.locator("#search")).to_be_focused()
    page.keyboard.press("j")
    expect(page.locator("#search")).to_have_value("j")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.keyboard.press("t")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url("**/instances/*")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read(open_page: Open, served: Served, theme: str) -> None:
    served.run(served.plane.pairing.fill)
    served.run(served.plane.brains.fill)
    page = open_page(color_scheme=theme)
    paths = (
        "/", "/instances/in-0001", "/operations", "/tokens", "/pairing", "/corrections",
        "/corrections/co-0004", "/brains", "/brains/br-2", "/lessons",
    )  # fmt: skip
    for path in paths:
        page.goto(served.url + path)
        found = page.evaluate(CONTRAST)
        assert len(found) > 20
        weak = [text for ratio, text in found if ratio < CONTRAST_MIN]
        assert weak == [], f"{path} in {theme}"


def test_a_phone_scrolls_one_way_only(open_page: Open, served: Served) -> None:
    served.run(served.plane.pairing.fill)
    served.run(served.plane.brains.fill)
    page = open_page(viewport={"width": 390, "height": 844}, has_touch=True)
    paths = (
        "/", "/instances/in-0001", "/pairing", "/corrections", "/corrections/co-0004", "/brains",
        "/brains/br-2", "/lessons", "/operations", "/operations/ev-0002", "/quarantine", "/tokens",
        "/audit", "/profile", "/?text=zzzz", "/sign-in",
    )  # fmt: skip
    for path in paths:
        page.goto(served.url + path)
        page.locator("main").wait_for()
        wide = page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        assert wide == 0, path
