"""Charts of bars that the server draws: they need no script, and follow dark and light."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

_HEIGHT: Final = 1_000
_STEP: Final = 10
_GAP: Final = 2
_LEAST: Final = 8
"""The height of a bar that is not nothing, of `_HEIGHT`."""


class Bar(NamedTuple):
    """One bar, and the text that it shows to a pointer."""

    x: int
    y: int
    width: int
    height: int
    text: str


class Chart(NamedTuple):
    """A chart: its bars in a box of `width` times `height`, and the texts at its edges."""

    title: str
    most: str
    first: str
    last: str
    summary: str
    width: int
    height: int
    bars: tuple[Bar, ...]


def bars(title: str, days: Sequence[str], values: Sequence[int], texts: Sequence[str]) -> Chart:
    """Return a chart of one value for each day; raise ValueError where there is no day."""
    most = max(values)
    place = values.index(most)
    drawn = []
    for number, (day, value, text) in enumerate(zip(days, values, texts, strict=True)):
        height = max(_LEAST, value * _HEIGHT // most) if value else 0
        drawn.append(Bar(number * _STEP, _HEIGHT - height, _STEP - _GAP, height, f"{day}: {text}"))
    return Chart(
        title=title,
        most=texts[place],
        first=days[0],
        last=days[-1],
        summary=f"{title}, {days[0]} to {days[-1]}; the most is {texts[place]} on {days[place]}",
        width=len(days) * _STEP - _GAP,
        height=_HEIGHT,
        bars=tuple(drawn),
    )
