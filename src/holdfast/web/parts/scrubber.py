"""The ticks of a town as a strip of bars, and where in it a page stands. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import log2
from typing import Final, NamedTuple

from holdfast.wire.api.town_board import TownTick

BAR: Final = 3
"""Width of a bar with the gap beside it, in pixels of the drawing."""
HEIGHT: Final = 36
_FULL: Final = 7.0
"""Doublings at which a bar is as high as the strip: 127 events and actions."""


class Bar(NamedTuple):
    """One tick: place and height in the strip, and a tone where its notes say that it hurts."""

    x: int
    y: int
    height: int
    tone: str


class Scrubber(NamedTuple):
    """The strip with the ends of its range; `earlier` and `later` are neighbours of `at`."""

    bars: tuple[Bar, ...]
    width: int
    first: int
    last: int
    at: int
    mark: int
    earlier: int
    later: int
    times: str
    """The time of each tick from `first`, in seconds since the epoch, for the script."""


def scrubber(ticks: Sequence[TownTick], at: int) -> Scrubber | None:
    """Return the strip, standing at the tick `at`, or at the latest for 0; None without ticks."""
    if not ticks:
        return None
    numbers = [tick.number for tick in ticks]
    here = min(max(at or numbers[-1], numbers[0]), numbers[-1])
    place = next(n for n, number in enumerate(numbers) if number >= here)
    bars = tuple(_bar(n, tick) for n, tick in enumerate(ticks))
    return Scrubber(
        bars=bars,
        width=len(ticks) * BAR,
        first=numbers[0],
        last=numbers[-1],
        at=numbers[place],
        mark=place * BAR,
        earlier=numbers[place - 1] if place else 0,
        later=numbers[place + 1] if place + 1 < len(numbers) else 0,
        times=" ".join(f"{tick.number}={tick.at}" for tick in ticks),
    )


def _bar(place: int, tick: TownTick) -> Bar:
    size = log2(1 + tick.events + tick.actions) / _FULL
    height = max(2, min(HEIGHT, round(size * HEIGHT)))
    return Bar(place * BAR, HEIGHT - height, height, "bad" if tick.notes else "")
