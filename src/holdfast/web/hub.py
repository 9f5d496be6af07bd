"""The hub between what is committed and the pages that are open.

A change is published as `publish(topic, key, account)`; each open page has a subscription that
keeps the newest change of each key. A change carries no content: the page reads the API with its
reader's own rights. So a publisher cannot disclose anything, and a row is always the committed
one. It must only be used on the serving loop.

A page shows states, not histories, so a reader who is slow may miss what has passed and must
never miss what is. Memory is bounded twice: by one entry a key, and by a number of keys, beyond
which the reader gets one order to load everything afresh.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Final, NamedTuple

from holdfast.letters.topics import PAIRING
from holdfast.web.limits import COALESCE_S, QUEUE_KEYS_MAX, RECENT_KEYS_MAX, RECENT_SHOWN
from holdfast.wire.api.call import Principal

HEARTBEAT: Final = b": here\n\n"


class Change(NamedTuple):
    """Something visible changed: `topic` and `key` say what, `account` who may know it.

    `account` is None for what only operators see. `seq` grows with each change in this process.
    """

    topic: str
    key: str
    account: str | None
    seq: int


class Batch(NamedTuple):
    """What a reader takes at once; `all_stale` when keys were too many to name.

    `dropped` counts the earlier states that were overtaken since the reader last took.
    """

    changes: tuple[Change, ...]
    all_stale: bool
    dropped: int


class Pending:
    """The changes that one reader has not taken yet."""

    __slots__ = ("_all_stale", "_changes", "_dropped", "_keys_max")

    def __init__(self, *, keys_max: int) -> None:
        self._keys_max = keys_max
        self._changes: dict[tuple[str, str], Change] = {}
        self._all_stale = False
        self._dropped = 0

    def offer(self, change: Change) -> None:
        """Keep a change, in the place of an older one of the same key."""
        if self._all_stale:
            self._dropped += 1
            return
        key = (change.topic, change.key)
        if self._changes.pop(key, None) is not None:
            self._dropped += 1
        elif len(self._changes) >= self._keys_max:
            self._dropped += len(self._changes) + 1
            self._changes.clear()
            self._all_stale = True
            return
        self._changes[key] = change

    def take(self) -> Batch | None:
        """Return what waits and begin anew; None when nothing does."""
        if not self._changes and not self._all_stale:
            return None
        batch = Batch(tuple(self._changes.values()), self._all_stale, self._dropped)
        self._changes, self._all_stale, self._dropped = {}, False, 0
        return batch


def may_know(account: str | None, change: Change, *, operator: bool) -> bool:
    """Return whether a reader may get a change: operators all, others their own account's."""
    return operator or (account is not None and change.account == account)


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

    async def next(self, wait_s: float, *, coalesce_s: float = COALESCE_S) -> Batch | None:
        """Return what changed, or None after `wait_s` seconds without a change.

        After the first change it waits `coalesce_s` for more, so that a burst is drawn once.
        """
        try:
            async with asyncio.timeout(wait_s):
                await self._arrived.wait()
        except TimeoutError:
            return None
        await asyncio.sleep(coalesce_s)
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
        """Queue a committed change for every page that may get it. Return its number."""
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

        A page of the inbox that is opened later shows what was decided for them.
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
    """Return a piece of page as one server-sent event, with its lines as they are.

    Only LF separates them: a CR would end a line of the event, and in HTML it is a line's end too.
    """
    lines = html.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    data = "".join(f"data: {line}\n" for line in lines)
    return f"id: {seq}\n{data}\n".encode()


def signal(name: str, *, seq: int) -> bytes:
    """Return a named event without content."""
    return f"id: {seq}\nevent: {name}\ndata: {name}\n\n".encode()
