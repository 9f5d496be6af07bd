"""The dashboard on a whole plane with a real agent in a real machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import open_real_page
from tests.browser.test_fleet import expect_live
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, plane_at

LONG_MS = 1_000 * patience(20)  # a machine starts or ends: seconds on a quiet computer


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[PlaneProcess]:
    with plane_at(tmp_path / "home") as made:
        made.cli("instance", "create", "demo")
        made.ready("demo")
        yield made


@pytest.fixture
def page(browser: Browser, plane: PlaneProcess) -> Iterator[Page]:
    with open_real_page(browser, plane) as made:
        made.goto(plane.url)
        yield made


def test_an_agent_dies_comes_back_is_stopped_and_destroyed_before_ones_eyes(
    page: Page, plane: PlaneProcess
) -> None:
    row = page.locator("#fleet-rows tr").filter(has_text="demo")
    expect_live(page)
    expect(row).to_contain_text("Ready")
    (agent,) = plane.agents()
    with plane.agent_down(agent):
        expect(row).to_contain_text("Crashing", timeout=LONG_MS)
    expect(row).to_contain_text("Recovering", timeout=LONG_MS)
    expect(row.locator("[data-label=Restarts]")).to_have_text("2", timeout=LONG_MS)

    row.get_by_role("link", name="demo").click()
    expect(page.locator("#log")).to_contain_text("[demo] listening")
    expect(page.locator("#why")).to_contain_text("ready again")
    expect(page.locator("#incidents")).to_contain_text("Back, not proven yet")
    page.get_by_role("button", name="Rehearse the next tick").click()
    expect(page.locator("#next-body")).to_contain_text("its agent to stay up for a while")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator("#instance-header .badge")).to_have_text("Stopped", timeout=LONG_MS)
    expect(page.locator("#timeline")).to_contain_text("A stop was asked for")

    page.get_by_role("button", name="Destroy", exact=True).click()
    page.locator("#destroy").get_by_role("textbox").fill("demo")
    page.keyboard.press("Enter")
    expect(page.locator("#destroy")).to_be_hidden()
    page.goto(plane.url)
    expect(page.locator("#fleet-rows")).to_contain_text("No instances yet.", timeout=LONG_MS)


def test_every_page_is_there(page: Page, plane: PlaneProcess) -> None:
    for path in ("/operations", "/quarantine", "/tokens", "/audit", "/profile", "/api/docs"):
        answer = page.goto(plane.url + path)
        assert answer is not None
        assert answer.status == 200, path
    page.goto(plane.url + "/operations")
    page.locator("[data-row-link]").first.click()
    expect(page.locator(".steps li").first).to_be_visible()
