"""Received sequence numbers of a sender: the newest one, and ranges that are missing. Pure.

A sender numbers its rows one by one. A set of all ids would grow for ever; this grows with the
missing ranges only. Beyond `most` ranges the oldest are dropped and counted: a row in a dropped
range counts as received, so it is then deduplicated by its content alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from holdfast.wire.limits import GAPS_MAX

_END: Final = 2**63


class Numbers(Struct, frozen=True, gc=False):
    """The numbers of one sender: `gaps` are (first, last), in order, none adjacent.

    `newest` is the largest number received. All up to `newest` were received except the gaps.
    """

    newest: int = 0
    gaps: tuple[tuple[int, int], ...] = ()
    forgotten: int = 0

    @property
    def high_water(self) -> int:
        """Return the number up to which nothing is missing."""
        return self.gaps[0][0] - 1 if self.gaps else self.newest

    @property
    def missing(self) -> int:
        """Return how many numbers are missing."""
        return sum(last - first + 1 for first, last in self.gaps)

    def has(self, number: int) -> bool:
        """Return whether a number was received."""
        if number > self.newest:
            return False
        at = bisect_right(self.gaps, (number, _END)) - 1
        return at < 0 or not self.gaps[at][0] <= number <= self.gaps[at][1]


def add(numbers: Numbers, came: Iterable[int], *, most: int = GAPS_MAX) -> Numbers:
    """Return the numbers with more received ones, each 1 or more, in any order."""
    newest, gaps = numbers.newest, list(numbers.gaps)
    for number in sorted(came):
        if number == newest + 1:
            newest = number
        elif number > newest:
            gaps.append((newest + 1, number - 1))
            newest = number
        else:
            _fill(gaps, number)
    over = max(0, len(gaps) - most)
    return Numbers(newest, tuple(gaps[over:]), numbers.forgotten + over)


def _fill(gaps: list[tuple[int, int]], number: int) -> None:
    """Remove a number from the gap that contains it, if any."""
    at = bisect_right(gaps, (number, _END)) - 1
    if at < 0 or number > gaps[at][1]:
        return
    first, last = gaps[at]
    gaps[at : at + 1] = [
        part for part in ((first, number - 1), (number + 1, last)) if part[0] <= part[1]
    ]
