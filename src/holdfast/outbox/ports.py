"""What the outbox asks of others: who sends, whether it may, and who is told.

A sender gets a batch and says what came of it. It may block (it runs on a thread of its own, for
a bounded time) and it may raise (that counts as a failed try); it must never keep the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol, TypeAlias


class Item(NamedTuple):
    """One row on its way: `payload` is the JSON text as it was enqueued, byte for byte."""

    row: int
    event_id: str
    kind: str
    source: str
    seq: int
    payload: str
    attempts: int
    enqueued_ms: int


class Batch(NamedTuple):
    """Items in the order they were enqueued, and how the queue stands behind them."""

    items: tuple[Item, ...]
    depth: int
    oldest_age_ms: int
    dropped: int
    lost: int


class Refusal(NamedTuple):
    """Why one item was refused for good: an HTTP-like status and the other side's words."""

    status: int
    detail: str


class Answered(NamedTuple):
    """The request was taken; an event id that is neither taken nor refused is tried again.

    Of those taken the other side had `deduplicated` already. `verdicts` is the number of the
    newest decision that it has for us, None where it does not say.
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
    """429: come back later, after `retry_after_ms` where it was said."""

    detail: str
    retry_after_ms: int | None


class Failed(NamedTuple):
    """It may work later: 5xx, a wrong address, or the network (`status` None)."""

    status: int | None
    detail: str
    retry_after_ms: int | None


class Unready(NamedTuple):
    """There is nobody to send to yet: no key, no address."""

    reason: str


Answer: TypeAlias = Answered | Unauthorized | TooLarge | Rejected | Throttled | Failed | Unready


class Sender(Protocol):
    """Who carries a batch to the other side.

    It may have a method `mark() -> str` that names the key it would use now (never the key):
    when it changes, a pause after 401 or 403 ends. It may have a method `close`, called once
    when the outbox closes.
    """

    def __call__(self, batch: Batch, /) -> Answer:
        """Send the batch and say what came of it."""
        ...


Fetched: TypeAlias = Callable[[], object]
"""Writes down what came back."""


class Fetch(Protocol):
    """What is fetched from the other side, beside the rows.

    `due` is asked several times a second. It, `told`, `begin` and what a fetch returns run on the
    drain's thread: they must not speak to the network. The fetch that `begin` returns runs on a
    thread of its own and must not touch the folder; where it raises, nothing came back.
    """

    @property
    def wanted(self) -> bool:
        """Whether there is something to be fetched for certain."""
        ...

    def told(self, revision: int, /) -> None:
        """Hear the number of the newest there is, as an answer to a batch said it."""
        ...

    def due(self) -> bool:
        """Return whether to ask now."""
        ...

    def begin(self) -> Callable[[], Fetched] | None:
        """Return what asks; None where another process does."""
        ...


Gate: TypeAlias = Callable[[], str]
"""Asked before every send: `OPEN` lets it pass, any other text is the reason why not."""

Notice: TypeAlias = Callable[[str], None]
"""Told, seldom, what a person should know; must not raise and must not block."""


class DeadLetter(NamedTuple):
    """A row that was refused for good."""

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
