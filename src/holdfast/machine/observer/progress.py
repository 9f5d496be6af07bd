"""How far reading has come: what is left of each class, and what cannot be read.

Safe from any thread.

Nothing of it names a file: it is told to the plane, which may know only counts and reasons.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Final, NamedTuple

from holdfast.kernel.clock import Clock
from holdfast.wire.consent import ContentClass

_Key = tuple[ContentClass, str]
_KINDS_MAX: Final = 8


class Trouble(NamedTuple):
    """Why so many sources cannot be read."""

    reason: str
    sources: int


class State(NamedTuple):
    """How far it is. `looked_ms` is when the last look at every file ended, 0 for never.

    `stepped_ms` is the last step on the steady clock. `sources` and `size` are what is left of
    content that may be sent, `size` in bytes without those of databases; what is read for numbers
    as well counts once. `too_long` counts lines of which only the length was sent.
    """

    looked_ms: int
    stepped_ms: float
    sources: int
    size: int
    too_long: int
    troubles: tuple[Trouble, ...]


class Progress:
    """Kept by the collector."""

    def __init__(self, clock: Clock) -> None:
        """Start with nothing known."""
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[_Key, int] = {}
        self._failed: dict[_Key, str] = {}
        self._looked_ms = 0
        self._stepped_ms = clock.steady_ms()
        self._too_long = 0

    def due(self, content: ContentClass) -> set[str]:
        """Return the names of what is left of a class, or failed before."""
        with self._lock:
            return {name for kind, name in (*self._left, *self._failed) if kind == content}

    def drop(self, content: ContentClass, names: Iterable[str]) -> None:
        """Forget sources of a class that are gone."""
        with self._lock:
            for name in names:
                self._left.pop((content, name), None)
                self._failed.pop((content, name), None)

    def clear(self, content: ContentClass | None = None) -> None:
        """Forget a class that is not read any more; without one, all."""
        with self._lock:
            for known in (self._left, self._failed):
                for key in [key for key in known if content in {key[0], None}]:
                    del known[key]
            self._stepped_ms = self._clock.steady_ms()

    def note(self, content: ContentClass, name: str, left: int | None) -> None:
        """Note how much is left of a source, None for nothing; it could be read."""
        with self._lock:
            self._stepped_ms = self._clock.steady_ms()
            self._failed.pop((content, name), None)
            if left is None:
                self._left.pop((content, name), None)
            else:
                self._left[content, name] = left

    def fail(self, content: ContentClass, name: str, because: str) -> None:
        """Note why a source cannot be read; `because` is a fixed text."""
        with self._lock:
            self._stepped_ms = self._clock.steady_ms()
            self._left.pop((content, name), None)
            self._failed[content, name] = because

    def passed(self, too_long: int) -> None:
        """Count lines of which only the length was sent."""
        self._too_long += too_long

    def looked(self) -> None:
        """Note that every file that may be read was looked at."""
        with self._lock:
            self._looked_ms = self._clock.now_ms()
            self._stepped_ms = self._clock.steady_ms()

    def state(self) -> State:
        """Return how far it is now."""
        with self._lock:
            by_name: dict[str, int] = {}
            for (_, name), left in self._left.items():
                by_name[name] = max(left, by_name.get(name, 0))
            failed = {(name, because) for (_, name), because in self._failed.items()}
            troubles = Counter(because for _, because in failed).most_common(_KINDS_MAX)
            return State(
                self._looked_ms, self._stepped_ms, len(by_name), sum(by_name.values()),
                self._too_long, tuple(Trouble(*each) for each in troubles),
            )  # fmt: skip
