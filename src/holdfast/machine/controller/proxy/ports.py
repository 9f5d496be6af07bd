"""What the parts of the proxy ask of each other, so that none imports who uses it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from holdfast.relay import http1


@dataclass(slots=True)
class Totals:
    """What went through since the start, on the callers' side: requests, refusals, bytes."""

    requests: int = 0
    refused: int = 0
    malformed: int = 0
    received: int = 0
    sent: int = 0


class Caller(Protocol):
    """A caller's connection, as whoever answers its request needs it."""

    slow: bool

    @property
    def closing(self) -> bool:
        """Return whether it is being closed."""
        ...

    def write(self, data: bytes) -> None:
        """Send bytes of the answer."""
        ...

    def answered(self, *, keep: bool = True) -> None:
        """Take note that the answer is complete; `keep` allows a next request."""
        ...

    def refuse(self, status: int) -> None:
        """Answer that the agent cannot be reached, and close."""
        ...

    def touch(self, wait_s: float) -> None:
        """Begin to wait anew."""
        ...

    def block(self) -> None:
        """Read no more for now."""
        ...

    def unblock(self) -> None:
        """Read again."""
        ...

    def peer_info(self, name: str, default: Any) -> Any:
        """Return what the transport knows of the caller."""
        ...

    def abort(self) -> None:
        """Close at once."""
        ...


class Carried(Protocol):
    """A request and its answer, as the connection to the agent needs them."""

    request: http1.Request

    @property
    def answer(self) -> http1.Body | None:
        """Return how the answer is framed, once that is known."""
        ...

    def head(self, response: http1.Response) -> None:
        """Take a head of the answer."""
        ...

    def data(self, data: bytes) -> None:
        """Take a piece of the answer."""
        ...

    def ended(self, *, reusable: bool) -> None:
        """Take note that the answer is complete."""
        ...

    def failed(self, *, unheard: bool = False) -> None:
        """Take note that the agent let go of it; `unheard` before it answered anything."""
        ...

    def slow(self, *, agent_is: bool) -> None:
        """Take note of whether the agent is behind with reading."""
        ...
