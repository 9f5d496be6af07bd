"""Signing in and out, passwords, tokens, the audit, in a real browser."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.conftest import Open
from tests.browser.harness import PASSWORD, Served
from tests.support.walk import SESSION_NAME

Forgive = Callable[[str], None]


def test_a_link_signs_in_once_and_only_by_its_button(
    open_page: Open, served: Served, forgive: Forgive
) -> None:
    link = served.link().removeprefix(served.url)
    page = open_page(link, person="")
    assert page.context.cookies() == []
    page.reload()
    assert page.context.cookies() == []
    page.get_by_role("button", name="Sign in").first.click()
    page.wait_for_url(served.url + "/")
    (cookie,) = page.context.cookies()
    assert (cookie.get("name"), cookie.get("httpOnly")) == (SESSION_NAME, True)
    again = open_page(link, person="")
    again.get_by_role("button", name="Sign in").first.click()
    expect(again.locator(".form-error").first).to_be_visible()
    expect(again).not_to_have_url(re.compile("link="))  # a used secret does not stay there
    forgive("401")


def test_who_is_not_signed_in_is_led_to_the_sign_in_page_and_back(
    open_page: Open, served: Served, forgive: Forgive
) -> None:
    page = open_page("/profile")
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("#toasts")).to_contain_text("The password is set")
    page.locator("details.menu summary").click()
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/sign-in")
    page.goto(served.url + "/operations")
    page.wait_for_url("**/sign-in?next=/operations")
    page.get_by_label("Name").fill("operator")
    page.get_by_label("Password").fill("wrong wrong wrong")
    page.keyboard.press("Enter")
    expect(page.locator(".form-error")).to_be_visible()
    forgive("401")
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    page.wait_for_url("**/operations")
    expect(page.get_by_role("heading", name="Operations")).to_be_visible()


def test_an_owner_sees_their_own_fleet(open_page: Open, served: Served, forgive: Forgive) -> None:
    page = open_page(person="olga")
    expect(page.locator("#fleet-pager")).to_contain_text("45 of 45")
    expect(page.get_by_role("link", name="Quarantine")).to_have_count(0)
    page.goto(served.url + "/instances/in-0000")
    expect(page.locator("h1")).to_have_text("There is no such instance.")
    forgive("404")
    page.goto(served.url + "/instances/in-0001")
    expect(page.get_by_role("heading", name="What happens next?")).to_have_count(0)


def test_a_token_is_shown_once_and_can_be_revoked(open_page: Open) -> None:
    page = open_page("/tokens")
    page.get_by_role("button", name="New token").click()
    page.get_by_label("Name", exact=True).fill("nightly-report")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator("[data-secret]")).to_contain_text("hf_")
    page.reload()
    expect(page.locator("[data-secret]")).to_be_hidden()
    row = page.get_by_role("row").filter(has_text="nightly-report")
    page.once("dialog", lambda dialog: dialog.accept())
    row.get_by_role("button", name="Revoke").click()
    expect(row).to_contain_text("revoked")


def test_the_audit_tells_and_verifies(open_page: Open) -> None:
    page = open_page("/audit")
    expect(page.get_by_role("row").filter(has_text="session.link").first).to_be_visible()
    page.get_by_role("button", name="Verify the chain").click()
    expect(page.locator("#toasts")).to_contain_text("holds")


def test_without_scripts_pages_can_be_read(open_page: Open) -> None:
    page = open_page(java_script_enabled=False)
    expect(page.locator("[data-row]")).to_have_count(60)
    page.locator(".chip", has_text="Stopped").click()
    expect(page.locator("[data-row]")).to_have_count(5)
    page.get_by_role("link", name="coral", exact=True).click()
    expect(page.locator("#timeline")).to_contain_text("Instance created")
