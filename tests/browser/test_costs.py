"""The page of costs on a whole plane: live, by keys, on a phone, and honest about what it lacks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from holdfast.wire.api.content import NodeKeyCreate
from tests.browser.conftest import open_real_page
from tests.browser.test_fleet import expect_live
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, plane_at, until

LONG_MS = 1_000 * patience(30)


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    home = tmp_path_factory.mktemp("costs") / "home"
    home.mkdir(mode=0o700)
    with plane_at(home) as made:
        yield made


@pytest.fixture
def page(browser: Browser, plane: PlaneProcess) -> Iterator[Page]:
    with open_real_page(browser, plane) as made:
        yield made


def observer(page: Page, plane: PlaneProcess) -> Any:
    """Return what sends a day of a node that a person connects, until it is taken."""
    with plane.client() as client:
        made = client.call("node-key.create", body=NodeKeyCreate(name="k", account="local"))
    headers = {"x-api-key": made.key}
    today = str(datetime.now(UTC).date())  # the same one, should midnight pass

    def post(path: str, **body: Any) -> Any:
        url = f"{plane.url}{path}"
        return page.context.request.post(url, data=body, headers=headers)

    def send(tokens: int) -> None:
        model = {"model": "claude-opus-4-5", "turns": 2, "input": tokens}
        day = {"day": today, "models": [model, {"model": "x", "input": 5}]}

        def is_taken() -> bool:
            answer = post("/ingest/autonomy", node_id="laptop", snapshots=[day])
            return bool(answer.ok and answer.json().get("accepted", 1))

        until("the numbers are taken", is_taken)

    assert post("/auth", hostname="laptop").ok
    assert post("/ingest/heartbeat", node_id="laptop", version="0.1.0").ok
    return send


def test_costs_are_live_and_what_is_not_known_is_said(page: Page, plane: PlaneProcess) -> None:
    send = observer(page, plane)
    send(1_000_000)
    registered = {"hostname": "shut", "source": "kiloclaw"}
    assert page.context.request.post(f"{plane.url}/api/register", data=registered).ok
    page.goto(plane.url)
    page.keyboard.press("m")
    expect_live(page)
    expect(page.locator("nav a[aria-current]")).to_have_text("Costs")
    agents = page.locator("#cost-agents tr")
    expect(agents.filter(has_text="laptop").locator("[data-label='Cost'] b")).to_have_text("$5.00")
    shut = agents.filter(has_text="shut")
    expect(page.locator("#cost-totals")).to_contain_text("1M tokens")
    expect(page.locator("#cost-models tr").filter(has_text="x")).to_contain_text("no price")
    expect(shut).to_contain_text("Its owner has not let counters out.")
    expect(shut).to_contain_text("not known")
    expect(page.locator("#cost-notes")).to_contain_text("1 of 2 nodes lets no counters out")
    send(2_000_000)
    cost = agents.filter(has_text="laptop").locator("[data-label='Cost'] b")
    expect(cost).to_have_text("$10.00", timeout=LONG_MS)
    expect(page.locator(".bar-chart")).to_have_count(2)
    for width in (1280, 360):
        page.set_viewport_size({"width": width, "height": 740})
        for days in ("7", "30", "90", "365"):
            page.goto(f"{plane.url}/costs?days={days}")
            expect_live(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
    agents.filter(has_text="laptop").get_by_role("link", name="laptop").click()
    expect(page.locator("#class-counters .badge")).to_have_text("may leave", timeout=LONG_MS)
