"""The pages of towns in a real browser: live, scrubbed back, and ordered from, on a whole plane."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Page, expect

from holdfast.towns import events
from holdfast.towns.state import NewBead
from tests.browser.conftest import Open
from tests.browser.harness import Served
from tests.browser.test_fleet import expect_live
from tests.support.patience import patience
from tests.support.planes import PlaneProcess

LONG_MS = 1_000 * patience(20)
WIDTH = 390
PHONE: Any = {"viewport": {"width": WIDTH, "height": 844}, "has_touch": True, "is_mobile": True}


def scrub(page: Page, tick: int) -> None:
    """Move the slider of the town's past as a person's hand does."""
    page.locator("#tick").evaluate(
        """(it, tick) => { it.value = tick; for (const name of ["input", "change"])
        it.dispatchEvent(new Event(name, { bubbles: true })); }""",
        tick,
    )


def test_a_town_changes_before_ones_eyes_and_shows_its_past(
    open_page: Open, served: Served
) -> None:
    town = served.plane.town
    page = open_page(f"/towns/{town.id}")
    expect_live(page)
    board = page.locator("#town-board")
    expect(board.get_by_role("region", name="In progress")).to_contain_text("Polecat-4 works on it")
    bead = NewBead(id="bead-new", rig="shop", content="text-typo", priority=0, held=True)
    served.run(lambda: town.do(events.BeadCreated(bead=bead, by="olga")))
    opened = board.get_by_role("region", name="Open")
    expect(opened).to_contain_text("A typo in the footer")

    scrub(page, 9)
    expect(page.locator(".past")).to_contain_text("after tick 9")
    expect(page).to_have_url(re.compile(r"tick=9$"))
    expect(opened).not_to_contain_text("A typo in the footer")
    expect(page.get_by_role("button", name="Sling work")).to_have_count(0)
    page.get_by_role("link", name="Tick after").click()
    expect(page.locator(".past")).to_contain_text("after tick 10")
    page.get_by_role("link", name="Back to now").click()
    expect(opened).to_contain_text("A typo in the footer")


def test_the_panels_of_a_town_are_drawn_and_their_range_is_in_the_address(
    open_page: Open,
) -> None:
    page = open_page("/towns/town-orders?window=6h")
    panels = page.locator("#panels")
    expect(panels.locator("canvas")).to_have_count(6)
    expect(panels.locator("[aria-pressed=true]")).to_have_text("6h")
    expect(panels).to_contain_text("Calls to the outside per tick")
    actions = panels.locator("figure", has_text="Actions by type")
    expect(actions.locator(".key")).to_have_count(6)
    expect(actions).to_contain_text("3 others")
    expect(panels.locator("[data-passed=bad]")).to_have_text("latest 55")
    panels.get_by_role("button", name="24h").click()
    expect(page).to_have_url(re.compile(r"[?]window=24h$"))
    page.reload()
    expect(panels.locator("[aria-pressed=true]")).to_have_text("24h")
    page = open_page("/towns/town-orders?window=1h", **PHONE)
    expect(page.locator("#panels canvas")).to_have_count(6)
    assert page.evaluate("document.documentElement.scrollWidth") == WIDTH


def test_the_output_of_a_gate_stays_open_when_its_page_changes(
    open_page: Open, served: Served
) -> None:
    town = served.plane.town
    page = open_page(f"/towns/{town.id}")
    expect_live(page)
    page.get_by_role("link", name="What its gates said").click()
    expect_live(page)
    gate = page.locator("#bead-gates details").last
    gate.locator("summary").click()
    expect(gate.locator("pre")).to_contain_text("assert total == 12")
    served.run(lambda: town.do(events.BeadCancelled(town.request_of("bead-typo"), "failed")))
    expect(page.locator("#bead-head .badge").first).to_have_text("Failed")
    expect(gate.locator("pre")).to_be_visible()


def test_a_bead_is_found_by_the_keyboard_and_says_why_it_waits(open_page: Open) -> None:
    page = open_page("/towns")
    expect_live(page)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect_live(page)
    page.keyboard.press("j")
    expect(page.get_by_role("link", name="Help request", exact=True)).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("#bead-why .lead")).to_have_text("It waits for 2 other beads.")
    expect(page.locator("#bead-why")).to_contain_text("Import the old orders")


def test_a_town_fits_a_phone_and_reads_without_scripts(open_page: Open) -> None:
    for path in ("/towns", "/towns/town-orders", "/towns/town-orders/beads/bead-typo"):
        page = open_page(path, **PHONE)
        expect_live(page)
        assert page.evaluate("document.documentElement.scrollWidth") == WIDTH
    page = open_page("/towns/town-orders?tick=14", java_script_enabled=False)
    expect(page.locator(".past")).to_contain_text("after tick 14")
    expect(page.locator("#town-convoys svg a")).to_have_count(5)
    expect(page.get_by_role("button", name="Look at that tick")).to_be_visible()


def add_rig(page: Page) -> None:
    """Add a rig with two gates by the form, one of which has a word with white space."""
    page.get_by_role("button", name="Add a rig").click()
    rig = page.locator("#new-rig")
    rig.get_by_label("Name").fill("web")
    rig.get_by_label("Repository").fill("https://git.example/web.git")
    rig.get_by_label("Gates, one a line").fill('test: make test\nlint: ruff check "a b"')
    with page.expect_navigation(timeout=LONG_MS):  # the page is read anew, with its rig
        rig.get_by_role("button", name="Set it").click()
    expect(page.locator("#town-limits")).to_contain_text("gates test, lint", timeout=LONG_MS)


def test_a_town_is_made_and_ordered_from_its_pages(
    real_page: Page, real_plane: PlaneProcess
) -> None:
    page = real_page
    page.goto(f"{real_plane.url}/towns")
    expect_live(page)
    page.get_by_role("button", name="New town").click()
    page.locator("#new-town").get_by_label("Name").fill("shop")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="shop")).to_be_visible()
    expect(page.locator("#town-board")).to_contain_text("holdfast rig add")
    add_rig(page)

    page.get_by_role("button", name="New convoy").click()
    convoy = page.locator("#new-convoy")
    convoy.get_by_label("Title").fill("Orders")
    convoy.get_by_label("Tasks, one a line").fill("Schema\nSearch\nPage (after 1, 2)")
    convoy.get_by_label("Wait until it is started").check()
    convoy.get_by_role("button", name="Make it").click()
    expect(page.locator("#town-convoys svg a")).to_have_count(3)
    expect(page.locator("#town-convoys .edge")).to_have_count(2)
    page.get_by_role("button", name="Sling work").click()
    sling = page.locator("#sling")
    sling.get_by_label("Title").fill("Fix the <login>")
    sling.get_by_label("What is to be done").fill("It fails.")
    sling.get_by_label("Hold it back").check()
    sling.get_by_role("button", name="Sling it").click()
    card = page.get_by_role("link", name="Fix the <login>").first
    card.click()
    expect(page.locator("#bead-why .lead")).to_have_text("Somebody holds it back.")
    expect(page.locator("#bead-lines")).to_contain_text("Was made")
    page.get_by_role("button", name="Let it go").click()
    expect(page.locator("#bead-lines")).to_contain_text("Is let go", timeout=LONG_MS)
    page.get_by_role("link", name="shop", exact=True).click()

    page.get_by_role("button", name="Rehearse the next tick").click()
    expect(page.locator("#next-body .lead")).to_contain_text("tick", timeout=LONG_MS)
    page.get_by_label("Figure").select_option("breaker_failures")
    page.get_by_role("button", name="Compare").click()
    expect(page.locator("#what-if-body")).to_contain_text("failed attempts: 1", timeout=LONG_MS)
    scrub(page, 2)
    expect(page.locator(".past")).to_contain_text("after tick 2", timeout=LONG_MS)
    expect(page.locator("#town-board")).not_to_contain_text("Fix the <login>")
    page.get_by_role("link", name="Back to now").click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Drain").click()
    expect(page.locator("#town-head")).to_contain_text("It drains")
    page.get_by_role("button", name="End the drain").click()
    expect(page.locator("#town-head")).not_to_contain_text("It drains")
    expect(page.locator("#panels canvas").first).to_be_visible(timeout=LONG_MS)
