"""The hub between what is committed and the pages that are open.

Whoever commits says `publish(topic, key, account)`; each open page has a subscription that
gathers the newest change of each key. A change carries no content: the page asks the API, with
its reader's own rights, what there is to see now. So a publisher can never show too much, and a
row is always the committed one. It must only be used on the serving loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final

from holdfast.letters.topics import (
    BRAIN,
    CONTACT,
    CORRECTION,
    INSTANCE,
    LESSON,
    OPERATION,
    PAIRING,
    QUARANTINE,
)
from holdfast.web.coalesce import Batch, Change, Pending, may_know
from holdfast.web.limits import COALESCE_S, QUEUE_KEYS_MAX, RECENT_KEYS_MAX, RECENT_SHOWN
from holdfast.wire.api.call import Principal

__all__ = [
    "BRAIN", "CONTACT", "CORRECTION", "HEARTBEAT", "INSTANCE", "LESSON", "OPERATION", "PAIRING",
    "QUARANTINE", "Hub", "Subscription", "message", "signal",
]  # fmt: skip

HEARTBEAT: Final = b": here\n\n"


class Subscription:
    """What one open page waits for."""

    def __init__(self, principal: Principal, topics: Collection[str], *, keys_max: int) -> None:
        self._account = principal.account
        self._operator = principal.scope == "operator"
        self._topics = frozenset(topics)
        self._pending = Pending(keys_max=keys_max)
        self._arrived = asyncio.Event()
        self.dropped = 0

    def offer(self, change: Change) -> None:
        """Take a change in, if it is for this page and its reader may know of it."""
        if change.topic not in self._topics:
            return
        if may_know(self._account, change, operator=self._operator):
            self._pending.offer(change)
            self._arrived.set()

    async def next(self, wait_s: float, *, gather_s: float = COALESCE_S) -> Batch | None:
        """Return what changed, or None after `wait_s` seconds without a change.

        After the first change more are gathered for `gather_s`, so that a burst is drawn once.
        """
        try:
            async with asyncio.timeout(wait_s):
                await self._arrived.wait()
        except TimeoutError:
            return None
        await asyncio.sleep(gather_s)
        self._arrived.clear()
        batch = self._pending.take()
        if batch is not None:
            self.dropped += batch.dropped
        return batch


class Hub:
    """Every open page of this process."""

    def __init__(self, *, keys_max: int = QUEUE_KEYS_MAX) -> None:
        self._keys_max = keys_max
        self._subscriptions: set[Subscription] = set()
        self._paired: OrderedDict[str, str | None] = OrderedDict()
        self.seq = 0
        self.dropped = 0

    @property
    def readers(self) -> int:
        """Return how many pages are open."""
        return len(self._subscriptions)

    def publish(self, topic: str, key: str, account: str | None) -> int:
        """Tell every page that may know: this changed and is committed. Return its number."""
        self.seq += 1
        change = Change(topic, key, account, self.seq)
        if topic == PAIRING:
            self._paired[key] = account
            self._paired.move_to_end(key)
            while len(self._paired) > RECENT_KEYS_MAX:
                self._paired.popitem(last=False)
        for subscription in self._subscriptions:
            subscription.offer(change)
        return self.seq

    def recent(self, principal: Principal) -> tuple[str, ...]:
        """Return the instances whose pairing changed last and that a reader may know, newest first.

        What was decided there is worth showing to whoever opens the inbox only now.
        """
        operator = principal.scope == "operator"
        known = (
            key
            for key, account in reversed(self._paired.items())
            if may_know(principal.account, Change(PAIRING, key, account, 0), operator=operator)
        )
        return tuple(islice(known, RECENT_SHOWN))

    @contextmanager
    def subscribe(self, principal: Principal, topics: Collection[str]) -> Iterator[Subscription]:
        """Listen for as long as the block lasts."""
        subscription = Subscription(principal, topics, keys_max=self._keys_max)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            self.dropped += subscription.dropped


def message(html: str, *, seq: int) -> bytes:
    """Return a piece of page as one server-sent event."""
    lines = [line.strip() for line in html.splitlines()]
    data = "".join(f"data: {line}\n" for line in lines if line)
    return f"id: {seq}\n{data}\n".encode()


def signal(name: str, *, seq: int) -> bytes:
    """Return a named event without content."""
    return f"id: {seq}\nevent: {name}\ndata: {name}\n\n".encode()
