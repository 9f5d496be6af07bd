"""A budget on a whole plane: an observer that counts, a cap that pauses, one click to go on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from holdfast.wire.api.consent import ConsentGrant
from holdfast.wire.consent import TEXT_VERSION
from tests.browser.conftest import open_real_page
from tests.browser.test_fleet import expect_live
from tests.support.observed import Observed
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, plane_at

LONG_MS = 1_000 * patience(90)
"""Nobody looks at the node: its observer says what it counted once a minute."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    home = tmp_path_factory.mktemp("budgets") / "home"
    with plane_at(home, HOLDFAST_OBSERVERS="true") as made:
        yield made


@pytest.fixture
def page(browser: Browser, plane: PlaneProcess) -> Iterator[Page]:
    with open_real_page(browser, plane) as made:
        yield made


@pytest.mark.timeout(600)
def test_a_cap_pauses_an_agent_and_one_click_has_it_go_on(page: Page, plane: PlaneProcess) -> None:
    agent = Observed.created(plane, "spender")
    view = plane.view("spender")
    assert view is not None
    page.goto(f"{plane.url}/instances/{view.id}")
    expect_live(page)
    panel, header = page.locator("#budget"), page.locator("#instance-header")
    expect(panel).to_contain_text("Nothing limits what it may spend.")
    panel.get_by_role("button", name="Set a budget").click()
    dialog = page.locator("#set-budget")
    dialog.get_by_label("Money a month").fill("10.50")
    dialog.get_by_label("Tokens a day").fill("9000000")
    dialog.get_by_label("Pause the agent").check()
    dialog.get_by_role("button", name="Set").click()
    # Without counters it cannot work, and says so in the place of figures that nobody has.
    expect(panel).to_contain_text("Its owner lets no counters out, so nothing is measured")
    expect(panel).to_contain_text("$10.50 a month")
    expect(panel).to_contain_text("not known")
    expect(panel).to_contain_text("9M tokens a day")
    with plane.client() as client:
        body = ConsentGrant(classes=("counters",), backfill="everything", text_version=TEXT_VERSION)
        client.call("consent.grant", path={"id": agent.node.id}, body=body)
    agent.spend(12.25)
    expect(header.locator(".badge").first).to_have_text("Paused", timeout=LONG_MS)
    expect(header).to_contain_text("paused by its cap: its budget of $10.50 a month is used up")
    expect(panel).to_contain_text("$12.25")
    expect(panel).to_contain_text("116 %")
    expect(page.locator("#why")).to_contain_text("its cap paused it; it is still wanted running")
    expect(page.locator("#timeline")).to_contain_text("Spend alerted")
    expect(header.get_by_role("button", name="Start", exact=True)).to_be_disabled()
    page.goto(plane.url)
    row = page.locator("#fleet-rows tr").filter(has_text="spender")
    expect(row).to_contain_text("Paused")
    expect(row).to_contain_text("paused by its cap")
    said = plane.cli("budget", "show", "spender").stdout
    assert "$12.25" in said
    assert "116 %" in said
    page.goto(f"{plane.url}/instances/{view.id}")
    header.get_by_role("button", name="Go on").click()
    expect(header.locator(".badge").first).to_have_text("Ready", timeout=LONG_MS)
    expect(panel).to_contain_text("gone on with")
