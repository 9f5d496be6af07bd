"""Which numbers of a source have come: one number below which all have, and ranges above it. Pure.

A sender numbers its rows one by one. Remembering every id for ever would grow without end; this
grows with what is missing only. Beyond `most` ranges the oldest are forgotten and counted: a row
in a forgotten range counts as one that came, so it is then told apart by its content alone.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from holdfast.wire.limits import GAPS_MAX

_END: Final = 2**63


class Numbers(Struct, frozen=True, gc=False):
    """What is known of a source's numbers: `gaps` are (first, last), in order, none touching.

    `newest` is the largest number that came. All up to `newest` have come except the gaps.
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
        """Return whether a number has come."""
        if number > self.newest:
            return False
        at = bisect_right(self.gaps, (number, _END)) - 1
        return at < 0 or not self.gaps[at][0] <= number <= self.gaps[at][1]


def add(numbers: Numbers, came: Iterable[int], *, most: int = GAPS_MAX) -> Numbers:
    """Return what is known after these numbers, each 1 or more, came in whatever order."""
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
    """Take a number out of the gap it is in, if it is in one."""
    at = bisect_right(gaps, (number, _END)) - 1
    if at < 0 or number > gaps[at][1]:
        return
    first, last = gaps[at]
    gaps[at : at + 1] = [
        part for part in ((first, number - 1), (number + 1, last)) if part[0] <= part[1]
    ]
