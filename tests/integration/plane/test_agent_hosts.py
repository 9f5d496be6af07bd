"""A signed-in person's browser at their agent's own page: plane, controller and agent are real."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import aiohttp
import pytest

from holdfast.wire.api.instances import InstanceView
from tests.integration.plane.agent_browser import Browser, demo
from tests.support.patience import patience
from tests.support.planes import DEADLINE_S, PlaneProcess, processes_of, until


@pytest.fixture
async def browser(shared: PlaneProcess) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        found = Browser(shared, session)
        await asyncio.to_thread(shared.ready, "demo")
        await found.sign_in()
        yield found


async def socket(browser: Browser, host: str, **headers: str) -> aiohttp.ClientWebSocketResponse:
    own = {"Host": host, "Cookie": browser.cookies.get(host, ""), "Origin": f"http://{host}"}
    return await browser.session.ws_connect(f"{browser.plane.url}/echo", headers={**own, **headers})


async def test_a_person_is_signed_over_and_sees_the_agents_page(browser: Browser) -> None:
    view = demo(browser)
    path = f"/instances/{view.id}/open"
    status, headers, _ = await browser.ask(browser.home, path, Cookie="")
    assert status == 303
    assert headers["Location"].startswith("/sign-in?next="), "who is not signed in signs in first"
    host = await browser.open(view)
    status, _, body = await browser.ask(host, "/")
    assert status == 200
    assert "Demo agent" in body
    status, _, body = await browser.ask(host, "/", Cookie="")
    assert status == 401
    assert f"{browser.plane.url}{path}" in body, "and where to sign over"


async def test_opening_an_agent_is_audited_and_may_be_followed_from_its_own_pages(
    browser: Browser,
) -> None:
    view = demo(browser)
    for site in ("none", "same-origin", "same-site", "cross-site"):
        page = f"/instances/{view.id}/open"
        status, headers, body = await browser.ask(browser.home, page, Sec_Fetch_Site=site)
        assert (status, "Set-Cookie" in headers) == (200, False), f"a link on a page of {site}"
        assert "code=" not in body, "the page does not open: its script orders that"
    path = f"/api/instances/{view.id}/open"
    for _ in range(2):
        await browser.order_to_open(view)
    with browser.plane.client() as client:
        rows = client.call("audit.list", query={"limit": "50"}).items
    found = [row for row in rows if row.endpoint == "instance.open" and row.target == path]
    assert len(found) >= 2
    assert {row.status for row in found[:2]} == {200}


async def test_an_agents_host_never_shows_the_dashboard_nor_the_controller(
    browser: Browser,
) -> None:
    host = await browser.open(demo(browser))
    for path in ("/api/instances", "/sign-in", "/static/app.js"):
        status, _, body = await browser.ask(host, path)
        assert (status, "Demo agent" in body) == (200, True), "the agent answers, not the plane"
    for path in ("/_kilo/version", "/_holdfast/agent/token", "/_kilo/gateway/stop"):
        status, _, _ = await browser.ask(host, path)
        assert status == 404
    for other in (
        f"agents.localhost:{browser.plane.port}",
        f"x.agents.localhost:{browser.plane.port}",
    ):
        assert (await browser.ask(other, "/"))[0] == 404
    unknown = f"{'0' * 32}.agents.localhost:{browser.plane.port}"
    assert (await browser.ask(unknown, "/", Cookie=browser.cookies[host]))[0] == 401, "one host"
    status, _, body = await browser.ask(
        browser.home, "/api/instances", Cookie=browser.cookies[host]
    )
    assert status == 401, "an agent's cookie opens nothing at the dashboard"


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        ("POST", {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}),
        ("POST", {"Origin": "http://other.agents.localhost", "Sec-Fetch-Site": "same-site"}),
        ("POST", {"Origin": "null"}),
        ("POST", {"Sec-Fetch-Site": "cross-site"}),
        ("GET", {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}),
        ("GET", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Dest": "iframe"}),
        ("DELETE", {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}),
    ],
)
async def test_other_pages_cannot_use_a_persons_way_in(
    browser: Browser, method: str, headers: Mapping[str, str]
) -> None:
    host = await browser.open(demo(browser))
    status, _, body = await browser.ask(host, "/", method, **headers)
    assert (status, "another page" in body) == (403, True)


async def test_a_websocket_goes_through_and_wants_its_own_origin(browser: Browser) -> None:
    host = await browser.open(demo(browser))
    connected = await socket(browser, host)
    for word in ("hello", "again", "x" * 120):
        await connected.send_str(word)
        assert await connected.receive_str(timeout=patience(DEADLINE_S)) == word
    await connected.close()
    assert connected.close_code == 1000, "the agent's own goodbye came back"
    for wrong in (
        {"Origin": "http://evil.example"},
        {"Origin": f"http://{browser.home}"},
        {"Origin": f"https://{host}"},
        {"Cookie": ""},
        {"Host": browser.home, "Origin": f"http://{browser.home}"},
    ):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await socket(browser, host, **wrong)
        assert refused.value.status in {401, 403, 404}, wrong


async def test_signing_out_ends_what_is_open(browser: Browser) -> None:
    host = await browser.open(demo(browser))
    connected = await socket(browser, host)
    async with browser.session.post(
        f"{browser.plane.url}/api/session/sign-out",
        json={},
        headers={
            "Cookie": browser.cookies[browser.home], "X-CSRF-Token": browser.csrf,
            "Origin": browser.plane.url,
        },
    ) as answer:  # fmt: skip
        assert answer.status in {200, 204}, await answer.text()
    message = await connected.receive(timeout=patience(DEADLINE_S))
    assert message.type in {aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE}
    assert (await browser.ask(host, "/"))[0] == 401
    await connected.close()


async def test_what_people_see_while_it_does_not_run(browser: Browser) -> None:
    plane = browser.plane
    run = asyncio.to_thread
    await run(plane.cli, "instance", "create", "guest")
    view = await run(plane.ready, "guest")
    try:
        host = await browser.open(view)
        connected = await socket(browser, host)
        await run(plane.cli, "instance", "stop", "guest", "--wait", "30")
        assert (await connected.receive(timeout=patience(DEADLINE_S))).type in {
            aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.CLOSE,
        }  # fmt: skip
        await connected.close()
        status, _, body = await browser.ask(host, "/")
        assert (status, "The agent is stopped" in body) == (503, True)
        status, headers, body = await browser.ask(host, "/", Accept="application/json")
        assert (status, '"code":"agent_stopped"' in body) == (503, True)
        await run(plane.cli, "instance", "start", "guest")
        seen = set()
        async with asyncio.timeout(patience(60)):
            while True:
                status, headers, body = await browser.ask(host, "/")
                if status == 200:
                    break
                assert status in {502, 503}, body
                assert "Retry-After" in headers, body
                seen.add(headers["Retry-After"])
                assert 'http-equiv="refresh"' in body, "the page looks again by itself"
        assert seen
        assert "Demo agent" in body
    finally:
        await run(plane.cli, "instance", "destroy", view.id, "--yes")
    status, _, body = await browser.ask(host, "/")
    assert status in {404, 409}
    assert "gone" in body or "no such agent" in body


async def test_secrets_are_rotated_under_a_browser_that_stays(browser: Browser) -> None:
    plane, run = browser.plane, asyncio.to_thread
    await run(plane.cli, "instance", "create", "rotated")  # its own: what it holds is renewed
    view = await run(plane.ready, "rotated")
    try:
        host = await browser.open(view)
        connected = await socket(browser, host)
        await run(plane.cli, "instance", "rotate-secrets", "rotated", "--overlap", "0")

        def told() -> bool:
            timeline = str(plane.json("instance", "timeline", "rotated"))
            return "KeyMinted" in timeline and "SecretsHandedOver" in timeline

        await run(until, "key and tokens are handed over", told)
        await connected.send_str("still here")
        assert await connected.receive_str(timeout=patience(DEADLINE_S)) == "still here"
        assert (await browser.ask(host, "/"))[0] == 200, "and new requests carry the new token"
        await connected.close()
        controllers = [c for c in plane.controllers() if view.id in c.environ().values()]
        assert len(controllers) == 1
        for agent in controllers[0].children():
            agent.kill()

        def after() -> InstanceView:
            found = plane.view("rotated")
            assert found is not None
            return found

        await run(
            until,
            "a report with the new secrets alone is taken",
            lambda: after().restarts > view.restarts,
        )
        assert after().epoch == view.epoch, "no machine was launched anew"
    finally:
        await run(plane.cli, "instance", "destroy", view.id, "--yes")


def test_no_secret_stands_in_a_process_list(shared: PlaneProcess) -> None:
    shared.ready("demo")
    words: set[str] = set()
    secrets: set[str] = set()
    for process in processes_of(shared.home):
        words |= set(process.cmdline())
        raw = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
        pairs = (item.decode("utf-8", "replace").partition("=") for item in raw)
        secrets |= {v for n, _, v in pairs if ("TOKEN" in n or "KEY" in n) and len(v) > 20}
    assert secrets, "the agent has a token of its own, at least"
    listed = "\n".join(words)
    assert not [secret for secret in secrets if secret in listed]
    assert "holdfast.machine.controller" in listed, "it was the right list"
