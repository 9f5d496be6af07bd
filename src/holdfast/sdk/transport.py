"""Sends batches to the plane; the HTTP module is loaded with the first one.

Until then a program that only records pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import holdfast
from holdfast.sdk.destination import Destination, verdicts_url

if TYPE_CHECKING:
    from holdfast.kernel.clock import Clock
    from holdfast.outbox.http_sender import HttpSender, Target
    from holdfast.outbox.ports import Answer, Batch

_ONE: Final = "sender"
_PROGRAM: Final = f"holdfast/{holdfast.__version__}"


class Transport:
    """The outbox's sender for one brain."""

    def __init__(self, destination: Destination, *, clock: Clock, name: Callable[[], str]) -> None:
        """Look up `destination` before each send; `name` identifies the brain."""
        self._destination = destination
        self._clock = clock
        self._name = name
        # Of two threads that make one, the first one's is used by both.
        self._sender: dict[str, HttpSender] = {}

    def mark(self) -> str:
        """Return a fingerprint of the current address and key, empty if there are none."""
        return self._destination.find().mark()

    def __call__(self, batch: Batch) -> Answer:
        """Send the batch; see the outbox's ports."""
        from holdfast.outbox.ports import Unready  # noqa: PLC0415  # see above

        sender = self._opened()
        problem = self._destination.find().problem
        return Unready(problem) if problem else sender(batch)

    def post(self, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Request verdicts, on the connection of the batches; raise OSError or ValueError."""
        found = self._destination.find()
        if found.problem:
            raise ValueError(found.problem)
        from holdfast.kernel.secret import Secret  # noqa: PLC0415  # see above

        return self._opened().post(verdicts_url(found.url), Secret(found.key), body)

    def question(self) -> dict[str, str]:
        """Return the sender's part of a request, as in a batch."""
        return {"sdk": _PROGRAM, "brain": self._name()}

    def _opened(self) -> HttpSender:
        if self._sender:
            return self._sender[_ONE]
        from holdfast.outbox.http_sender import HttpSender  # noqa: PLC0415  # see above

        made = HttpSender(self._target, clock=self._clock, agent=_PROGRAM, name=self._name)
        return self._sender.setdefault(_ONE, made)

    def _target(self) -> Target | None:
        from holdfast.kernel.secret import Secret  # noqa: PLC0415  # see above
        from holdfast.outbox.http_sender import Target  # noqa: PLC0415  # see above

        found = self._destination.find()
        return Target(found.url, Secret(found.key))

    def close(self) -> None:
        """Close the kept connection."""
        for sender in self._sender.values():
            sender.close()
