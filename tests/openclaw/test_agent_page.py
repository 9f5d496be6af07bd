"""OpenClaw's own control page, in a real browser, through plane and controller."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, WebSocket, sync_playwright

from tests.browser.conftest import sign_in
from tests.openclaw.test_plane_openclaw import NAME, START_S, install
from tests.support.planes import plane_at, until

pytestmark = [pytest.mark.openclaw, pytest.mark.timeout(600)]

STEAL = """async (url) => {
    try { return (await fetch(url, {credentials: "include"})).status } catch { return "refused" }
}"""


def test_the_control_page_works_and_cannot_touch_the_dashboard(
    tmp_path: Path, openclaw: Path, chromium_path: str
) -> None:
    with (
        plane_at(tmp_path / "home", HOLDFAST_STOP_GRACE_S="20") as plane,
        sync_playwright() as playwright,
    ):
        install(plane, openclaw)
        plane.cli("instance", "create", NAME, "--agent", "openclaw")
        view = plane.ready(NAME, START_S)
        browser = playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        context = browser.new_context()
        sign_in(context, plane.json("link")["link"])
        page = context.new_page()
        heard = listen(page)
        page.goto(f"{plane.url}/instances/{view.id}/open")
        until("the gateway said hello", lambda: said_hello(page, heard), seconds=60)
        own = f"http://{view.id.replace('-', '')}.agents.localhost:{plane.port}/"
        assert page.url.startswith(own)
        assert "OpenClaw" in page.title()
        (machine,) = plane.home.rglob("machine.log")
        assert "client=openclaw-control-ui" in machine.read_text()
        assert "hf_" not in page.evaluate("document.cookie")
        for path in ("/api/instances", "/api/session", "/"):
            assert page.evaluate(STEAL, plane.url + path) == "refused"
        browser.close()


def listen(page: Page) -> list[str]:
    """Return the messages on the page's WebSockets, as they grow."""
    heard: list[str] = []

    def opened(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: heard.append(str(frame)))

    page.on("websocket", opened)
    return heard


def said_hello(page: Page, heard: list[str]) -> bool:
    """Let the browser work for a moment; return whether the gateway accepted the connection."""
    page.wait_for_timeout(100)
    return any("hello-ok" in frame for frame in heard)
