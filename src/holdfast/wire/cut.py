"""Texts cut to a length without splitting a letter. Pure.

Lengths are code points, as everywhere on the wire. NUL is a character like any other.
"""

from __future__ import annotations

import unicodedata
from typing import Final

CUT: Final = "…"
"""Ends a text that was cut where nothing else says so."""
_JOINER: Final = "\u200d"
_CLUSTER_MAX: Final = 64
"""Code points that one letter may have here; a longer one is split."""


def cut(text: str, most: int) -> str:
    """Return the text's whole letters within `most` code points.

    A letter keeps its combining marks, a pair of regional indicators and emoji with joiners,
    variation selectors and skin tones stay together.
    """
    if len(text) <= most:
        return text
    for at in range(most, max(0, most - _CLUSTER_MAX), -1):
        if _may_split(text, at):
            return text[:at]
    return text[:most]


def shortened(text: str, most: int) -> str:
    """Return a text within `most` code points, ended by `…` where some of it is missing."""
    return text if len(text) <= most else cut(text, most - len(CUT)) + CUT


def _may_split(text: str, at: int) -> bool:
    """Return whether a letter begins at this place."""
    before, after = text[at - 1], text[at]
    if _JOINER in {before, after} or _extends(after):
        return False
    if not _is_regional(before) or not _is_regional(after):
        return True
    begin = at
    while begin > 0 and at - begin < _CLUSTER_MAX and _is_regional(text[begin - 1]):
        begin -= 1
    return (at - begin) % 2 == 0


def _extends(one: str) -> bool:
    """Return whether a code point belongs to the one before it."""
    return unicodedata.category(one) in {"Mn", "Mc", "Me"} or "\U0001f3fb" <= one <= "\U0001f3ff"


def _is_regional(one: str) -> bool:
    return "\U0001f1e6" <= one <= "\U0001f1ff"
