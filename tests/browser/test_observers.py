"""From an instance to what its agent did, in a browser, with the observer that its machine runs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from holdfast.machine.observer.run import lock_folder
from tests.browser.conftest import open_real_page
from tests.browser.test_fleet import expect_live
from tests.support.observed import Observed
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, plane_at, until

LONG_MS = 1_000 * patience(20)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    home = tmp_path_factory.mktemp("watched") / "home"
    with plane_at(home, HOLDFAST_OBSERVERS="true") as made:
        yield made


@pytest.fixture
def page(browser: Browser, plane: PlaneProcess) -> Iterator[Page]:
    with open_real_page(browser, plane) as made:
        made.goto(plane.url)
        yield made


def observability(page: Page, plane: PlaneProcess, one: Observed) -> None:
    page.goto(plane.url)
    page.get_by_role("link", name=one.name, exact=True).click()
    page.get_by_role("link", name="Observability").click()
    # Its node is there already, so that page leads on to it at once.
    expect(page).to_have_url(re.compile(r"/nodes/nd_"), timeout=LONG_MS)
    expect_live(page)


def test_a_yes_on_the_page_lets_content_out_and_a_no_stops_it(
    page: Page, plane: PlaneProcess
) -> None:
    one = Observed.created(plane, "watched")
    one.say("MARKER-before")
    observability(page, plane, one)
    assert one.sizes() == (0, 0)

    page.get_by_role("button", name="Allow…").click()
    dialog = page.locator("#grant")
    dialog.get_by_label("Transcripts").check()
    dialog.get_by_label("Older content").select_option("everything")
    dialog.get_by_role("button", name="Let it leave").click()
    expect(page.locator("#class-transcripts .badge")).to_have_text("may leave", timeout=LONG_MS)
    until("the marker arrives", lambda: "MARKER-before" in one.arrived(), seconds=20)

    page.once("dialog", lambda asked: asked.accept())
    row = page.locator("#class-transcripts")
    row.get_by_role("button", name="Revoke transcripts", exact=True).click()
    expect(row.locator(".badge")).to_have_text("revoked", timeout=LONG_MS)
    until("the gate is closed", lambda: one.told("gate.closed"), seconds=20)


def view_observability(page: Page, plane: PlaneProcess, name: str) -> None:
    page.goto(plane.url)
    page.get_by_role("link", name=name).click()
    page.get_by_role("link", name="Observability").click()


def test_the_way_to_a_node_works_in_every_phase_and_leads_on_by_itself(
    page: Page, plane: PlaneProcess
) -> None:
    plane.cli("instance", "create", "walked", "--stopped")
    view_observability(page, plane, "walked")
    shown = page.locator("#observability")
    expect(shown).to_contain_text("It has never been started.")
    expect_live(page)
    plane.cli("instance", "start", "walked")
    # Nothing is clicked: it starts, registers, and the page leads on to the node.
    expect(page).to_have_url(re.compile(r"/nodes/nd_"), timeout=LONG_MS)
    expect(page.get_by_role("heading", level=1)).to_have_text("walked")
    head = page.locator("#node-head")
    expect(head).not_to_contain_text("waiting for its first heartbeat", timeout=LONG_MS)
    plane.cli("instance", "stop", "walked")
    view_observability(page, plane, "walked")
    expect(page).to_have_url(re.compile(r"/nodes/nd_"), timeout=LONG_MS)
    expect(page.locator("#node-why li").first).to_be_visible()
    found = plane.json("nodes", "list")
    assert "walked" in [one["title"] for one in found]
    assert plane.json("nodes", "show", "walked")["node"]["title"] == "walked"


def test_where_observers_are_off_the_way_says_so_and_what_to_do(
    real_page: Page, real_plane: PlaneProcess
) -> None:
    real_plane.cli("instance", "create", "unwatched")
    real_plane.ready("unwatched")
    view_observability(real_page, real_plane, "unwatched")
    shown = real_page.locator("#observability")
    expect(shown).to_contain_text("No observer runs beside its agent", timeout=LONG_MS)
    expect(shown).to_contain_text("put right what is named above")
    expect(shown).not_to_contain_text("within a minute")


def test_an_observer_that_stopped_is_named_with_its_reason(page: Page, plane: PlaneProcess) -> None:
    one = Observed.created(plane, "stopped")
    one.running().kill()
    held: int = until(
        "its folder is free", lambda: lock_folder(one.folder / "state/observer"), seconds=10
    )
    try:
        observability(page, plane, one)
        shown = page.locator("#node-head")
        expect(shown).to_contain_text("Its observer stopped", timeout=LONG_MS)
        expect(shown).to_contain_text("another observer holds its folder", timeout=LONG_MS)
        told = plane.json("doctor")["checks"]
        (check,) = [one for one in told if one["name"] == "observers"]
        assert (check["result"], "holds its folder" in check["message"]) == ("warning", True)
    finally:
        os.close(held)
    until("it runs again", lambda: len(one.told("observer.started")) == 2, seconds=30)
