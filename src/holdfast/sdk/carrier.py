"""Carries batches to the plane; what speaks HTTP is loaded with the first one.

Until then a program that only records pays nothing for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import holdfast
from holdfast.sdk.destination import Destination

if TYPE_CHECKING:
    from holdfast.kernel.clock import Clock
    from holdfast.outbox.http_sender import HttpSender, Target
    from holdfast.outbox.ports import Answer, Batch


class Carrier:
    """The outbox's sender for one brain."""

    def __init__(self, destination: Destination, *, clock: Clock, name: Callable[[], str]) -> None:
        """Ask `destination` before each send; `name` tells whose corrections these are."""
        self._destination = destination
        self._clock = clock
        self._name = name
        self._sender: HttpSender | None = None

    def mark(self) -> str:
        """Return a name of address and key as they are now, empty while there are none."""
        return self._destination.find().mark()

    def __call__(self, batch: Batch) -> Answer:
        """Send the batch; see the outbox's ports."""
        from holdfast.outbox.ports import Unready  # noqa: PLC0415  # see above

        if self._sender is None:
            from holdfast.outbox.http_sender import HttpSender  # noqa: PLC0415  # see above

            self._sender = HttpSender(
                self._target,
                clock=self._clock,
                agent=f"holdfast/{holdfast.__version__}",
                name=self._name,
            )
        problem = self._destination.find().problem
        return Unready(problem) if problem else self._sender(batch)

    def _target(self) -> Target | None:
        from holdfast.kernel.secret import Secret  # noqa: PLC0415  # see above
        from holdfast.outbox.http_sender import Target  # noqa: PLC0415  # see above

        found = self._destination.find()
        return Target(found.url, Secret(found.key))

    def close(self) -> None:
        """Close the connection that is kept."""
        if self._sender is not None:
            self._sender.close()
