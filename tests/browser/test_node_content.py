"""The pages of what an agent did, in a browser: live, by keyboard, on a phone, clear and sealed."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.conftest import open_real_page
from tests.browser.test_fleet import expect_live
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, plane_at
from tests.support.sending_node import CONTENT_KEY, DAEMON, SendingNode

LONG_MS = 1_000 * patience(20)
OPENER = """
const raw = Uint8Array.from(atob("%s"), (letter) => letter.charCodeAt(0));
export async function opener() {
  const key = await crypto.subtle.importKey("raw", raw, "AES-GCM", false, ["decrypt"]);
  return async (blob) => {
    const text = atob(blob.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(text, (letter) => letter.charCodeAt(0));
    const how = { name: "AES-GCM", iv: bytes.slice(0, 12) };
    const plain = await crypto.subtle.decrypt(how, key, bytes.slice(12));
    return JSON.parse(new TextDecoder().decode(plain));
  };
}
""" % base64.b64encode(base64.b64decode(CONTENT_KEY)).decode()  # noqa: UP031  braces are JavaScript's
"""A browser that holds the node's key."""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    with plane_at(tmp_path_factory.mktemp("content") / "home") as made:
        yield made


@pytest.fixture(scope="module")
def clear(plane: PlaneProcess) -> SendingNode:
    node = SendingNode.granted(plane, "laptop")
    node.beat()
    node.tell("send", int(time.time() * 1_000))
    return node


@pytest.fixture(scope="module")
def sealed(plane: PlaneProcess) -> SendingNode:
    node = SendingNode.granted(plane, "vault")
    node.beat()
    node.tell("seal", int(time.time() * 1_000))
    return node


@pytest.fixture
def page(browser: Browser, plane: PlaneProcess) -> Iterator[Page]:
    with open_real_page(browser, plane) as made:
        yield made


def go(page: Page, node: SendingNode, tab: str) -> None:
    page.goto(f"{node.plane.url}/nodes/{node.id}/sessions")
    page.locator(".tabs").get_by_role("link", name=tab).click()
    expect_live(page)


def test_logs_arrive_by_themselves_and_are_searched_with_the_keyboard(
    page: Page, clear: SendingNode
) -> None:
    go(page, clear, "Logs")
    expect(page.locator("#logs > li").first).to_contain_text("tool finished, round 39")
    clear.send("/ingest/logs", lines=[{"msg": "just now", "level": "fatal"}])
    expect(page.locator("#logs > li").first).to_contain_text("just now", timeout=LONG_MS)
    expect(page.locator("#logs > li").first.locator(".badge")).to_have_text("fatal")
    page.keyboard.press("/")
    page.keyboard.type("MAIL server")
    expect(page.locator("#logs > li")).to_have_count(3)
    page.get_by_label("How bad").select_option("fatal")
    expect(page.locator("#logs")).to_contain_text("Nothing matches.")
    page.get_by_role("link", name="Show every line").click()
    page.locator("#logs > li").nth(3).wait_for()
    expect_live(page)  # its scripts run, so that a key is heard
    page.keyboard.press("j")
    expect(page.locator("#logs > li").first).to_have_class(re.compile("log-row"))
    expect(page.locator("#logs > li:focus-within")).to_have_count(1)


def test_a_file_a_job_and_a_sub_agent_are_found_by_their_links(
    page: Page, clear: SendingNode
) -> None:
    go(page, clear, "Memory")
    page.get_by_role("link", name="MEMORY.md").click()
    expect(page.locator(".memory-text del")).to_have_text("tea")
    clear.send("/ingest/memory", memory_content=[{"path": "MEMORY.md", "content": "all new"}])
    expect(page.locator(".versions li")).to_have_count(3, timeout=LONG_MS)
    page.locator(".versions a").last.click()
    expect(page.get_by_role("heading", name="The first version")).to_be_visible()
    go(page, clear, "Cron jobs")
    row = page.locator("#cron tr").filter(has_text="daily report")
    expect(row.locator(".badge")).to_have_text("error")
    go(page, clear, "Sessions")
    expect(page.locator("#node-body td.d1")).to_contain_text("Session 1")
    expect(page.locator("#node-body td.d2")).to_contain_text("Session 2")
    page.get_by_role("link", name="Session 0").click()
    expect(page.locator(".call").first).to_contain_text("2.5 s")


def give_key(page: Page) -> None:
    """Have the browser hold the key of a node that is sealed."""

    def hold_key(route: Route) -> None:
        route.fulfill(body=OPENER, content_type="text/javascript")

    page.route("**/static/sealed.js*", hold_key)


def test_what_is_sealed_opens_where_the_key_is_and_nothing_opened_is_sent(
    page: Page, sealed: SendingNode
) -> None:
    sent: list[str] = []
    page.on("request", lambda asked: sent.append(f"{asked.url} {asked.post_data or ''}"))

    give_key(page)
    go(page, sealed, "Logs")
    opened = page.locator("[data-unseals=logs]")
    expect(opened.locator(".log-row").first).to_contain_text("tool finished, round 39")
    expect(opened).to_contain_text("40 of 40 lines")
    page.get_by_label("Search the lines").press_sequentially("mail server")
    expect(opened.locator(".log-row")).to_have_count(3)
    page.get_by_label("How bad").select_option("fatal")
    expect(opened).to_contain_text("Nothing that was opened here matches.")
    page.get_by_label("How bad").select_option("")
    page.get_by_label("Search the lines").fill("")
    sealed.seal("/ingest/logs", lines=[{"msg": "sealed just now", "level": "warn"}])
    expect(opened).to_contain_text("sealed just now", timeout=LONG_MS)

    go(page, sealed, "Memory")
    page.locator("details.opened-file summary").click()
    expect(page.locator(".opened-file del")).to_have_text("- likes tea")
    go(page, sealed, "Cron jobs")
    jobs = page.locator("[data-unseals=cron] tbody tr")
    expect(jobs).to_have_count(3)
    odd = {"toString": 1, "valueOf": 1}
    state = {"nextRunAtMs": 9e15, "lastRunAtMs": odd, "lastStatus": odd, "lastDurationMs": odd}
    data = {"job_id": "odd", "name": odd, "expr": odd, "state": state}
    sealed.seal("/api/ingest", events=[{"type": "cron_state", "session_id": "", "data": data}])
    expect(jobs).to_have_count(4, timeout=LONG_MS)
    sealed.seal("/api/ingest", events=[{"type": "cron_state", "data": {**data, "job_id": "new"}}])
    expect(jobs).to_have_count(5, timeout=LONG_MS)
    go(page, sealed, "Sessions")
    expect(page.locator("[data-unseals=sessions] td.d2")).to_contain_text("Session 2")
    expect(page.locator("#node-body tr[data-session] a")).to_have_text("Session 0")
    assert any("/sealed" in one for one in sent), "what was sent is recorded"
    for word in ("mail", "round", "coffee", "report", "Session"):
        assert not [one for one in sent if word in one], word


def test_lines_in_the_clear_are_searched_beside_sealed_ones_as_they_arrive(
    page: Page, sealed: SendingNode
) -> None:
    def say(word: str) -> None:
        lines = [{"msg": f"{word} {level}", "level": level} for level in ("info", "error")]
        sealed.send("/ingest/logs", lines=lines)

    give_key(page)
    go(page, sealed, "Logs")
    expect(page.locator("[data-unseals=logs] .log-row").first).to_be_visible()
    rows = page.locator("#logs > .log-row")
    shown = rows.locator("visible=true")
    say("first")
    expect(rows).to_have_count(2, timeout=LONG_MS)
    page.get_by_label("How bad").select_option("error")
    expect(shown).to_have_count(1)
    say("second")
    expect(rows).to_have_count(4, timeout=LONG_MS)
    expect(shown).to_have_count(2)
    expect(shown.first).to_contain_text("second error")
    page.get_by_label("Search the lines").fill("FIRST")
    expect(shown).to_have_count(1)


def test_a_sealed_body_in_another_form_shows_what_one_in_the_clear_does(
    page: Page, sealed: SendingNode
) -> None:
    state = {"last_status": "ok", "last_duration_ms": 2_500, "next_run_at": "2026-01-02"}
    schedule = {"kind": "every", "everyMs": 60_000}
    job = {"job_id": "other", "schedule": schedule, "state": state}
    sealed.seal("/api/ingest", events=[{"type": "cron_state", "data": job}])
    child = {"session_id": "s9", "display_name": "Session 9", "parent_key": "agent:main:main"}
    sealed.seal("/ingest/sessions", sessions=[child])
    give_key(page)
    go(page, sealed, "Cron jobs")
    row = page.locator("[data-unseals=cron] tbody tr").filter(has_text="every 60000")
    expect(row).to_contain_text("2.5 s")
    expect(row.locator(".badge")).to_have_text("ok")
    expect(row.locator("time")).to_have_count(1)
    go(page, sealed, "Sessions")
    below = page.locator("[data-unseals=sessions] td.d1")
    expect(below.filter(has_text="Session 9")).to_have_count(1)


def test_without_a_key_counts_sizes_and_times_are_shown_and_how_to_get_one(
    page: Page, sealed: SendingNode
) -> None:
    for tab, of in (("Logs", "logs"), ("Memory", "memory"), ("Cron jobs", "metadata")):
        go(page, sealed, tab)
        note = page.locator("[data-sealed-rows]")
        expect(note).to_contain_text(re.compile(rf"Sealed uploads of {of}: \d+, [\d.]+ k?B"))
        expect(note.locator("time")).to_have_count(2)
        expect(note.get_by_role("link", name="How a browser gets a key")).to_be_visible()
        expect(page.locator("[data-unseals] > *")).to_have_count(0)


def test_two_senders_are_named_and_one_is_chosen_on_the_page(
    page: Page, plane: PlaneProcess
) -> None:
    node = SendingNode.granted(plane, "shared")
    node.beat()
    go(page, node, "Logs")
    node.beat(agent=DAEMON, version="0.12.937")
    panel = page.locator(".senders")
    expect(panel).to_contain_text("Two programs send for this node", timeout=LONG_MS)
    expect(panel.locator("li").filter(has_text="0.12.937")).to_contain_text("refused")
    panel.get_by_role("button", name=re.compile("ClawMetry")).click()
    expect(panel.locator("li").filter(has_text="0.12.937").locator(".badge")).to_have_text(
        "sends", timeout=LONG_MS
    )
    assert not node.beat()["sync_allowed"]
    assert node.beat(agent=DAEMON, version="0.12.937")["sync_allowed"]


def test_every_page_fits_a_phone(page: Page, clear: SendingNode, sealed: SendingNode) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    for node in (clear, sealed):
        for path in ("sessions", "sessions?session=s0", "logs", "memory", "cron",
                     "memory?path=MEMORY.md"):  # fmt: skip
            page.goto(f"{node.plane.url}/nodes/{node.id}/{path}")
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 390, (path, wide)


def test_a_page_of_a_node_that_nobody_said_yes_to_says_so(page: Page, plane: PlaneProcess) -> None:
    node = SendingNode.waiting(plane, "silent")
    for tab in ("Logs", "Memory", "Cron jobs", "Sessions"):
        go(page, node, tab)
        expect(page.locator("main")).to_contain_text("Its owner has not let")
        expect(page.get_by_role("link", name="Decide what may leave")).to_be_visible()
