"""Take the README's picture of a served plane, in the project's own Chromium.

    python tools/screenshot.py LINK [--page /] [--theme light] [--out docs/images/fleet.png]

LINK is a one-time link as `holdfast link` prints it. The picture is taken when the page is live
and its charts are drawn, so that it shows what a person sees, not what happens to be there.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Browser, sync_playwright

ROOT: Final = Path(__file__).resolve().parent.parent
FLAGS: Final = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--no-first-run",
)  # fmt: skip
NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
SIZE: Final = (1280, 800)
WAIT_MS: Final = 15_000


def take(browser: Browser, *, link: str, page: str, theme: str, out: Path) -> None:
    """Sign in by the link and write the picture. Raises playwright's error when it comes to none.

    A page that shows charts is waited for until each has been drawn or says why it is empty.
    """
    parts = urlsplit(link)
    origin = f"{parts.scheme}://{parts.netloc}"
    context = browser.new_context(
        viewport={"width": SIZE[0], "height": SIZE[1]},
        color_scheme="dark" if theme == "dark" else "light",
        reduced_motion="reduce",
        device_scale_factor=2,
    )
    context.set_default_timeout(WAIT_MS)
    (secret,) = parse_qs(parts.query)["link"]
    answer = context.request.post(f"{origin}/api/session/link", data={"link": secret})
    if not answer.ok:
        raise SystemExit(f"the link was refused: {answer.text()}")
    tab = context.new_page()
    tab.goto(origin + page)
    tab.wait_for_selector("[data-live-mark][data-state='live']")
    if tab.locator("[data-charts]").count():
        tab.wait_for_selector("[data-charts] .chart-place > *")
    out.parent.mkdir(parents=True, exist_ok=True)
    tab.screenshot(path=out)
    context.close()


def main() -> int:
    """Take one picture; return 1 where there is no Chromium."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("link", help="a one-time link, as `holdfast link` prints it")
    parser.add_argument("--page", default="/", help="the page's path")
    parser.add_argument("--theme", choices=("light", "dark"), default="light")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "fleet.png")
    asked = parser.parse_args()
    chromium = next((path for name in NAMES if (path := shutil.which(name))), None)
    if chromium is None:
        print("no Chromium: `make test` installs one", file=sys.stderr)
        return 1
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=list(FLAGS))
        take(browser, link=asked.link, page=asked.page, theme=asked.theme, out=asked.out)
        browser.close()
    print(f"wrote {asked.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
