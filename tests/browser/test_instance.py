"""The page of one instance, and the pages that are lists, in a real browser."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from playwright.sync_api import Route, expect

from holdfast.kernel.clock import SystemClock
from holdfast.wire.api.instances import Climb, RecoveryView, StartPhase, StartView
from holdfast.wire.times import time_text
from tests.browser.conftest import Open
from tests.browser.harness import Served
from tests.browser.test_fleet import expect_live


def test_orders_are_given_and_their_results_said(
    open_page: Open, served: Served, forgive: Callable[[str], None]
) -> None:
    page = open_page("/instances/in-0001")
    expect_live(page)
    expect(page.get_by_role("link", name="Open its page")).to_have_attribute(
        "href", "/instances/in-0001/open"
    )
    page.get_by_role("button", name="Restart").click()
    expect(page.locator("#toasts")).to_contain_text("still under way")
    expect(page.locator("#toasts").get_by_role("link", name="Follow it")).to_have_attribute(
        "href", "/operations/ev-0001"
    )
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("#toasts")).to_contain_text("birch is stopped")
    expect(page.locator("#instance-header .badge")).to_have_text("Stopped")
    expect(page.locator("#why")).to_contain_text("Why is it not running?")
    expect(page.get_by_role("button", name="Stop")).to_be_disabled()
    expect(page.get_by_role("link", name="Open its page")).to_have_count(0)
    # Another session was quicker, and this page was not updated yet.
    known = served.plane.fleet.instances
    known["in-0001"] = msgspec.structs.replace(known["in-0001"], status="starting")
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.locator("#toasts")).to_contain_text("birch is starting already.")
    expect(page.locator("#toasts")).to_contain_text("Nothing needs to be done.")
    forgive("409")


def wanted(served: Served) -> str:
    return served.plane.fleet.instances["in-0001"].desired


def test_destroying_wants_the_name_typed(open_page: Open, served: Served) -> None:
    page = open_page("/instances/in-0001")
    page.get_by_role("button", name="Destroy", exact=True).click()
    dialog = page.locator("#destroy")
    button = dialog.get_by_role("button", name="Destroy it")
    expect(dialog.get_by_role("textbox")).to_be_focused()
    expect(button).to_be_disabled()
    page.keyboard.type("birc")
    page.keyboard.press("Enter")
    expect(button).to_be_disabled()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert wanted(served) == "running"
    page.get_by_role("button", name="Destroy", exact=True).click()
    dialog.get_by_role("textbox").fill("birch")
    page.keyboard.press("Enter")
    expect(page.locator("#instance-header .badge")).to_have_text("Destroying")
    assert wanted(served) == "destroyed"


def test_another_version_is_shown_before_it_is_ordered(open_page: Open, served: Served) -> None:
    page = open_page("/instances/in-0001")
    page.get_by_role("button", name="Change the agent's version…").click()
    dialog = page.locator("#upgrade")
    expect(dialog).to_contain_text("the doctor of 2026.9.6 looks")
    expect(dialog.get_by_role("checkbox")).to_have_count(0)
    dialog.get_by_label("Version").select_option("2026.3.13")
    expect(dialog).to_contain_text("the doctor of 2026.3.13 looks")
    expect(dialog.get_by_label("Version")).to_be_focused()
    dialog.get_by_role("button", name="Change it").click()
    assert served.plane.fleet.upgraded is None, "an older one wants to be confirmed"
    dialog.get_by_role("checkbox").check()
    dialog.get_by_role("button", name="Change it").click()
    expect(dialog).to_be_hidden()
    ordered = served.plane.fleet.upgraded
    assert ordered is not None
    assert (ordered.version, ordered.restore) == ("2026.3.13", True)


def test_log_timeline_and_rehearsal(open_page: Open, served: Served) -> None:
    page = open_page("/instances/in-0001")
    expect(page.locator("#log")).to_contain_text("turn 24 done")
    served.run(lambda: served.plane.fleet.say("a new line"))
    expect(page.locator("#log")).to_contain_text("a new line")
    page.wait_for_function(
        "e => e.scrollHeight - e.scrollTop - e.clientHeight < 4",
        arg=page.locator("#log").element_handle(),
    )
    expect(page.locator(".story")).to_have_count(5)
    page.get_by_role("button", name="Load older").click()
    expect(page.locator(".story")).to_have_count(10)
    expect(page.get_by_role("button", name="Load older")).to_have_count(1)  # and not two
    served.run(lambda: served.plane.fleet.change("in-0001", restarts=9))
    expect(page.locator("#instance-header")).to_contain_text("9")
    page.get_by_role("button", name="Load older").click()
    expect(page.locator(".story")).to_have_count(15)
    expect(page.get_by_role("button", name="Load older")).to_have_count(0)
    page.get_by_role("button", name="Rehearse the next tick").click()
    expect(page.locator("#next-body")).to_contain_text("start.down")
    expect(page.locator("#next-body")).to_contain_text("Held back")
    expect(page.locator(".charts canvas")).to_have_count(4)


def test_variables_are_set_and_secrets_never_shown(open_page: Open, served: Served) -> None:
    page = open_page("/instances/in-0001")
    page.locator("#v-kind").select_option("secret")
    page.locator("#v-name").fill("DB_PASSWORD")
    page.locator("#v-value").fill("hunter2hunter2")
    page.get_by_role("button", name="Set", exact=True).click()
    row = page.locator("#environment tr").filter(has_text="DB_PASSWORD")
    expect(row).to_contain_text("secret")
    assert "hunter2" not in page.content()
    page.get_by_role("button", name="Change LOG_LEVEL").click()
    expect(page.locator("#v-value")).to_have_value("info")
    page.locator("#v-value").fill("debug")
    page.keyboard.press("Enter")
    expect(page.locator("#environment")).to_contain_text("debug")
    expect_live(page)
    page.get_by_role("button", name="Remove MODEL").click()
    expect(page.get_by_role("button", name="Remove MODEL")).to_have_count(0)
    assert served.plane.fleet.env["in-0001"] == {"WORKSPACE": "/srv/work", "LOG_LEVEL": "debug"}


def test_what_is_typed_while_an_order_is_on_its_way_stays(open_page: Open) -> None:
    page = open_page("/instances/in-0001")
    expect_live(page)
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/instances/in-0001", hold)
    page.locator("#v-name").fill("FIRST")
    page.locator("#v-value").fill("1")
    with page.expect_request("**/api/instances/in-0001"):
        page.get_by_role("button", name="Set", exact=True).click()
    page.locator("#v-name").fill("SECOND")
    with page.expect_response("**/api/instances/in-0001"):
        held[0].continue_()
    expect(page.locator("#variables")).to_contain_text("FIRST")
    expect(page.get_by_text("Done:").first).to_be_visible()
    expect(page.locator("#v-name")).to_have_value("SECOND")


def test_the_recovery_is_shown_stopped_and_begun_anew(open_page: Open, served: Served) -> None:
    fleet = served.plane.fleet
    page = open_page("/instances/in-0001")
    expect_live(page)
    panel = page.locator("#recovery")
    expect(panel).to_contain_text("not needed")
    told = RecoveryView(rung="reinstall", reason="it crashed 5 times", config="rolled_back",
                        config_reason="the agent was not ready in 40 s")  # fmt: skip
    served.run(lambda: fleet.change("in-0001", recovery=told))
    expect(panel.locator("[aria-current=step]")).to_contain_text("Reinstall")
    expect(panel).to_contain_text("it crashed 5 times")
    expect(panel).to_contain_text("the agent was not ready in 40 s")
    panel.get_by_role("button", name="Stop here").click()
    expect(panel).to_contain_text("stopped by somebody")
    panel.get_by_role("button", name="Begin anew").click()
    expect(panel).to_contain_text("not needed")


def test_what_is_tried_shows_without_anything_else_having_changed(
    open_page: Open, served: Served
) -> None:
    fleet = served.plane.fleet
    page = open_page("/instances/in-0001")
    expect_live(page)
    expect(page.locator("#recovery")).not_to_contain_text("What was tried")
    fleet.climbs["in-0001"] = (
        Climb(rung="reinstall", at=time_text(0), reason="exit code 1", done=False,
              detail="npm ended with 1"),
    )  # fmt: skip
    served.run(lambda: fleet.change("in-0001", load=0.5))
    page.get_by_text("What was tried, the latest first").click()
    expect(page.locator("#recovery .phases")).to_contain_text("npm ended with 1")


def test_a_start_that_is_slow_and_fails_is_seen_and_gone_on_with(
    open_page: Open, served: Served
) -> None:
    fleet = served.plane.fleet
    page = open_page("/instances/in-0009")
    expect_live(page)
    panel = page.locator("#start")
    expect(panel).to_contain_text("has not told how it came up")

    def tell(onboard: str, reason: str = "") -> None:
        fleet.starts["in-0009"] = StartView(
            told_at=time_text(SystemClock().now_ms()),
            phases=(
                StartPhase(name="decrypting", state="done", took_ms=12, critical=True),
                StartPhase(name="onboard", state=onboard, deadline_ms=30_000, took_ms=4_000,
                           reason=reason),
                StartPhase(name="gateway-start"),
            ),
        )  # fmt: skip
        served.run(lambda: fleet.change("in-0009", load=0.5))

    tell("running")
    expect(panel.locator("li").nth(1)).to_contain_text("under way")
    expect(panel.get_by_role("button")).to_have_count(0)
    tell("failed", "its folder could not be made")
    expect(panel.locator("li").nth(1)).to_contain_text("its folder could not be made")
    panel.get_by_role("button", name="Go on from the failed phase").click()
    expect(page.locator("#toasts")).to_contain_text("The start goes on")
    tell("done")
    expect(panel.get_by_role("button")).to_have_count(0)


def test_configurations_are_put_back_and_the_doctor_looks(
    open_page: Open, served: Served, forgive: Callable[[str], None]
) -> None:
    page = open_page("/instances/in-0001")
    page.get_by_text("Ask its machine").click()
    maintenance = page.locator("#care")
    expect(maintenance).to_contain_text("the agent was not ready in 40 s")
    expect(maintenance.get_by_role("button", name="Put c0ffee")).to_have_count(0)  # it is in force
    expect(maintenance.get_by_role("button", name="Put bad0")).to_have_count(0)
    page.once("dialog", lambda dialog: dialog.accept())
    maintenance.get_by_role("button", name="Put ab12").click()
    expect(page.locator("#toasts")).to_contain_text("The configuration was put back")
    assert served.plane.maintenance.restored == ["ab12" * 15]
    expect(maintenance).to_contain_text("It has not looked yet.")
    maintenance.get_by_role("button", name="Have the doctor look").click()
    expect(maintenance).to_contain_text("channels: ok")
    assert served.plane.maintenance.run.fix is False
    maintenance.get_by_role("button", name="Go on with a failed start").click()
    expect(page.locator("#toasts")).to_contain_text("No phase of the start has failed")
    forgive("409")


def test_operations_are_followed(open_page: Open) -> None:
    page = open_page("/operations")
    expect_live(page)
    page.get_by_role("link", name="Restart requested").first.click()
    expect(page.locator("#operation")).to_contain_text("under way")
    expect(page.locator(".steps li")).to_have_count(3)
    expect_live(page)


def test_the_quarantine_is_decided(open_page: Open, served: Served) -> None:
    page = open_page("/quarantine")
    page.get_by_role("button", name="Retry").first.click()
    expect(page.locator("[data-row]")).to_have_count(1)
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Drop").click()
    expect(page.locator("#quarantine")).to_contain_text("Nothing is in quarantine.")
    assert served.plane.fleet.quarantined == {}


def test_a_page_that_loads_again_cancels_no_order_on_its_way(
    open_page: Open, served: Served
) -> None:
    """One order's page loads again while the next is being sent."""
    page = open_page("/quarantine")
    held: dict[str, Route] = {}
    page.route("**/retry", lambda route: held.update(retry=route))
    page.route("**/drop", lambda route: held.update(drop=route))
    page.get_by_role("button", name="Retry").first.click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.get_by_role("button", name="Drop").last.click()
    while len(held) < 2:
        page.wait_for_timeout(10)
    with page.expect_response("**/retry"):
        held["retry"].continue_()
    page.wait_for_timeout(300)  # in which a page that waits for nothing would be gone
    held["drop"].continue_()
    expect(page.locator("#quarantine")).to_contain_text("Nothing is in quarantine.")
    expect(page.locator("#toasts")).to_contain_text("Dropped")
    assert served.plane.fleet.quarantined == {}
