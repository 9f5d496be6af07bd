"""Whether "View observability" works from the second an instance exists: opened at random moments.

    python -m tests.bench observability [--opens 10000] [--clicks 100] [--instances 10] [--json]

A real plane with real machines and their observers. Each instance is created, and from the moment
that the plane has answered so its page is opened again and again, at random moments of the next
20 s, by HTTP from eight threads and by clicks in one Chromium. Where the page leads to the node,
the node's pages are opened too. An error is any answer but a 200, a part of a page that could not
be loaded, and any complaint of the browser. Needs Chromium.
"""

from __future__ import annotations

import http.client
import random
import re
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from playwright.sync_api import Browser, Page, sync_playwright
from playwright.sync_api import Error as PlaywrightError

from holdfast.wire.api.instances import InstanceCreate
from tests.bench.figures import parser, percentiles, tell
from tests.browser.conftest import FLAGS, sign_in
from tests.conftest import CHROMIUM_NAMES
from tests.support.planes import PlaneProcess, plane_at

SPAN_S: Final = 20.0
"""How long after its creation an instance is opened: it registers within this."""
THREADS: Final = 8
SEEDED: Final = random.Random(12)
_NODE: Final = re.compile(r'href="(/nodes/nd_[0-9a-f]+)"')
_SAID: Final = re.compile(r'class="empty-title">([^<]+)<')
_FAILED: Final = "This part could not be loaded"


@dataclass
class Opened:
    """What openings came to: seconds, what they said, and what was wrong."""

    took: list[float] = field(default_factory=list)
    said: Counter[str] = field(default_factory=Counter[str])
    errors: list[str] = field(default_factory=list)


class Opener:
    """Opens pages by HTTP, on one connection."""

    def __init__(self, plane: PlaneProcess, opened: Opened) -> None:
        parts = urlsplit(plane.url)
        self._line = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        self._headers = {"authorization": f"Bearer {plane.token()}"}
        self._opened = opened

    def open(self, path: str) -> str:
        """Return a page; note how long it took, and what is wrong with it."""
        began = time.monotonic()
        self._line.request("GET", path, headers=self._headers)
        answer = self._line.getresponse()
        html = answer.read().decode()
        self._opened.took.append(time.monotonic() - began)
        if answer.status != http.HTTPStatus.OK or _FAILED in html:
            self._opened.errors.append(f"{path}: {answer.status} {html[:200]}")
        return html

    def look(self, instance: str) -> int:
        """Open the way to a node, and the node's pages where it leads there; return how many."""
        html = self.open(f"/instances/{instance}/observability")
        said = _SAID.search(html)
        self._opened.said[said[1] if said else "nothing was said"] += 1
        if said is None:
            self._opened.errors.append(f"{instance}: the page says nothing: {html[:200]}")
        found = _NODE.search(html)
        if found is None:
            return 1
        self.open(found[1] + SEEDED.choice(("", "/sessions", "/logs", "/memory", "/cron")))
        return 2


def open_many(
    plane: PlaneProcess, instance: str, count: int, opened: Opened
) -> list[threading.Thread]:
    """Start threads that open an instance's pages at random moments."""
    began = time.monotonic()

    def run(share: int) -> None:
        opener, left = Opener(plane, opened), share
        moments = sorted(SEEDED.uniform(0, SPAN_S) for _ in range(share))
        while left > 0:
            time.sleep(max(0.0, began + moments[share - left] - time.monotonic()))
            try:
                left -= opener.look(instance)
            except OSError as error:
                opened.errors.append(f"{instance}: {error}")
                left -= 1

    threads = [
        threading.Thread(target=run, args=(count // THREADS + (at < count % THREADS),))
        for at in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    return threads


def go(page: Page, url: str) -> None:
    """Open a page, also where the one before is leading on to another at this moment."""
    try:
        page.goto(url)
    except PlaywrightError as error:
        if "interrupted by another navigation" not in error.message:
            raise
        page.wait_for_load_state()
        page.goto(url)


def click_many(page: Page, plane: PlaneProcess, instance: str, count: int, opened: Opened) -> None:
    """Go from the instance's page to its observability by clicks, at random moments."""
    began = time.monotonic()
    for moment in sorted(SEEDED.uniform(0, SPAN_S) for _ in range(count)):
        time.sleep(max(0.0, began + moment - time.monotonic()))
        go(page, f"{plane.url}/instances/{instance}")
        clicked = time.monotonic()
        page.get_by_role("link", name="Observability").click()
        # The way, or the node that it leads on to.
        page.locator("#observability .empty-title, #node-why li").first.wait_for()
        opened.took.append(time.monotonic() - clicked)
        opened.said["at the node" if "/nodes/" in page.url else "on the way"] += 1


def signed_in(browser: Browser, plane: PlaneProcess, opened: Opened) -> Page:
    """Return a page whose complaints are errors."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    sign_in(context, plane.json("link")["link"])
    page = context.new_page()
    page.on("pageerror", lambda error: opened.errors.append(str(error)))
    page.on(
        "console", lambda said: opened.errors.append(said.text) if said.type == "error" else None
    )
    return page


def main() -> None:
    """Open, count and print; the exit code is 0 only where nothing was an error."""
    options = parser(__doc__)
    options.add_argument("--opens", type=int, default=10_000)
    options.add_argument("--clicks", type=int, default=100)
    options.add_argument("--instances", type=int, default=10)
    given = options.parse_args()
    chromium = next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)
    if chromium is None:
        sys.exit("no Chromium: `make test` installs one")
    by_http, by_click = Opened(), Opened()
    with (
        tempfile.TemporaryDirectory() as folder,
        plane_at(Path(folder) / "home", HOLDFAST_OBSERVERS="true") as plane,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = signed_in(browser, plane, by_click)
        for number in range(given.instances):
            with plane.client() as client:
                body = InstanceCreate(name=f"fresh{number}")
                instance = client.call("instance.create", body=body).id
            threads = open_many(plane, instance, given.opens // given.instances, by_http)
            click_many(page, plane, instance, given.clicks // given.instances, by_click)
            for thread in threads:
                thread.join()
        browser.close()
    figures: dict[str, object] = {
        "opened by HTTP, s": percentiles(by_http.took),
        "what the way said": dict(by_http.said),
        "errors by HTTP": len(by_http.errors),
        "clicked to shown in a browser, s": percentiles(by_click.took),
        "where a click led": dict(by_click.said),
        "errors in a browser": len(by_click.errors),
    }
    tell("observability", figures, as_json=given.json)
    errors = [*by_http.errors, *by_click.errors]
    if errors:
        sys.exit("\n".join(errors[:5]))


if __name__ == "__main__":
    main()
