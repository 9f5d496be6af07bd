"""Fetching what the other side has for us, beside the rows that leave: one question at a time.

The network is spoken to on a thread of its own and the drain never waits for it, so that nothing
it does holds up a row. What came back is written down on the drain's thread; of a fetch that
hangs, nothing is.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from holdfast.outbox.ports import Fetch, Fetched


class Fetcher:
    """Runs one errand, step by step, whenever it is due."""

    def __init__(self, fetch: Fetch, *, ring: Callable[[], object]) -> None:
        """Run `errand`; `ring` wakes the drain when something came back."""
        self._errand = fetch
        self._ring = ring
        self._thread: threading.Thread | None = None
        self._came: list[Fetched] = []

    @property
    def busy(self) -> bool:
        """Whether something is under way, or wanted at once."""
        return self._thread is not None or self._errand.wanted

    def told(self, revision: int) -> None:
        """Pass on what an answer to a batch said."""
        self._errand.told(revision)

    def step(self, may: Callable[[], bool]) -> None:
        """Write down what came back, and ask what is due; `may` says whether anything may be."""
        thread = self._thread
        if thread is not None:
            if thread.is_alive() and not self._came:
                return
            self._thread = None
            came, self._came = self._came, []
            for finish in came:
                finish()
        if self._errand.due() and may():
            self._begin()

    def _begin(self) -> None:
        fetch = self._errand.begin()
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
            # The interpreter is on its way out.
            return
        self._thread = thread
