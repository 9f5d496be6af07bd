"""A real Brain, a real plane, a real browser: what is recorded shows by itself."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Page, expect

from holdfast.sdk import Brain
from holdfast.wire.api.brains import BrainKeyCreate
from tests.browser.test_fleet import expect_live
from tests.support.planes import PlaneProcess


def test_what_a_brain_records_is_seen_searched_and_followed_to_its_sender(
    real_page: Page, real_plane: PlaneProcess, tmp_path: Path
) -> None:
    page, plane = real_page, real_plane
    page.goto(plane.url + "/brains")
    page.get_by_role("button", name="New key").click()
    page.keyboard.type("desk")
    page.keyboard.press("Enter")
    secret = page.locator("[data-secret]")
    expect(secret).not_to_be_empty()
    key = secret.inner_text()

    page.goto(plane.url + "/corrections")
    expect(page.locator("#feed")).to_contain_text("brain.correct(")
    expect_live(page)
    with Brain(str(tmp_path / "brain"), url=plane.url, api_key=key, name="desk") as brain:
        brain.correct("We ship on Monday.", "We ship on Friday.", category="FACTUAL")
        entry = page.locator("#feed > li").first
        expect(entry.locator("del")).to_have_text("Monday")
        expect(entry.locator("ins")).to_have_text("Friday")
        expect(entry).to_contain_text("factual")
        brain.correct("Tea is at noon.", "Tea is at one.")
        expect(page.locator("#feed > li")).to_have_count(2)

        page.locator("#search").fill("friday")
        expect(page).to_have_url(re.compile("text=friday"))  # a click before that would be undone
        expect(page.locator("#feed > li")).to_have_count(1)
        entry.get_by_role("link").last.click()
        expect(page.locator(".texts")).to_contain_text("We ship on Monday.")
        page.get_by_role("link", name="desk").click()
        expect(page.locator("h1")).to_contain_text("desk")
        expect(page.locator("#brain-senders")).to_contain_text("holdfast")
        expect(page.locator("#brain-senders")).to_contain_text("Nothing is missing")
        expect(page.locator(".charts .chart-place").first).to_be_visible()


def test_a_revoked_key_sends_no_more_and_loses_nothing(
    real_page: Page, real_plane: PlaneProcess, tmp_path: Path
) -> None:
    page, plane = real_page, real_plane
    with plane.client() as client:
        first = client.call("brain-key.create", body=BrainKeyCreate(name="old-key"))
        second = client.call("brain-key.create", body=BrainKeyCreate(name="new-key"))
    page.goto(plane.url + "/brains")
    page.on("dialog", lambda dialog: dialog.accept())
    page.locator("tr").filter(has_text="old-key").get_by_role("button", name="Revoke").click()
    expect(page.locator("tr").filter(has_text="old-key")).to_contain_text("revoked")
    page.goto(plane.url + "/corrections")
    expect_live(page)
    folder = str(tmp_path / "brain")
    with Brain(folder, url=plane.url, api_key=first.key) as brain:
        brain.correct("Milk is at noon.", "Milk is at two.")
        brain.flush(2)
    expect(page.locator("#feed ins").filter(has_text="two")).to_have_count(0)
    with Brain(folder, url=plane.url, api_key=second.key) as brain:
        brain.flush(5)
        expect(page.locator("#feed ins").filter(has_text="two")).to_have_count(1)
