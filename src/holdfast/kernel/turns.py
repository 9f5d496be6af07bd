"""Locks by key, for what takes turns on one thing while other things go on."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

L = TypeVar("L")


class Turns(Generic[L]):
    """One lock for each key; it exists only while somebody holds it or waits for it."""

    def __init__(self, make: Callable[[], L]) -> None:
        """Have `make` make the locks, as `asyncio.Lock` does."""
        self._make = make
        self._locks: WeakValueDictionary[Hashable, L] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._locks)

    def of(self, *key: Hashable) -> L:
        """Return the lock of a key, for `with`, which keeps it alive."""
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = self._make()
        return lock
