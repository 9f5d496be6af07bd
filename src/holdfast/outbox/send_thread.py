"""Sends one batch on a thread of its own, so that the network cannot hang the drain.

Resolving a name may take minutes, a proxy may never answer: the waiting thread keeps beating the
lease, and gives up at the time limit. An abandoned thread's answer is discarded; the rows are sent
again, and their event ids make that harmless.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from holdfast.kernel.clock import Clock
from holdfast.outbox import limits
from holdfast.outbox.ports import Answer, Batch, Failed, Sender

_TICK_S: Final = 0.25


def _nothing() -> None:
    """Do nothing on a tick."""


def carry_here(sender: Sender, batch: Batch) -> Answer:
    """Send on the calling thread; an exception of the sender is a failed try."""
    try:
        return sender(batch)
    except Exception as error:  # noqa: BLE001  # a sender's bug must not end the drain
        return Failed(None, f"sender raised {type(error).__name__}: {error}", None)


class SendThread:
    """Sends batches one after another; `tick`, once set, is called four times a second."""

    def __init__(
        self,
        clock: Clock,
        *,
        timeout_s: float = limits.SEND_TIMEOUT_S + limits.SEND_GRACE_S,
    ) -> None:
        """Limit each send to `timeout_s` seconds."""
        self._clock = clock
        self.tick: Callable[[], object] = _nothing
        self._timeout_s = timeout_s
        self._given_up = False

    def give_up(self) -> None:
        """Stop waiting for what is under way."""
        self._given_up = True

    def __call__(self, sender: Sender, batch: Batch) -> Answer:
        """Return the answer, or a failed try if none came in time."""
        answers: list[Answer] = []
        done = threading.Event()

        def carry() -> None:
            try:
                answers.append(carry_here(sender, batch))
            finally:
                done.set()

        send_thread = threading.Thread(target=carry, name="holdfast-courier", daemon=True)
        try:
            send_thread.start()
        except RuntimeError:
            # The interpreter is shutting down: no threads any more, so send from this one.
            return carry_here(sender, batch)
        end_ms = self._clock.steady_ms() + self._timeout_s * 1_000
        while not done.wait(_TICK_S):
            self.tick()
            if self._given_up:
                return Failed(None, "given up: closing", None)
            if self._clock.steady_ms() >= end_ms:
                return Failed(None, f"no answer within {self._timeout_s:g} s", None)
        return answers[0] if answers else Failed(None, "the courier died", None)
