"""Ports of the outbox: the sender, the gate, the notice and the fetch.

A sender gets a batch and returns the result. It may block (it runs on a thread of its own, for a
bounded time) and it may raise (that counts as a failed try); it must never keep the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, TypeAlias


class Item(NamedTuple):
    """One row to be sent: `payload` is the JSON text as it was enqueued, byte for byte."""

    row: int
    event_id: str
    kind: str
    source: str
    seq: int
    payload: str
    attempts: int
    enqueued_ms: int


class Batch(NamedTuple):
    """Items in the order they were enqueued, and the state of the queue after them."""

    items: tuple[Item, ...]
    depth: int
    oldest_age_ms: int
    dropped: int
    lost: int


class Refusal(NamedTuple):
    """Why one item was refused permanently: an HTTP-like status and the other side's text."""

    status: int
    detail: str


class Answered(NamedTuple):
    """The request was taken; an event id that is neither taken nor refused is tried again.

    Of those taken the other side had `deduplicated` already. `verdicts` is the number of the newest
    verdict that it has for us, None if unknown.
    """

    taken: frozenset[str]
    refused: Mapping[str, Refusal]
    deduplicated: int = 0
    verdicts: int | None = None


class Unauthorized(NamedTuple):
    """401 or 403: nothing is wrong with the items; `mark` names the key that was used."""

    status: int
    detail: str
    mark: str


class TooLarge(NamedTuple):
    """413: the same items in smaller requests may pass."""

    detail: str


class Rejected(NamedTuple):
    """400 or 422 for the request as a whole: one of its items is poison."""

    status: int
    detail: str


class Throttled(NamedTuple):
    """429: try again later, after `retry_after_ms` if given."""

    detail: str
    retry_after_ms: int | None


class Failed(NamedTuple):
    """It may work later: 5xx, a wrong address, or the network (`status` None)."""

    status: int | None
    detail: str
    retry_after_ms: int | None


class Unready(NamedTuple):
    """There is no destination yet: no key, no address."""

    reason: str


Answer: TypeAlias = Answered | Unauthorized | TooLarge | Rejected | Throttled | Failed | Unready


class Sender(Protocol):
    """Carries a batch to the other side.

    It may have a method `mark() -> str` that names the key it would use now (never the key): when
    it changes, a pause after 401 or 403 ends. It may have a method `close`, called once when the
    outbox closes.
    """

    def __call__(self, batch: Batch, /) -> Answer:
        """Send the batch and return the result."""
        ...


Fetched: TypeAlias = Callable[[], object]
"""Stores the result of a fetch."""


class Fetch(Protocol):
    """What is fetched from the other side, beside the rows.

    `due` is called several times a second. It, `note_newest`, `begin` and what a fetch returns run
    on the drain's thread: they must not use the network. The fetch that `begin` returns runs on a
    thread of its own and must not touch the folder; if it raises, there is no result.
    """

    @property
    def wanted(self) -> bool:
        """Return whether there is something to fetch for certain."""
        ...

    def note_newest(self, revision: int, /) -> None:
        """Receive the newest number, from an answer to a batch."""
        ...

    def due(self) -> bool:
        """Return whether to fetch now."""
        ...

    def begin(self) -> Callable[[], Fetched] | None:
        """Return the fetch to run; None if another process runs one."""
        ...


Gate: TypeAlias = Callable[[], str]
"""Called before every send: `OPEN` allows it, any other text is the reason of a refusal."""

Notice: TypeAlias = Callable[[str], None]
"""Called, rarely, with a message for a person; must not raise and must not block."""


class DeadLetter(NamedTuple):
    """A row that was refused permanently."""

    row: int
    event_id: str
    kind: str
    seq: int
    status: int
    detail: str
    attempts: int
    enqueued_ms: int
    dead_ms: int
    payload: str
