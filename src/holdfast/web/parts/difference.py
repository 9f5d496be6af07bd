"""What changed between two texts, word by word, for a person to read. Pure.

Patience first: words that occur once in each text and in the same order anchor the comparison,
so that its cost grows with the texts' length and not with its square. Between anchors a shortest
edit is looked for within a bound; beyond it the whole stretch counts as replaced, which is what a
reader sees in it too.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple

_WORDS: Final = re.compile(r"\s+|\w+|[^\w\s]")
_HEAD: Final = re.compile(r"\A\s+")
_TAIL: Final = re.compile(r"\s+\Z")
_EDITS_MAX: Final = 24
"""Edits between two anchors that are looked for one by one; the search costs half its square."""
_SHORT: Final = 48
"""Words below which no anchors are needed."""

Kind = Literal["same", "removed", "added", "left_out"]


class Piece(NamedTuple):
    """A stretch of text; one that is `left_out` is the same on both sides and not shown."""

    kind: Kind
    text: str


class _Stretch(NamedTuple):
    """Words of the draft and of the final that stand at the same place."""

    old: Sequence[str]
    new: Sequence[str]


def difference(draft: str, final: str) -> tuple[Piece, ...]:
    """Return the pieces in reading order.

    `same` and `removed` together are the draft, `same` and `added` the final. Of a stretch that
    was replaced, what was removed stands first.
    """
    old, new = _WORDS.findall(draft), _WORDS.findall(final)
    head = _alike(old, new)
    tail = _alike(old[head:][::-1], new[head:][::-1])
    middle = _Stretch(old[head : len(old) - tail], new[head : len(new) - tail])
    stretches = [_same(old[:head]), *_between(middle), _same(old[len(old) - tail :])]
    return tuple(_merged(_pieces(stretches)))


def _same(words: Sequence[str]) -> _Stretch:
    return _Stretch(words, words)


def _alike(old: Sequence[str], new: Sequence[str]) -> int:
    """Return how many words both begin with."""
    most = min(len(old), len(new))
    return next((at for at in range(most) if old[at] != new[at]), most)


def _between(middle: _Stretch) -> Iterator[_Stretch]:
    """Yield stretches that are equal or wholly different, in order."""
    old, new = middle
    if len(old) + len(new) <= _SHORT:
        yield from _edits(old, new)
        return
    here = there = 0
    for at_old, at_new in _anchors(old, new):
        if at_old < here:
            continue  # taken in by the anchor before
        yield from _edits(old[here:at_old], new[there:at_new])
        run = _alike(old[at_old:], new[at_new:])
        yield _same(old[at_old : at_old + run])
        here, there = at_old + run, at_new + run
    yield from _edits(old[here:], new[there:])


def _anchors(old: Sequence[str], new: Sequence[str]) -> list[tuple[int, int]]:
    """Return where words stand that occur once on each side: the longest row in one order."""
    once_old = {word for word, count in Counter(old).items() if count == 1}
    once_new = {word for word, count in Counter(new).items() if count == 1}
    place = {word: at for at, word in enumerate(new) if word in once_new}
    pairs = [(at, place[word]) for at, word in enumerate(old) if word in once_old and word in place]
    ends: list[int] = []  # the last place of the best row of each length
    best: list[int] = []  # which pair that is
    before: list[int] = []  # for each pair, the pair it follows
    for number, (_, at_new) in enumerate(pairs):
        length = bisect_left(ends, at_new)
        before.append(best[length - 1] if length else -1)
        if length == len(ends):
            ends.append(at_new)
            best.append(number)
        else:
            ends[length], best[length] = at_new, number
    row: list[tuple[int, int]] = []
    number = best[-1] if best else -1
    while number >= 0:
        row.append(pairs[number])
        number = before[number]
    return row[::-1]


def _edits(old: Sequence[str], new: Sequence[str]) -> Iterator[_Stretch]:
    """Yield the stretches of a shortest edit, or one replacement where that is too far."""
    if not old or not new or old == new:
        yield _Stretch(old, new)
        return
    trace = _search(old, new)
    if trace is None:
        yield _Stretch(old, new)
        return
    steps: list[_Stretch] = []
    x, y = len(old), len(new)
    for edits in range(len(trace) - 1, -1, -1):
        reach, diagonal = trace[edits], x - y
        down = diagonal == -edits or (
            diagonal != edits and reach.get(diagonal - 1, -1) < reach.get(diagonal + 1, -1)
        )
        from_diagonal = diagonal + 1 if down else diagonal - 1
        from_x = reach.get(from_diagonal, 0) if edits else 0
        from_y = from_x - from_diagonal if edits else 0
        start_x = from_x + (0 if down or not edits else 1)
        steps.append(_same(old[start_x:x]))
        if edits:
            steps.append(
                _Stretch((), new[from_y : from_y + 1])
                if down
                else _Stretch(old[from_x:start_x], ())
            )
        x, y = from_x, from_y
    yield from reversed(steps)


def _search(old: Sequence[str], new: Sequence[str]) -> list[dict[int, int]] | None:
    """Return how far each diagonal reached before each edit (Myers), or None beyond the bound."""
    reach: dict[int, int] = {1: 0}
    trace: list[dict[int, int]] = []
    for edits in range(min(_EDITS_MAX, len(old) + len(new)) + 1):
        trace.append(dict(reach))
        for diagonal in range(-edits, edits + 1, 2):
            down = diagonal == -edits or (
                diagonal != edits and reach.get(diagonal - 1, -1) < reach.get(diagonal + 1, -1)
            )
            x = reach[diagonal + 1] if down else reach[diagonal - 1] + 1
            y = x - diagonal
            while x < len(old) and y < len(new) and old[x] == new[y]:
                x, y = x + 1, y + 1
            reach[diagonal] = x
            if x >= len(old) and y >= len(new):
                return trace
    return None


def _pieces(stretches: Iterable[_Stretch]) -> Iterator[Piece]:
    """Yield pieces; white space between two changes counts as changed."""
    removed: list[str] = []
    added: list[str] = []
    same: list[str] = []
    for old, new in stretches:
        if old == new:
            same.extend(old)
            continue
        text = "".join(same)
        if (removed or added) and text and not text.isspace():
            yield from _change(removed, added)
        if text.isspace() and (removed or added):
            removed.append(text)
            added.append(text)
        elif text:
            yield Piece("same", text)
        same.clear()
        removed.extend(old)
        added.extend(new)
    yield from _change(removed, added)
    if same:
        yield Piece("same", "".join(same))


def _change(removed: list[str], added: list[str]) -> Iterator[Piece]:
    """Yield the change and clear both lists; white space common to both ends is no change."""
    old, new = "".join(removed), "".join(added)
    removed.clear()
    added.clear()
    head = tail = ""
    if old.strip() and new.strip():
        head = _shared(old, new, _HEAD)
        tail = _shared(old, new, _TAIL)
    yield from (
        piece
        for piece in (
            Piece("same", head),
            Piece("removed", old[len(head) : len(old) - len(tail)]),
            Piece("added", new[len(head) : len(new) - len(tail)]),
            Piece("same", tail),
        )
        if piece.text
    )


def _shared(old: str, new: str, space: re.Pattern[str]) -> str:
    """Return the white space at one end of both, or nothing where they differ there."""
    found, other = space.search(old), space.search(new)
    text = found[0] if found else ""
    return text if other and other[0] == text else ""


def _merged(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yield pieces, neighbours of one kind as one."""
    held: Piece | None = None
    for piece in pieces:
        if held is None or held.kind != piece.kind:
            if held is not None:
                yield held
            held = piece
        else:
            held = held._replace(text=held.text + piece.text)
    if held is not None:
        yield held


def excerpt(pieces: Sequence[Piece], *, around: int, most: int) -> tuple[Piece, ...]:
    """Return the changes with `around` characters beside them, `most` characters in all.

    Text that is left out is marked by a piece of its own.
    """
    shown: list[Piece] = []
    room = most
    for at, piece in enumerate(pieces):
        if room <= 0:
            shown.append(Piece("left_out", "".join(each.text for each in pieces[at:])))
            break
        first, last = at == 0, at == len(pieces) - 1
        parts = _cut(piece, around, first=first, last=last) if piece.kind == "same" else [piece]
        for part in parts:
            if part.kind == "left_out" or len(part.text) <= room:
                shown.append(part)
            else:
                shown.append(part._replace(text=part.text[:room]))
                shown.append(Piece("left_out", part.text[room:]))
            room -= 0 if part.kind == "left_out" else len(part.text)
    return tuple(shown)


def _cut(piece: Piece, around: int, *, first: bool, last: bool) -> list[Piece]:
    """Return a stretch that is the same with its middle left out where it is long."""
    text = piece.text
    before = 0 if first else around
    after = 0 if last else around
    if len(text) <= before + after + around // 2:
        return [piece]
    ends = text.rfind(" ", 0, before) + 1 or before  # between words, where there are any
    begins = text.find(" ", len(text) - after)
    begins = len(text) - after if begins < 0 or not after else begins
    parts = [
        Piece("same", text[:ends]),
        Piece("left_out", text[ends:begins]),
        Piece("same", text[begins:]),
    ]
    return [part for part in parts if part.text]
