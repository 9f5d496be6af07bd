"""The inbox in a real browser: live rows, decisions by mouse, keyboard and touch."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from holdfast.kernel.clock import DAY_MS, HOUR_MS, SystemClock
from holdfast.web.parts.moments import parse_ms
from holdfast.wire.api.call import Refusal
from tests.browser.conftest import Open
from tests.browser.harness import Served
from tests.browser.test_fleet import expect_live
from tests.support.sample_pairing import channel, device


@pytest.fixture
def inbox(open_page: Open, served: Served) -> Page:
    served.run(served.plane.pairing.fill)
    page = open_page("/pairing")
    expect_live(page)
    return page


def waiting(served: Served) -> list[str]:
    return sorted(served.plane.pairing.waiting)


def test_a_request_comes_is_approved_and_its_decision_stays(inbox: Page, served: Served) -> None:
    inbox.evaluate("window.stayed = true")
    now_ms = SystemClock().now_ms()
    served.run(
        lambda: served.plane.pairing.come(
            channel(3, "in-0002", "cedar", now_ms=now_ms, sender_name="Mika")
        )
    )
    row = inbox.locator("[data-row]").filter(has_text="Mika")
    expect(row).to_be_visible()
    expect(inbox.locator("#waiting")).to_contain_text("4")
    expect(row.locator("time[data-until]")).to_contain_text("min")
    row.get_by_role("button", name="Approve Mika", exact=True).click()
    expect(inbox.locator("#toasts")).to_contain_text("Approved Mika")
    expect(row).to_have_count(0)
    expect(inbox.locator(".decisions")).to_contain_text("Mika")
    expect(inbox.locator(".decisions li").first).to_contain_text("by operator")
    expect(inbox.locator("#waiting")).to_contain_text("3")
    expect(inbox.locator("#inbox-said")).to_contain_text("3 wait")
    assert inbox.evaluate("window.stayed")
    assert len(waiting(served)) == 3


def test_a_press_is_not_lost_to_what_is_redrawn_meanwhile(inbox: Page, served: Served) -> None:
    inbox.evaluate(
        "() => { window.told = new Promise((resolve) =>"
        " document.addEventListener('htmx:sse:before:message', resolve)); }"
    )
    button = inbox.get_by_role("button", name="Approve Ana Souza", exact=True)
    box = button.bounding_box()
    assert box is not None
    inbox.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    inbox.mouse.down()  # then comes a row above it, which moves it down
    now_ms = SystemClock().now_ms()
    served.run(
        lambda: served.plane.pairing.come(
            channel(3, "in-0002", "cedar", now_ms=now_ms, sender_name="Mika")
        )
    )
    inbox.evaluate("window.told.then(() => new Promise((resolve) => setTimeout(resolve, 100)))")
    inbox.mouse.up()
    expect(inbox.locator("#toasts")).to_contain_text("Approved Ana Souza")
    expect(inbox.locator("#inbox")).to_contain_text("Mika")


def test_what_became_another_request_since_it_was_shown_is_not_let_in(
    inbox: Page, served: Served, forgive: Callable[[str], None]
) -> None:
    now_ms = SystemClock().now_ms()
    asked = device(7, "in-0001", "birch", now_ms=now_ms, fingerprint="00000000000000bb")
    served.plane.pairing.waiting[asked.request_id] = asked  # the page was not notified of it
    row = inbox.locator("[data-row].device")
    row.get_by_role("button", name="Approve openclaw-control-ui", exact=True).click()
    expect(inbox.locator("#toasts")).to_contain_text("The request is not what it was")
    assert asked.request_id in waiting(served)
    forgive("409")


def test_with_the_keyboard_alone(inbox: Page, served: Served) -> None:
    rows = inbox.locator("[data-row]")
    inbox.keyboard.press("a")  # no request was opened yet, so none is approved
    inbox.keyboard.press("j")
    inbox.keyboard.press("j")
    expect(rows.nth(1).locator("[data-row-link]")).to_be_focused()
    inbox.keyboard.press("a")
    expect(rows).to_have_count(2)
    expect(inbox.locator(".decisions")).to_contain_text("jonas#4412")
    expect(rows.nth(1).locator("[data-row-link]")).to_be_focused()  # the next one, by itself
    inbox.keyboard.press("d")
    expect(rows).to_have_count(1)
    expect(inbox.locator(".decisions")).to_contain_text("dismissed")
    inbox.keyboard.press("?")
    expect(inbox.locator("#keys")).to_contain_text("approve it and remember")
    inbox.keyboard.press("Escape")
    inbox.keyboard.press("r")
    expect(inbox.locator("#remember")).to_contain_text("openclaw-control-ui")
    inbox.keyboard.press("Escape")
    expect(inbox.locator("#remember")).to_be_hidden()
    assert len(waiting(served)) == 1
    inbox.keyboard.press("r")
    inbox.keyboard.press("Enter")
    expect(inbox.locator("#inbox")).to_contain_text("No request is known.")
    policy = served.plane.pairing.policies["in-0001"]
    assert policy.mode == "rules"
    assert len(policy.rules) == 1


def test_what_cannot_be_decided_says_what_to_do(
    inbox: Page, served: Served, forgive: Callable[[str], None]
) -> None:
    served.plane.pairing.refusal = Refusal(
        504, "timeout", "The agent did not answer in time.", fix="Look at its log, then try again."
    )
    row = inbox.locator("[data-row]").filter(has_text="Ana Souza")
    row.get_by_role("button", name="Dismiss").click()
    expect(inbox.locator("#toasts")).to_contain_text("The agent did not answer in time.")
    expect(inbox.locator("#toasts")).to_contain_text("Look at its log, then try again.")
    expect(row.get_by_role("button", name="Approve Ana Souza", exact=True)).to_be_enabled()
    row.get_by_role("button", name="Approve Ana Souza and remember").click()
    inbox.locator("#remember").get_by_role("button", name="Approve and remember").click()
    expect(inbox.locator("#remember .form-error")).to_contain_text("did not answer in time")
    expect(inbox.locator("#remember")).to_be_visible()
    assert len(waiting(served)) == 3
    forgive("504")


def test_on_a_phone_it_is_decided_by_touch(open_page: Open, served: Served) -> None:
    served.run(served.plane.pairing.fill)
    page = open_page("/pairing", viewport={"width": 390, "height": 844}, has_touch=True)
    expect_live(page)
    button = page.get_by_role("button", name="Approve Ana Souza", exact=True)
    box = button.bounding_box()
    assert box is not None
    assert box["height"] >= 44
    button.tap()
    expect(page.locator(".decisions")).to_contain_text("Ana Souza")


def test_a_request_whose_time_is_over_leaves_by_itself(open_page: Open, served: Served) -> None:
    page = open_page("/pairing")
    expect_live(page)
    now_ms = SystemClock().now_ms()
    ends = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(now_ms / 1_000 + 2))
    served.run(
        lambda: served.plane.pairing.come(
            channel(0, "in-0001", "birch", now_ms=now_ms, expires_at=ends)
        )
    )
    row = page.locator("[data-row]")
    expect(row).to_be_visible()
    expect(page.locator("#inbox")).to_contain_text("Nobody is waiting.")  # without a reload


def test_an_instances_page_decides_sets_tokens_and_rules(open_page: Open, served: Served) -> None:
    pairing = served.plane.pairing
    served.run(pairing.fill)
    page = open_page("/instances/in-0001#pairing")
    expect_live(page)
    page.get_by_text("How each channel stands").click()
    expect(page.locator("#sources")).to_contain_text("the store has a layout")
    page.get_by_role("button", name="Approve Ana Souza", exact=True).click()
    expect(page.locator("#instance-inbox .decisions")).to_contain_text("Ana Souza")

    page.get_by_role("button", name="Set Discord").click()
    page.keyboard.type("s3cret-token")
    page.keyboard.press("Enter")
    expect(page.locator("#toasts")).to_contain_text("Discord set")
    expect(page.get_by_role("button", name="Replace Discord")).to_be_visible()
    assert "discordBotToken" in pairing.secrets["in-0001"]
    assert "s3cret-token" not in page.content()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Remove Telegram").click()
    expect(page.get_by_role("button", name="Set Telegram")).to_be_visible()
    assert "telegramBotToken" not in pairing.secrets["in-0001"]

    page.get_by_role("button", name="New rule").click()
    page.keyboard.type("84120000")
    page.get_by_label("Ends").select_option("7")
    page.keyboard.press("Tab")
    page.get_by_role("button", name="Add it").click()
    expect(page.locator("#policy")).to_contain_text("Let in 84120000, on Telegram")
    expect(page.locator("#policy")).to_contain_text("Rules decide first")
    expect(page.locator("#policy .rules")).to_contain_text("until 20")
    (rule,) = pairing.policies["in-0001"].rules
    assert rule.expires_at is not None
    left_ms = parse_ms(rule.expires_at) - SystemClock().now_ms()
    assert abs(left_ms - 7 * DAY_MS) < HOUR_MS
    page.get_by_role("button", name="Remove the rule").click()
    expect(page.locator("#policy .rules")).to_have_count(0)
    page.get_by_role("button", name="Let people decide everything").click()
    expect(page.locator("#policy")).to_contain_text("People decide")
    assert pairing.policies["in-0001"].mode == "manual"
