"""Tables for terminals: what does not fit is wrapped, then left out, never squeezed.

A column declares its least width, whether its text may be wrapped at words, and how soon it may be
left out. Everything else keeps its width, so a status is never broken in two. It is written here
because the usual library takes longer to load than the rest of a command.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

GAP: Final = 2
KEPT: Final = 0


class Column(NamedTuple):
    """One column. `drop` is the order in which columns are left out, highest first; KEPT never.

    `least` is the width below which wrapping is useless; 0 means that it is not wrapped.
    """

    name: str
    drop: int = KEPT
    least: int = 0


Paint = Callable[[str, str], str]
"""Returns a cell's padded text, coloured by its bare text."""


def lay_out(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], *, width: int, paint: Paint
) -> list[str]:
    """Return the lines of a table, within `width` characters if possible."""
    natural = [
        max(len(column.name), *(len(row[place]) for row in rows), 1)
        for place, column in enumerate(columns)
    ]
    shown = _chosen(columns, rows, natural, width)
    widths = _widths(columns, natural, shown, width)
    heads = [columns[place].name for place in shown]
    lines = [_joined(heads, widths, lambda _bare, text: text).rstrip()]
    lines.append("-" * min(width, sum(widths) + GAP * (len(widths) - 1)))
    for row in rows:
        wrapped = [
            textwrap.wrap(row[place], size) or [""] if columns[place].least else [row[place]]
            for place, size in zip(shown, widths, strict=True)
        ]
        for line in range(max(len(cell) for cell in wrapped)):
            cells = [cell[line] if line < len(cell) else "" for cell in wrapped]
            lines.append(_joined(cells, widths, paint).rstrip())
    return lines


def _chosen(
    columns: Sequence[Column], rows: Sequence[Sequence[str]], natural: Sequence[int], width: int
) -> list[int]:
    """Return the indexes of the shown columns; empty columns are left out."""
    shown = [
        place
        for place, column in enumerate(columns)
        if column.drop == KEPT or any(row[place] for row in rows)
    ]

    def needed() -> int:
        least = [min(columns[p].least, natural[p]) if columns[p].least else natural[p]
                 for p in shown]  # fmt: skip
        return sum(least) + GAP * (len(shown) - 1)

    while needed() > width:
        spare = [place for place in shown if columns[place].drop != KEPT]
        if not spare:
            break
        shown.remove(max(spare, key=lambda place: columns[place].drop))
    return shown


def _widths(
    columns: Sequence[Column], natural: Sequence[int], shown: Sequence[int], width: int
) -> list[int]:
    """Return the widths: unwrapped columns as they are, the others share the rest."""
    widths = {p: min(columns[p].least or natural[p], natural[p]) for p in shown}
    left = width - sum(widths.values()) - GAP * (len(shown) - 1)
    growing = [place for place in shown if widths[place] < natural[place]]
    while left > 0 and growing:
        share = max(1, left // len(growing))
        for place in list(growing):
            more = min(share, natural[place] - widths[place], left)
            widths[place] += more
            left -= more
            if widths[place] >= natural[place]:
                growing.remove(place)
    return [widths[place] for place in shown]


def _joined(cells: Sequence[str], widths: Sequence[int], paint: Paint) -> str:
    """Return one line of cells."""
    return (" " * GAP).join(
        paint(cell, cell.ljust(size)) for cell, size in zip(cells, widths, strict=True)
    )
