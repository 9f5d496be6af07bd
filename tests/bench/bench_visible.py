"""When a correction, a pairing request and a decision can be seen in a real browser.

    python -m tests.bench visible [--corrections 60] [--requests 40] [--json]

A real plane with a real machine and its demo agent; a real `Brain` in this process; one Chromium.
A correction is timed from `correct()` having returned to the painted frame that shows it, one
every 2 s. A request is timed from the agent having written it to its store to the frame of the
inbox, alone and on the heels of another change. A decision is timed from the click to the frame
that confirms it; the demo agent decides by its command line, whose figure is the slower one.
Needs Chromium.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, sync_playwright

from holdfast.sdk import Brain
from holdfast.wire.api.brains import BrainKeyCreate
from tests.bench.figures import parser, percentiles, tell
from tests.browser.conftest import FLAGS, sign_in
from tests.browser.people import DemoAgent
from tests.browser.watching import Watch
from tests.conftest import CHROMIUM_NAMES
from tests.support.planes import PlaneProcess, plane_at

EVERY_S: Final = 2.0
QUIET_S: Final = 4.5
"""Machines report changes at least 2 s apart, and a decision is one too: after both intervals the
next change is reported at once."""
LEAST_REQUESTS: Final = 2
"""Every second one follows another; there are figures of both."""
LIMITS: Final = {
    "corrections, p50": 0.3,
    "corrections, p99": 1.5,
    "requests, p99": 2.0,
    "decisions by command, p99": 10.0,
}
"""At most so many seconds."""


def open_page(browser: Browser, plane: PlaneProcess, path: str) -> Page:
    """Return a live page of a person who is signed in."""
    context = browser.new_context(viewport={"width": 1280, "height": 860})
    sign_in(context, plane.json("link")["link"])
    page = context.new_page()
    page.goto(plane.url + path)
    page.wait_for_selector("[data-live-mark][data-state='live']")
    return page


def corrections(page: Page, plane: PlaneProcess, folder: Path, count: int) -> list[float]:
    """Record corrections; return how long each took to be seen, in seconds."""
    with plane.client() as client:
        key = client.call("brain-key.create", body=BrainKeyCreate(name="bench")).key
    watch, took = Watch(page), []
    with Brain(str(folder), url=plane.url, api_key=key) as brain:
        for number in range(count):
            began = time.monotonic()
            word = f"w{os.getpid()}x{number}"
            watch.wait_for(word, "#feed ins", word)
            brain.correct(f"The report of {number} is late.", f"The report of {word} is done.")
            returned = time.time()
            took.append(watch.seen_at(word) - returned)
            time.sleep(max(0.0, EVERY_S - (time.monotonic() - began)))
    return took


@dataclass
class Waits:
    """How long people waited, in seconds, by what they waited for."""

    alone: list[float] = field(default_factory=list)
    following: list[float] = field(default_factory=list)
    decided: list[float] = field(default_factory=list)


def decisions(page: Page, agent: DemoAgent, count: int) -> Waits:
    """Make requests and approve them, every second one right after the one before."""
    watch, waits = Watch(page), Waits()
    for number in range(count):
        follows = number % 2 == 1
        if not follows:
            time.sleep(QUIET_S)
        name = f"ada{number}"
        watch.wait_for(name, "#inbox [data-row]", name)
        agent.hears(name)
        wrote = time.time()
        (waits.following if follows else waits.alone).append(watch.seen_at(name) - wrote)
        button = page.get_by_role("button", name=f"Approve {name}", exact=True)
        watch.wait_for(f"{name} in", "#toasts", f"Approved {name}")
        clicked = time.time()
        button.click()
        waits.decided.append(watch.seen_at(f"{name} in") - clicked)
        page.wait_for_selector(f".decisions li:has-text('{name}')")
    return waits


def main() -> None:
    """Measure and print; the exit code is 0 only if all kept to their figures."""
    options = parser(__doc__)
    options.add_argument("--corrections", type=int, default=60)
    options.add_argument("--requests", type=int, default=40)
    given = options.parse_args()
    if given.corrections < 1:
        options.error("--corrections: want 1 at least")
    if given.requests < LEAST_REQUESTS:
        options.error(
            f"--requests: want {LEAST_REQUESTS} at least: one alone, one on the heels of another"
        )
    chromium = next((path for name in CHROMIUM_NAMES if (path := shutil.which(name))), None)
    if chromium is None:
        sys.exit("no Chromium: `make test` installs one")
    with (
        tempfile.TemporaryDirectory() as folder,
        plane_at(Path(folder) / "home") as plane,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        feed = open_page(browser, plane, "/corrections")
        shown = corrections(feed, plane, Path(folder) / "brain", given.corrections)
        feed.context.close()
        agent = DemoAgent(plane, "demo")
        inbox = open_page(browser, plane, "/pairing")
        waits = decisions(inbox, agent, given.requests)
        inbox.context.close()
        browser.close()
    found = {
        "corrections": percentiles(shown),
        "requests": percentiles(waits.alone),
        "requests that follow": percentiles(waits.following),
        "decisions by command": percentiles(waits.decided),
    }
    names = {
        "corrections": "correct() returned to visible, s (p50 at most 0.3, p99 1.5)",
        "requests": "request in the store to visible, s (p99 at most 2)",
        "requests that follow": "the same within 2 s of another change, which reports wait for, s",
        "decisions by command": "approve clicked to confirmed, by command, s (p99 at most 10)",
    }
    tell("visible", {names[name]: value for name, value in found.items()}, as_json=given.json)
    missed = [
        limit
        for limit, most in LIMITS.items()
        if found[limit.partition(", ")[0]][limit.partition(", ")[2]] > most
    ]
    sys.exit(f"missed: {', '.join(missed)}" if missed else 0)


if __name__ == "__main__":
    main()
