"""The pages of nodes on a whole plane: what may leave is said, chosen, and taken back."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from holdfast.wire.consent import from_base64url
from tests.browser.conftest import open_real_page
from tests.browser.test_fleet import expect_live
from tests.support.nodes import register_nodes
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, plane_at

LONG_MS = 1_000 * patience(20)
CLASSES = ("counters", "metadata", "transcripts", "logs", "memory", "files")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    home = tmp_path_factory.mktemp("nodes") / "home"
    home.mkdir(mode=0o700)
    with ThreadPoolExecutor(1) as thread:  # the browser's driver has this thread's event loop
        thread.submit(asyncio.run, register_nodes(home, ("laptop", "phone"))).result()
    with plane_at(home) as made:
        made.cli("instance", "create", "resting", "--stopped")
        yield made


@pytest.fixture
def page(browser: Browser, plane: PlaneProcess) -> Iterator[Page]:
    with open_real_page(browser, plane) as made:
        made.goto(f"{plane.url}/nodes")
        yield made


def decoded(payload: str) -> dict[str, str]:
    """Return what a receipt says."""
    said = dict(json.loads(from_base64url(payload)))
    assert said["type"] == "receipt"
    return said


def test_nothing_may_leave_before_a_yes_and_less_after_a_no(
    page: Page, plane: PlaneProcess, tmp_path: Path
) -> None:
    expect_live(page)
    row = page.locator("#nodes tr").filter(has_text="laptop")
    expect(row).to_contain_text("Waiting for a yes")
    expect(row.locator("[data-label='May leave']")).to_have_text("nothing")
    expect(row.locator(".badge.ok")).to_have_count(0)
    row.get_by_role("link", name="laptop").click()
    expect_live(page)
    expect(page.locator("#node-why")).to_contain_text("Nobody has decided about: counters")
    for name in CLASSES:
        expect(page.locator(f"#class-{name}")).to_contain_text("not decided")
    expect(page.locator("#node-classes .badge.ok")).to_have_count(0)
    expect(page.locator("#node-head")).to_contain_text("First by", timeout=LONG_MS)
    expect(page.locator("#class-transcripts")).to_contain_text("What was said and done")

    page.get_by_role("button", name="Allow…").click()
    dialog = page.locator("#grant")
    dialog.get_by_label("Counters").focus()
    page.keyboard.press("Space")
    dialog.get_by_label("Logs").check()
    dialog.get_by_label("Older content").select_option("7")
    dialog.get_by_label("For how long").select_option("30")
    dialog.get_by_role("button", name="Let it leave").press("Enter")
    expect(dialog).to_be_hidden()
    for name in ("counters", "logs"):
        expect(page.locator(f"#class-{name} .badge")).to_have_text("may leave", timeout=LONG_MS)
    expect(page.locator("#class-logs")).to_contain_text("older content since")
    expect(page.locator("#class-memory .badge")).to_have_text("not decided")
    expect(page.locator("#node-receipts")).to_contain_text("counters, logs", timeout=LONG_MS)

    page.once("dialog", lambda asked: asked.dismiss())
    page.locator("#class-logs").get_by_role("button", name="Revoke logs", exact=True).click()
    expect(page.locator("#class-logs .badge")).to_have_text("may leave")
    page.once("dialog", lambda asked: asked.accept())
    page.locator("#class-logs").get_by_role("button", name="Revoke and delete logs").click()
    expect(page.locator("#class-logs .badge")).to_have_text("revoked", timeout=LONG_MS)
    expect(page.locator("#node-receipts")).to_contain_text("0 of logs", timeout=LONG_MS)
    with page.expect_download() as download:
        page.get_by_role("link", name="Download all").click()
    saved = tmp_path / "receipts.json"
    download.value.save_as(saved)
    documents = json.loads(saved.read_text())["receipts"]
    assert len(documents) == 3
    credentials = {decoded(one["payload"])["credential"] for one in documents}
    assert credentials == {"session:operator"}, "a session is named by its person, not its hash"
    expect(page.locator("#node-receipts")).to_contain_text("session:operator")
    verified = plane.cli("consent", "verify", str(saved), "--plane")
    assert "4 documents are genuine" in verified.stderr
    page.goto(f"{plane.url}/nodes")
    expect(page.locator("#nodes-counts")).to_contain_text("2 registered, 1 with something granted")


def test_an_empty_choice_is_refused_in_words(page: Page) -> None:
    page.get_by_role("link", name="phone").click()
    expect_live(page)
    page.get_by_role("button", name="Allow…").click()
    page.locator("#grant").get_by_role("button", name="Let it leave").click()
    expect(page.locator("#grant .form-error")).to_have_text("Choose at least one class.")
    page.keyboard.press("Escape")
    expect(page.locator("#grant")).to_be_hidden()


def test_on_a_phone_nothing_is_wider_than_the_screen(page: Page, plane: PlaneProcess) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    for name in ("laptop", "phone"):
        page.goto(f"{plane.url}/nodes")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.get_by_role("link", name=name).click()
        expect_live(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_observability_of_an_instance_without_a_node_names_what_is_waited_for(
    page: Page, plane: PlaneProcess
) -> None:
    page.goto(plane.url)
    page.get_by_role("link", name="resting").click()
    page.get_by_role("link", name="Observability").click()
    expect(page).to_have_url(re.compile(r"/observability$"))
    expect(page.locator("#observability")).to_contain_text("Waiting for its machine to register")
    expect(page.locator("#observability")).to_contain_text("nothing leaves it")
