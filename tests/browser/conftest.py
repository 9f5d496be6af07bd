"""A served plane, a Chromium, and pages whose every complaint fails the test."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    expect,
    sync_playwright,
)
from playwright.sync_api import Error as PlaywrightError

from tests.browser.harness import Served, serve
from tests.support.patience import patience
from tests.support.planes import PlaneProcess, plane_at

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip
ACTION_S = 8
EXPECT_S = 5
Open = Callable[..., Page]
_open_pages: list[Page] = []
"""What a failure is shown with; the pages of the test that runs."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "tests/browser" in item.path.as_posix():
            item.add_marker(pytest.mark.browser)


@pytest.fixture(autouse=True)
def patient_pages() -> Iterator[None]:
    """Let expectations wait for as long as the machine needs now."""
    expect.set_options(timeout=1_000 * patience(EXPECT_S))
    yield
    _open_pages.clear()


def new_page(context: BrowserContext) -> Page:
    """Open a page that is patient, and shown should its test fail."""
    context.set_default_timeout(1_000 * patience(ACTION_S))
    page = context.new_page()
    _open_pages.append(page)
    return page


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what each open page shows to the report of a failure: most are gone when it is read."""
    report = yield
    if report.failed and report.when == "call":
        report.sections += [(f"page {page.url}", _shown(page)) for page in _open_pages]
    return report


def _shown(page: Page) -> str:
    """Return the text of a page, toasts and live mark included; or why it cannot be had."""
    try:
        return page.locator("body").inner_text(timeout=1_000 * patience(2))
    except PlaywrightError as error:
        return str(error)


@contextmanager
def launch(chromium_path: str, *flags: str) -> Iterator[Browser]:
    """Launch Chromium.

    While it lives its driver's event loop runs in this thread, where no other test's could.
    """
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium_path, args=[*FLAGS, *flags])
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    """Launch Chromium for a module, and no longer."""
    with launch(chromium_path) as launched:
        yield launched


@pytest.fixture(scope="package")
def real_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlaneProcess]:
    """Run one real plane for the tests that can share it: they look at things of their own."""
    with plane_at(tmp_path_factory.mktemp("real") / "home") as made:
        yield made


@contextmanager
def open_real_page(browser: Browser, plane: PlaneProcess) -> Iterator[Page]:
    """Open a page of a real plane, signed in; complaints of the console fail the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
    sign_in(context, plane.json("link")["link"])
    made = new_page(context)
    complaints: list[str] = []
    made.on(
        "console",
        lambda m: complaints.append(f"{m.text} {m.location}") if m.type != "log" else None,
    )
    made.on("pageerror", lambda error: complaints.append(str(error)))
    yield made
    made.goto("about:blank")
    context.close()
    assert complaints == []


@pytest.fixture
def real_page(browser: Browser, real_plane: PlaneProcess) -> Iterator[Page]:
    """Open a page of the shared real plane."""
    with open_real_page(browser, real_plane) as page:
        yield page


def _complains(message: ConsoleMessage) -> bool:
    # Chromium logs this now and then for a page with dialogs and a fragment; it is harmless,
    # because the element to focus is not shown yet.
    return message.type != "log" and "Autofocus processing was blocked" not in message.text


def sign_in(context: BrowserContext, link: str) -> None:
    """Give a context a session's cookie and change secret, as the button of a link does."""
    origin, _, secret = link.partition("/sign-in?link=")
    answer = context.request.post(origin + "/api/session/link", data={"link": secret})
    assert answer.ok, answer.text()
    kept = f"localStorage.setItem('holdfast-change-secret', {answer.json()['csrf']!r})"
    context.add_init_script(f"if (location.origin === {origin!r}) {kept}")


@pytest.fixture
def served() -> Iterator[Served]:
    with serve() as plane:
        yield plane


@pytest.fixture
def open_page(browser: Browser, served: Served) -> Iterator[Open]:
    """Open a page, signed in as `person` unless that is empty.

    Console messages, policy violations and script errors fail the test, except those removed
    from the page's `complaints`: a refused order is an error on the console too.
    """
    complaints: list[str] = []
    contexts = []

    def open_it(path: str = "/", *, person: str = "operator", **options: Any) -> Page:
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 860}, "reduced_motion": "reduce"} | options
        )
        contexts.append(context)
        page = new_page(context)
        page.on("console", lambda m: complaints.append(m.text) if _complains(m) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if person:
            sign_in(context, served.link(person))
        page.goto(served.url + path)
        return page

    open_it.complaints = complaints  # type: ignore[attr-defined]
    yield open_it
    for context in contexts:
        for page in context.pages:
            page.goto("about:blank")  # ends its stream; a context with open requests closes slowly
        context.close()
    assert complaints == []


@pytest.fixture
def forgive(open_page: Open) -> Callable[[str], None]:
    """Take back complaints that a test expects, each of which must have been made."""

    def take_back(text: str) -> None:
        complaints = open_page.complaints  # type: ignore[attr-defined]
        expected = [line for line in complaints if text in line]
        assert expected, f"nobody complained of {text!r}"
        complaints[:] = [line for line in complaints if text not in line]

    return take_back
