"""Fetches what the other side has for us, beside the rows that are sent: one at a time.

The network is used on a thread of its own and the drain never waits for it, so that it cannot delay
a row. The result is stored on the drain's thread; a fetch that hangs stores nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from holdfast.outbox.ports import Fetch, Fetched


class Fetcher:
    """Runs one fetch, step by step, whenever it is due."""

    def __init__(self, fetch: Fetch, *, ring: Callable[[], object]) -> None:
        """Run `fetch`; `ring` wakes the drain when a result is there."""
        self._fetch = fetch
        self._ring = ring
        self._thread: threading.Thread | None = None
        self._came: list[Fetched] = []

    @property
    def busy(self) -> bool:
        """Return whether a fetch is running, or due at once."""
        return self._thread is not None or self._fetch.wanted

    def note_newest(self, revision: int) -> None:
        """Pass on the number in an answer to a batch."""
        self._fetch.note_newest(revision)

    def step(self, may: Callable[[], bool]) -> None:
        """Store a result, and start a fetch that is due; `may` is whether sending is allowed."""
        thread = self._thread
        if thread is not None:
            if thread.is_alive() and not self._came:
                return
            self._thread = None
            came, self._came = self._came, []
            for finish in came:
                finish()
        if self._fetch.due() and may():
            self._begin()

    def _begin(self) -> None:
        fetch = self._fetch.begin()
        if fetch is None:
            return
        came = self._came

        def run() -> None:
            with suppress(Exception):
                came.append(fetch())
            self._ring()

        thread = threading.Thread(target=run, name="holdfast-errand", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # The interpreter is shutting down.
            return
        self._thread = thread
