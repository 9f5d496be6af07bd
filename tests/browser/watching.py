"""When something could be seen on an open page, by the clock that the whole machine shares.

    watch = Watch(page)
    watch.wait_for("ana", "#inbox [data-row]", "Ana")      # before the thing that leads to it
    ...
    seen_s = watch.seen_at("ana")                          # time.time() of its first frame

A script in the page looks after each change of the document, and notes the time when the frame
that shows it has been painted. So what is measured ends where a person's wait ends, and asking
for it afterwards adds nothing. It needs a page that is in front: hidden ones paint no frames.
"""

from __future__ import annotations

from typing import Final

from playwright.sync_api import Page

from tests.support.patience import patience

SEEN_MS: Final = 1_000 * patience(15)

_SCRIPT: Final = """() => {
  if (window.watched) return;
  const wanted = new Map(), seen = {};
  const is = ({ selector, text }) =>
    [...document.querySelectorAll(selector)].some((e) => e.textContent.includes(text));
  const look = () => {
    for (const [name, want] of wanted) {
      if (is(want) !== want.present) continue;
      wanted.delete(name);
      requestAnimationFrame(() => setTimeout(() => { seen[name] = Date.now(); }, 0));
    }
  };
  new MutationObserver(look).observe(document.body,
    { subtree: true, childList: true, characterData: true, attributes: true });
  const begin = (name, want) => { delete seen[name]; wanted.set(name, want); look(); };
  window.watched = { seen, want: begin };
}"""


class Watch:
    """Notes when things appear on a page, or leave it."""

    def __init__(self, page: Page) -> None:
        """Begin; a page that is loaded anew wants a new watch."""
        self._page = page
        page.evaluate(_SCRIPT)

    def wait_for(self, name: str, selector: str, text: str = "", *, present: bool = True) -> None:
        """Note under `name` when an element of `selector` holds `text`, or when none does."""
        want = {"selector": selector, "text": text, "present": present}
        self._page.evaluate("([name, want]) => window.watched.want(name, want)", [name, want])

    def seen_at(self, name: str, *, within_ms: float = SEEN_MS) -> float:
        """Return when it could be seen, in seconds since the epoch, to a millisecond.

        Raise playwright's TimeoutError when it is not within `within_ms`.
        """
        self._page.wait_for_function(
            "(name) => window.watched.seen[name]", arg=name, timeout=within_ms
        )
        return float(self._page.evaluate("(name) => window.watched.seen[name]", name)) / 1_000
