"""The plane behind a TLS terminator, as docs/tls.md describes it, in real Chromium."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import launch, new_page
from tests.support.certificates import NAME, write_certificate
from tests.support.patience import patience
from tests.support.planes import PlaneProcess
from tests.support.ports import free_port


class Terminator:
    """A small TLS terminator: it opens what comes by https, adds what proxies add, passes it on.

    Each connection carries one request, so that its head is the first thing on it.
    """

    def __init__(self, port: int, plane_port: int, certificate: tuple[Path, Path]) -> None:
        self._port = port
        self._plane_port = plane_port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._ready = threading.Event()
        self._stop: Callable[[], None] = lambda: None
        self._open: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def start(self) -> None:
        self._thread.start()
        assert self._ready.wait(patience(10))

    def stop(self) -> None:
        self._stop()
        self._thread.join(patience(10))

    async def _run(self) -> None:
        loop, stopped = asyncio.get_running_loop(), asyncio.Event()
        self._stop = lambda: _call(loop, stopped)
        async with await asyncio.start_server(
            self._serve, "127.0.0.1", self._port, ssl=self._context
        ):
            self._ready.set()
            await stopped.wait()
            left = tuple(self._open)
            for writer in left:  # a browser's, mostly; a later test would be blamed for them
                with contextlib.suppress(AttributeError):  # Python 3.11.2, of what is closed
                    writer.transport.abort()
            await asyncio.gather(*(one.wait_closed() for one in left), return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            line, _, rest = head.partition(b"\r\n")
            added = b"X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.7\r\nConnection: close"
            there, out = await asyncio.open_connection("127.0.0.1", self._plane_port)
            self._open.add(out)
            out.write(b"\r\n".join([line, added, rest]))
            await asyncio.gather(self._copy(reader, out), self._copy(there, writer))

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                sink.write(data)
                await sink.drain()
        with contextlib.suppress(OSError):
            sink.close()


def _call(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    loop.call_soon_threadsafe(stopped.set)


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[PlaneProcess, str]]:
    """Run a plane behind a terminator; return it and the address that people use."""
    port = free_port()
    url = f"https://{NAME}:{port}"
    plane = PlaneProcess(
        tmp_path / "home", HOLDFAST_PUBLIC_URL=url, HOLDFAST_TRUSTED_PROXIES="127.0.0.1"
    )
    terminator = Terminator(port, plane.port, write_certificate(tmp_path))
    plane.start()
    terminator.start()
    try:
        yield plane, url
    finally:
        terminator.stop()
        plane.close()


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    """Launch a Chromium that takes the self-signed certificate.

    With `ignore_https_errors` alone each connection of a page is asked about anew, and on a busy
    machine Chromium gives up after 32 (ERR_TOO_MANY_RETRIES).
    """
    with launch(chromium_path, "--ignore-certificate-errors") as launched:
        yield launched


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(ignore_https_errors=True)  # for requests that are no page's
    made = new_page(context)
    yield made
    made.goto("about:blank")
    context.close()


def test_behind_tls_cookies_are_secure_and_changes_come_from_the_name_alone(
    secured: tuple[PlaneProcess, str], page: Page
) -> None:
    plane, url = secured
    trusted = str(plane.home.parent / "cert.pem")
    refused = plane.cli("link", code=3)
    assert "certificate" in refused.stderr, "a name is verified before anything is sent to it"
    told = json.loads(plane.cli("link", "--json", SSL_CERT_FILE=trusted).stdout)["link"]
    assert told.startswith(f"{url}/sign-in?link=")
    secret = told.partition("?link=")[2]
    page.goto(f"{url}/sign-in?link={secret}")
    page.get_by_role("button", name="Sign in", exact=True).first.click()
    expect(page).to_have_url(f"{url}/")
    (cookie,) = page.context.cookies()
    name = cookie.get("name", "")
    assert name.startswith("__Host-hf_session_")
    assert (cookie.get("secure"), cookie.get("httpOnly")) == (True, True)
    assert (cookie.get("sameSite"), cookie.get("path")) == ("Lax", "/")

    page.goto(f"{url}/tokens")
    page.get_by_role("button", name="New token").click()
    page.get_by_label("Name", exact=True).fill("by-tls")
    page.get_by_role("button", name="Make").click()
    expect(page.locator("#made-token [data-secret]")).to_contain_text("hf_")

    told = page.evaluate("localStorage.getItem('holdfast-change-secret')")
    api, body = page.context.request, {"name": "from-elsewhere", "scope": "operator"}
    for origin in (plane.url, f"https://{NAME}:1", "https://evil.example", "null"):
        sent = {"X-CSRF-Token": told, "Origin": origin}
        answer = api.post(f"{url}/api/tokens", data=body, headers=sent)
        assert (answer.status, answer.json()["code"]) == (403, "cross_site"), origin

    plain = {"Cookie": f"{name}={cookie.get('value')}", "X-CSRF-Token": told}
    for renamed in (name, name.removeprefix("__Host-")):
        plain["Cookie"] = f"{renamed}={cookie.get('value')}"
        answer = api.get(f"{plane.url}/api/session", headers=plain)
        assert answer.status == 401, "what https began is not used without"

    page.get_by_label("Menu of operator").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_url(f"{url}/sign-in")
    assert page.context.cookies() == []
