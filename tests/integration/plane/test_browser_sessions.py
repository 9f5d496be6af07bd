"""What the session's cookie alone is good for: nothing that changes anything."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from holdfast.wire.api.table import ENDPOINTS
from tests.integration.plane.agent_browser import PAGE, Browser, demo
from tests.support.planes import PlaneProcess, plane_at
from tests.support.walk import target_of


@pytest.fixture
async def browser(shared: PlaneProcess) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        found = Browser(shared, session)
        await asyncio.to_thread(shared.ready, "demo")
        await found.sign_in()
        yield found


class Thief:
    """A program on another port of this host: a browser that was led there sent it the cookie."""

    def __init__(self, session: aiohttp.ClientSession, plane: PlaneProcess, cookie: str) -> None:
        self._session = session
        self._plane = plane
        self._headers = {**PAGE, "Cookie": cookie, "Origin": plane.url}
        self._headers["Sec-Fetch-Site"] = "same-origin"

    async def read(self, path: str) -> tuple[int, str]:
        """Return status, headers and as much of a body as comes within a moment."""
        async with self._session.get(
            self._plane.url + path, headers=self._headers, allow_redirects=False
        ) as answer:
            body = b""
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    body = await answer.content.read(4_000_000)
            return answer.status, f"{dict(answer.headers)}{body.decode(errors='replace')}"

    async def order(self, method: str, path: str, secret: str = "") -> int:
        headers = {**self._headers, **({"X-CSRF-Token": secret} if secret else {})}
        url = self._plane.url + path
        async with self._session.request(method, url, json={}, headers=headers) as answer:
            return answer.status


async def test_whoever_was_sent_the_cookie_can_read_but_change_nothing(browser: Browser) -> None:
    assert re.fullmatch(r"[0-9a-f]{64}", browser.csrf)
    thief = Thief(browser.session, browser.plane, browser.cookies[browser.home])
    status, text = await thief.read("/api/session")
    assert (status, '"person":"operator"' in text) == (200, True), "the cookie reads"
    view, found = demo(browser), set[str]()
    for row in ENDPOINTS:
        if row.method == "GET" and row.scope in {"owner", "operator", "public"}:
            path = target_of(row).replace("/instances/a1", f"/instances/{view.id}")
            _, text = await thief.read(path)
            assert browser.csrf not in text, f"{row.name} tells the change secret"
            found |= set(re.findall(r"[0-9a-f]{40,64}", text))
    for secret in ("", "0" * 64, *sorted(found)[:50]):
        status = await thief.order("POST", f"/api/instances/{view.id}/stop", secret)
        assert status == 403, f"with {secret!r}"
    for row in ENDPOINTS:
        if row.method != "GET" and row.scope in {"owner", "operator"}:
            path = target_of(row).replace("/instances/a1", f"/instances/{view.id}")
            assert await thief.order(row.method, path) == 403, row.name
    assert await thief.order("POST", f"/api/instances/{view.id}/open") == 403


async def test_the_cookie_opens_no_agent_and_works_in_no_other_kind_of_browser(
    browser: Browser,
) -> None:
    view, cookie = demo(browser), browser.cookies[browser.home]
    host = await browser.open(view)
    status, _, _ = await browser.ask(host, "/", Cookie=cookie)
    assert status == 401, "the dashboard's cookie is nothing at an agent's host"
    for where, path in ((browser.home, "/api/session"), (host, "/")):
        status, _, _ = await browser.ask(where, path, User_Agent="something else", Accept="*/*")
        assert status == 401


async def test_two_planes_on_one_host_leave_each_others_sessions_alone(
    browser: Browser, tmp_path: Path
) -> None:
    def names(cookies: str) -> set[str]:
        return {part.partition("=")[0] for part in cookies.split("; ")}

    with plane_at(tmp_path / "other") as plane:
        other = Browser(plane, browser.session)
        await other.sign_in()
        # One jar, as a browser's: by host, whatever the port.
        both = f"{browser.cookies[browser.home]}; {other.cookies[other.home]}"
        assert len(names(both)) == 2
        for each in (browser, other):
            status, _, body = await each.ask(each.home, "/api/session", Cookie=both, Accept="*/*")
            assert status == 200, body
        for each, secret in ((browser, other.csrf), (other, browser.csrf)):
            thief = Thief(browser.session, each.plane, both)
            assert await thief.order("POST", "/api/session/sign-out", secret) == 403
        assert (
            await Thief(browser.session, plane, both).order(
                "POST", "/api/session/sign-out", other.csrf
            )
            == 204
        )
        status, _, _ = await browser.ask(browser.home, "/api/session", Cookie=both, Accept="*/*")
        assert status == 200, "signing out there is no signing out here"
