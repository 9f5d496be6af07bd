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
    page.get_by_role("link", name=one.name).click()
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
