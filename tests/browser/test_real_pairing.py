"""People write to a real agent in a real machine, and are let in from a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.people import DemoAgent
from tests.browser.test_fleet import expect_live
from tests.support.patience import patience
from tests.support.planes import PlaneProcess

# The demo agent decides by a command line, which takes a second on a quiet computer.
LONG_MS = 1_000 * patience(20)


@pytest.fixture(scope="module")
def agent(real_plane: PlaneProcess) -> DemoAgent:
    return DemoAgent(real_plane, "demo")


@pytest.fixture
def page(real_page: Page, real_plane: PlaneProcess, agent: DemoAgent) -> Page:
    assert agent.name == "demo"  # it runs before anybody looks
    real_page.goto(real_plane.url + "/pairing")
    expect_live(real_page)
    return real_page


def test_somebody_writes_is_seen_is_approved_and_is_answered(page: Page, agent: DemoAgent) -> None:
    expect(page.locator("#inbox")).to_contain_text("Nobody is waiting.")
    said = agent.hears("ada")
    row = page.locator("[data-row]").filter(has_text="ada")
    expect(row).to_contain_text("Chat on demo", timeout=LONG_MS)
    code = row.locator(".ask-code").inner_text()
    assert code in said
    expect(page.locator("#waiting")).to_contain_text("1")
    row.get_by_role("button", name="Approve ada", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("Approved ada", timeout=LONG_MS)
    expect(row).to_have_count(0)
    expect(page.locator(".decisions")).to_contain_text("ada")
    expect(page.locator(".decisions")).to_contain_text("approved")
    assert "pong: hello" in agent.hears("ada", "hello")


def test_with_the_keyboard_alone_and_remembered(page: Page, agent: DemoAgent) -> None:
    agent.hears("bob")
    expect(page.locator("[data-row]").filter(has_text="bob")).to_be_visible(timeout=LONG_MS)
    page.keyboard.press("j")
    page.keyboard.press("r")
    expect(page.locator("#remember")).to_contain_text("bob")
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Approved bob", timeout=LONG_MS)
    expect(page.locator("#inbox")).to_contain_text("Nobody is waiting.")
    assert "pong: hello" in agent.hears("bob", "hello")

    agent.is_knocked_at()
    device = page.locator("[data-row]").filter(has_text="A device on demo")
    expect(device).to_be_visible(timeout=LONG_MS)
    page.keyboard.press("j")
    page.keyboard.press("d")
    expect(device).to_have_count(0, timeout=LONG_MS)
    expect(page.locator(".decisions li").first).to_contain_text("dismissed")

    page.get_by_role("link", name="demo").first.click()
    expect(page.locator("#policy")).to_contain_text("Let in bob, on Chat")
    expect(page.locator("#policy")).to_contain_text("Rules decide first")
    page.get_by_text("How each channel stands").click()
    expect(page.locator("#sources")).to_contain_text("Devices", timeout=LONG_MS)


def test_the_page_tells_of_recovery_and_asks_the_machine(page: Page, agent: DemoAgent) -> None:
    page.goto(f"{agent.plane.url}/instances/{agent.id}")
    expect(page.locator("#recovery")).to_contain_text("not needed")
    with page.expect_popup() as opened:
        page.get_by_role("link", name="Open its page").click()
    expect(opened.value.locator("body")).to_contain_text("Demo agent", timeout=LONG_MS)
    expect(opened.value).not_to_have_url(re.compile("^" + re.escape(agent.plane.url)))
    opened.value.close()
    page.get_by_text("Ask its machine").click()
    expect(page.locator("#care")).to_contain_text("Doctor", timeout=LONG_MS)
    page.get_by_role("button", name="Set Telegram").click()
    page.keyboard.type("123456:telegram-token-of-a-test")
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Replace Telegram")).to_be_visible(timeout=LONG_MS)
    assert "telegram-token-of-a-test" not in page.content()
    expect(page.locator("#secrets")).to_contain_text("when it is restarted")
