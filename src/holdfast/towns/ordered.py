"""A persistent sorted set of ids, each with the number that it is sorted by.

It is a sequence of short sorted chunks, so that one change copies a chunk and not what the set
holds, and the first ids are read without looking at the rest.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from itertools import chain, islice
from typing import Final, TypeAlias

from msgspec import Struct

Pair: TypeAlias = tuple[int, str]

_AFTER_ALL: Final[Pair] = (1 << 80, "")

CHUNK_MAX: Final = 64
_HALF: Final = CHUNK_MAX // 2
"""Pairs of one chunk: what a change of a large set copies is about that, and one place a chunk."""


class Ordered(Struct, frozen=True, gc=False, eq=False):
    """A sorted set of (number, id); two with the same pairs are equal, however they are chunked."""

    size: int = 0
    chunks: tuple[tuple[Pair, ...], ...] = ()

    def __eq__(self, other: object) -> bool:
        """Return whether another has the same pairs."""
        return isinstance(other, Ordered) and [*self.pairs()] == [*other.pairs()]

    def __hash__(self) -> int:
        """Return the same number for equal sets."""
        return hash(tuple(self.pairs()))

    def __len__(self) -> int:
        """Return how many pairs it has."""
        return self.size

    def __iter__(self) -> Iterator[str]:
        """Yield its ids in the order of their numbers, then of themselves."""
        return (one for _, one in self.pairs())

    def pairs(self) -> Iterator[Pair]:
        """Return its pairs in order, read as far as the caller goes."""
        return chain.from_iterable(self.chunks)

    def ids(self) -> list[str]:
        """Return its ids in their order."""
        return [one for chunk in self.chunks for _, one in chunk]

    def first(self) -> str:
        """Return its first id, or an empty string."""
        return self.chunks[0][0][1] if self.size else ""

    def __contains__(self, one: object) -> bool:
        """Return whether it has an id, looking at all; `has` looks a pair up."""
        return one in self.ids()

    def has(self, pair: Pair) -> bool:
        """Return whether it has a pair."""
        if self.size <= 1:
            return bool(self.size) and self.chunks[0][0] == pair
        chunk = self.chunks[_chunk_of(self.chunks, pair)]
        at = bisect_left(chunk, pair)
        return at < len(chunk) and chunk[at] == pair

    def up_to(self, number: int) -> list[str]:
        """Return the ids whose numbers are at most this, in order."""
        found: list[str] = []
        for chunk in self.chunks:
            if chunk[-1][0] <= number:
                found += [one for _, one in chunk]
                continue
            found += [one for at, one in chunk if at <= number]
            break
        return found

    def first_up_to(self, number: int, most: int) -> list[str]:
        """Return the first ids whose numbers are at most this, reading no more than `most`."""
        return [one for at, one in islice(self.pairs(), most) if at <= number]

    def next_after(self, number: int) -> int | None:
        """Return the least number above this, or None."""
        last = bisect_left(self.chunks, number + 1, key=_last_number)
        if last == len(self.chunks):
            return None
        return next(at for at, _ in self.chunks[last] if at > number)

    def adding(self, pair: Pair) -> Ordered:
        """Return it with one pair more, or itself when it has that pair."""
        chunks = self.chunks
        if not chunks:
            return Ordered(1, ((pair,),))
        place = _chunk_of(chunks, pair)
        chunk = chunks[place]
        at = bisect_left(chunk, pair)
        if at < len(chunk) and chunk[at] == pair:
            return self
        new = chunk[:at] + (pair,) + chunk[at:]  # noqa: RUF005  a third of the time
        halves = (new,) if len(new) <= CHUNK_MAX else (new[:_HALF], new[_HALF:])
        return Ordered(self.size + 1, chunks[:place] + halves + chunks[place + 1 :])

    def removing(self, pair: Pair) -> Ordered:
        """Return it without a pair; raise KeyError when it does not have that pair."""
        chunks = self.chunks
        if self.size <= 1:
            if not self.has(pair):
                raise KeyError(pair)
            return NOTHING
        place = _chunk_of(chunks, pair)
        chunk = chunks[place]
        at = bisect_left(chunk, pair)
        if at == len(chunk) or chunk[at] != pair:
            raise KeyError(pair)
        rest = chunk[:at] + chunk[at + 1 :]
        left = (rest,) if rest else ()
        return Ordered(self.size - 1, chunks[:place] + left + chunks[place + 1 :])

    def changing(self, gone: list[Pair], new: list[Pair]) -> Ordered:
        """Return it without some pairs and with others; raise KeyError where one was not there."""
        chunks, size = self.chunks or ((),), self.size
        opened: dict[int, list[Pair]] = {}
        for which, pairs in ((_take, gone), (_give, new)):
            for pair in pairs:
                place = _chunk_of(chunks, pair)
                here = opened.get(place)
                if here is None:
                    here = opened[place] = list(chunks[place])
                size += which(here, pair)
        if not size:
            return NOTHING
        done = 0
        made: list[tuple[Pair, ...]] = []
        for place in sorted(opened):
            made += chunks[done:place]
            made += _chunked(opened[place])
            done = place + 1
        return Ordered(size, (*made, *chunks[done:]))


def _take(here: list[Pair], pair: Pair) -> int:
    """Remove a pair from a sorted list, and return by how much it grew."""
    at = bisect_left(here, pair)
    if at == len(here) or here[at] != pair:
        raise KeyError(pair)
    del here[at]
    return -1


def _give(here: list[Pair], pair: Pair) -> int:
    """Insert a pair into a sorted list, unless it is there, and return by how much it grew."""
    at = bisect_left(here, pair)
    if at < len(here) and here[at] == pair:
        return 0
    here.insert(at, pair)
    return 1


def _chunked(pairs: list[Pair]) -> tuple[tuple[Pair, ...], ...]:
    """Return sorted pairs as chunks with room to grow."""
    if len(pairs) <= CHUNK_MAX:
        return (tuple(pairs),) if pairs else ()
    return tuple(tuple(pairs[at : at + _HALF]) for at in range(0, len(pairs), _HALF))


def _chunk_of(chunks: tuple[tuple[Pair, ...], ...], pair: Pair) -> int:
    """Return which chunk a pair belongs to; there is at least one chunk."""
    if len(chunks) == 1:
        return 0
    # A chunk that begins with the pair is less than one that goes on with what is after all pairs.
    return (bisect_right(chunks, (pair, _AFTER_ALL)) or 1) - 1


def _last_number(chunk: tuple[Pair, ...]) -> int:
    return chunk[-1][0]


NOTHING: Final = Ordered()
