"""What waits for one reader: at most one change for each key, always the newest. Pure.

A page shows states, not histories, so a reader who is slow may miss what has passed and must
never miss what is. Memory is bounded twice: by one entry a key, and by a number of keys, beyond
which the reader is told to look at everything afresh.
"""

from __future__ import annotations

from typing import NamedTuple


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
    """Return whether a reader may be told of a change: operators all, others their own."""
    return operator or (account is not None and change.account == account)
