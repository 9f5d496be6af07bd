"""Who was to be ticked and was not yet: shows that an engine stands still while calls go on.

Whom this plane gave up is remembered apart: another plane may tick it, so that it says nothing
about this engine, but its own figures grow.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.actors.limits import PROGRESS_MS
from holdfast.kernel.clock import Clock
from holdfast.kernel.ids import Address


class Progress:
    """When actors were first woken, of those that were not ticked since."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._woken: dict[Address, float] = {}
        self._given_up: dict[Address, float] = {}

    def woken(self, actor: Address) -> None:
        """Note that an actor is to be ticked."""
        self._woken.setdefault(actor, self._clock.steady_ms())

    def ended(self, actor: Address) -> None:
        """Note that a tick of an actor is over."""
        self._woken.pop(actor, None)

    def given_up(self, actor: Address) -> None:
        """Note that an actor is not ticked any more, since when it was last to be."""
        self._given_up[actor] = self._woken.pop(actor, self._clock.steady_ms())

    def stalled(self, for_ms: int = PROGRESS_MS) -> Iterator[tuple[Address, float]]:
        """Yield actors that have waited for so long, with how long, in ms, the longest first.

        Whatever is why: a loop that hangs, a commit that never ends, a tick that raises.
        """
        now_ms = self._clock.steady_ms()
        for actor, since_ms in self._woken.items():
            if now_ms - since_ms < for_ms:
                return
            yield actor, now_ms - since_ms

    def waiting(self) -> Iterator[tuple[Address, float]]:
        """Yield all actors that wait for a tick, those given up too, with how long, in ms."""
        now_ms = self._clock.steady_ms()
        for actor, since_ms in (*self._woken.items(), *self._given_up.items()):
            yield actor, now_ms - since_ms
