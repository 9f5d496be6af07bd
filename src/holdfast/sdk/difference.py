"""How much of a draft remains in the final text, and which words were replaced.

Two levels, so that the work stays near linear in length: lines first; then, inside the lines that
changed, words; and letters inside single words. Sections are split at words that occur once on both
sides. What cannot be aligned within a bound is not searched further: its common words count half.
Pure: no clock, no chance.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from holdfast.sdk import limits

_WORDS: Final = re.compile(r"\w+|[^\w\s]")
_CLOSING: Final = frozenset(".,;:!?)]}%")
_OPENING: Final = frozenset("([{")
_COMMON_COUNTS: Final = 0.5

Block = tuple[int, int, int]
"""The starts of equal runs on either side, and their length."""


class Hunk(NamedTuple):
    """One changed place: words joined by single spaces, as a person would write them."""

    removed: str
    added: str


class Difference(NamedTuple):
    """The comparison's result: `distance` is 0 if no word changed, 1 if nothing remains.

    `hunks` are the first changed places, at most 200. `lines_moved` is the difference in the number
    of lines. `exact` is False if a section was counted instead of aligned.
    """

    distance: float
    hunks: tuple[Hunk, ...]
    lines_moved: int
    exact: bool


class _Tally:
    """The intermediate result, and how many steps may still be taken."""

    __slots__ = ("exact", "hunks", "kept", "steps")

    def __init__(self, words: int) -> None:
        self.kept = 0.0
        self.hunks: list[Hunk] = []
        self.exact = True
        self.steps = limits.ALIGN_STEPS_LEAST + limits.ALIGN_STEPS_PER_WORD * words


def compare(draft: str, final: str) -> Difference:
    """Return the difference of two texts, ignoring white space."""
    head = _shared_head(draft, final)
    tail = _shared_tail(draft, final, head)
    ends = len(draft) - tail, len(final) - tail
    same = 2 * (_weight(_WORDS.findall(draft[:head])) + _weight(_WORDS.findall(draft[ends[0] :])))
    old, new = draft[head : ends[0]], final[head : ends[1]]
    tally = _Tally((len(old) + len(new)) // 4)
    total = _compare_lines(old, new, tally) + same
    kept = tally.kept * 2 + same
    return Difference(
        distance=round(max(1 - kept / total, 0.0), 4) if total else 0.0,
        hunks=tuple(tally.hunks),
        lines_moved=new.count("\n") - old.count("\n"),
        exact=tally.exact,
    )


def _compare_lines(old: str, new: str, tally: _Tally) -> int:
    """Compare line by line, then what changed word by word; return the weight of both."""
    if "\n" not in old or "\n" not in new:
        return _compare_words(old, new, tally)
    before, after = old.splitlines(), new.splitlines()
    total = 0
    at_old = at_new = 0
    for start_old, start_new, length in (*_align(before, after, tally), _end(before, after)):
        if at_old < start_old or at_new < start_new:
            gone = "\n".join(before[at_old:start_old])
            come = "\n".join(after[at_new:start_new])
            total += _compare_words(gone, come, tally)
        at_old, at_new = start_old + length, start_new + length
        weight = _weight(_WORDS.findall("\n".join(before[start_old:at_old])))
        tally.kept += weight
        total += 2 * weight
    return total


def _compare_words(old: str, new: str, tally: _Tally) -> int:
    before, after = _WORDS.findall(old), _WORDS.findall(new)
    at_old = at_new = 0
    for start_old, start_new, length in (*_align(before, after, tally), _end(before, after)):
        if at_old < start_old or at_new < start_new:
            _changed(before[at_old:start_old], after[at_new:start_new], tally)
        at_old, at_new = start_old + length, start_new + length
        tally.kept += _weight(before[start_old:at_old])
    return _weight(before) + _weight(after)


def _changed(gone: list[str], come: list[str], tally: _Tally) -> None:
    if len(gone) == len(come) == 1:
        tally.kept += _shared_letters(gone[0], come[0])
    elif not set(gone).isdisjoint(come):
        common = Counter(gone) & Counter(come)
        if common:
            tally.exact = False
            tally.kept += _COMMON_COUNTS * _weight(list(common.elements()))
    if len(tally.hunks) < limits.HUNKS_KEPT:
        tally.hunks.append(Hunk(_joined(gone), _joined(come)))


def _end(before: Sequence[str], after: Sequence[str]) -> Block:
    return len(before), len(after), 0


def _weight(words: list[str]) -> int:
    """Return the weight of words: their letters, and one for the space beside each."""
    return sum(map(len, words)) + len(words)


def _shared_letters(old: str, new: str) -> int:
    """Return how many letters a changed word kept, if at least half of it was."""
    if max(len(old), len(new)) > limits.LETTERS_ALIGNED_MAX:
        return 0
    head = _match_head(old, new)
    both = head + _match_tail(old[head:], new[head:])
    return both if both * 2 >= max(len(old), len(new)) else 0


def _joined(words: list[str]) -> str:
    """Join words to a text, cut to a readable length."""
    parts: list[str] = []
    left = limits.HUNK_CHARS_MAX
    glued = True
    for word in words:
        if not glued and word not in _CLOSING:
            parts.append(" ")
        parts.append(word)
        glued = word in _OPENING
        left -= len(word) + 1
        if left < 0:
            return "".join(parts)[: limits.HUNK_CHARS_MAX - 1] + "…"
    return "".join(parts)


# ---------------------------------------------------------------------- equal ends


def _match_head(old: str, new: str) -> int:
    """Return the length of the common prefix in letters."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[low:middle] == new[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _match_tail(old: str, new: str) -> int:
    """Return the length of the common suffix in letters."""
    low, high = 0, min(len(old), len(new))
    while low < high:
        middle = (low + high + 1) // 2
        if old[len(old) - middle : len(old) - low] == new[len(new) - middle : len(new) - low]:
            low = middle
        else:
            high = middle - 1
    return low


def _shared_head(old: str, new: str) -> int:
    """Return the length of the common beginning, back to the start of a line or word."""
    head = _match_head(old, new)
    if head == len(old) == len(new):
        return head
    line = old.rfind("\n", 0, head) + 1
    if line or "\n" in old:
        return line
    while head and not old[head - 1].isspace():
        head -= 1
    return head


def _shared_tail(old: str, new: str, head: int) -> int:
    """Return the length of the common end after `head`, cut to whole lines, or words."""
    tail = _match_tail(old[head:], new[head:])
    starts = (old, len(old) - tail), (new, len(new) - tail)
    if all(start == head or text[start - 1] == "\n" for text, start in starts):
        return tail
    line = old.find("\n", len(old) - tail)
    if line >= 0:
        return len(old) - line
    if "\n" in old:
        return 0
    while tail and not old[len(old) - tail].isspace():
        tail -= 1
    return tail


# ---------------------------------------------------------------------- aligning


def _align(old: Sequence[str], new: Sequence[str], tally: _Tally) -> list[Block]:
    """Return equal runs in order.

    Long sections are split at words that are unique on both sides, recursively; the runs of short
    ones are as long as can be.
    """
    blocks: list[Block] = []
    stack = [(0, len(old), 0, len(new))]
    while stack:
        a, a_end, b, b_end = stack.pop()
        start = a
        while a < a_end and b < b_end and old[a] == new[b]:
            a, b = a + 1, b + 1
        if a > start:
            blocks.append((start, b - (a - start), a - start))
        end = a_end
        while a < a_end and b < b_end and old[a_end - 1] == new[b_end - 1]:
            a_end, b_end = a_end - 1, b_end - 1
        if end > a_end:
            blocks.append((a_end, b_end, end - a_end))
        tally.steps -= (end - start) + (b_end - b)
        if a == a_end or b == b_end:
            continue
        left, right = old[a:a_end], new[b:b_end]
        # Most changed places have no common word: nothing is left to be found there.
        if set(left).isdisjoint(right):
            continue
        if tally.steps < 0:
            tally.exact = False
            continue
        # One unique word that moved would hide all others: a short section is searched whole.
        is_short = len(left) + len(right) <= limits.ALIGN_WHOLE_MAX
        anchors = [] if is_short else _anchors(left, right)
        if anchors:
            cuts = [(a, b), *((a + i, b + j) for i, j in anchors), (a_end, b_end)]
            stack += [(x, x_end, y, y_end) for (x, y), (x_end, y_end) in pairwise(cuts)]
        else:
            blocks += _shortest_edit(old, new, (a, a_end, b, b_end), tally)
    blocks.sort()
    return blocks


def _anchors(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Return pairs of positions of words unique on both sides, their longest rising run."""
    counts_old, counts_new = Counter(old), Counter(new)
    place = {word: at for at, word in enumerate(new) if counts_new[word] == 1}
    pairs = [
        (at, place[word]) for at, word in enumerate(old) if counts_old[word] == 1 and word in place
    ]
    # Patience: each pile keeps the smallest end of a rising run of its length.
    ends: list[int] = []
    piles: list[int] = []
    before: list[int] = []
    for index, (_, at) in enumerate(pairs):
        pile = bisect_left(ends, at)
        before.append(piles[pile - 1] if pile else -1)
        if pile == len(ends):
            ends.append(at)
            piles.append(index)
        else:
            ends[pile], piles[pile] = at, index
    run: list[tuple[int, int]] = []
    index = piles[-1] if piles else -1
    while index >= 0:
        run.append(pairs[index])
        index = before[index]
    return run[::-1]


def _shortest_edit(
    old: Sequence[str], new: Sequence[str], where: tuple[int, int, int, int], tally: _Tally
) -> list[Block]:
    """Return the runs of a shortest edit script (Myers), None if it has too many edits."""
    a, a_end, b, b_end = where
    length_old, length_new = a_end - a, b_end - b
    reach = {1: 0}
    trace: list[dict[int, int]] = []
    for edits in range(min(limits.ALIGN_EDITS_MAX, length_old + length_new) + 1):
        trace.append(dict(reach))
        for k in range(-edits, edits + 1, 2):
            down = k == -edits or (k != edits and reach[k - 1] < reach[k + 1])
            x = reach[k + 1] if down else reach[k - 1] + 1
            y = x - k
            start = x
            while x < length_old and y < length_new and old[a + x] == new[b + y]:
                x, y = x + 1, y + 1
            tally.steps -= 1 + x - start
            reach[k] = x
            if x >= length_old and y >= length_new:
                return _walked_back(trace, (a, b), (length_old, length_new))
        if tally.steps < 0:
            break
    tally.exact = False
    return []


def _walked_back(
    trace: list[dict[int, int]], start: tuple[int, int], end: tuple[int, int]
) -> list[Block]:
    blocks: list[Block] = []
    x, y = end
    for edits in range(len(trace) - 1, -1, -1):
        reach = trace[edits]
        k = x - y
        down = k == -edits or (k != edits and reach[k - 1] < reach[k + 1])
        x_from = reach[k + 1] if down else reach[k - 1]
        y_from = x_from - (k + 1 if down else k - 1)
        x_run = x_from if down else x_from + 1
        if x > x_run:
            blocks.append((start[0] + x_run, start[1] + x_run - k, x - x_run))
        x, y = x_from, y_from
    return blocks
