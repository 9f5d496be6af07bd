"""A convoy's beads as a drawing: layers from top to bottom, each below all that it waits for. Pure.

Lengths are in the units of the drawing, which are pixels at full size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import wrap
from typing import Final, NamedTuple

WIDTH: Final = 152
HEIGHT: Final = 62
GAP_X: Final = 12
GAP_Y: Final = 34
MARGIN: Final = 4
LINE_CHARS: Final = 18
"""Characters of a title on one line of a bead, at the size in which it is drawn."""


class Node(NamedTuple):
    """A bead's place, by the upper left corner."""

    id: str
    x: int
    y: int


class Edge(NamedTuple):
    """A line from a bead to one that waits for it, as a path."""

    first: str
    then: str
    path: str


class Graph(NamedTuple):
    """A drawing with its size. `circle` names beads that wait for themselves, if any do."""

    width: int
    height: int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    circle: tuple[str, ...]
    node_width: int = WIDTH
    node_height: int = HEIGHT


def label(title: str) -> tuple[str, str]:
    """Return a title on two lines, cut where it is too long for them."""
    lines = wrap(title, LINE_CHARS, max_lines=2, placeholder="\N{HORIZONTAL ELLIPSIS}")
    first, second, *_ = *lines, "", ""
    return first, second


def layers(waits: Mapping[str, Sequence[str]]) -> tuple[list[list[str]], list[str]]:
    """Return ids by layers, and those in or behind a circle; ids that are no keys do not count."""
    left = {one: {other for other in before if other in waits} for one, before in waits.items()}
    made: list[list[str]] = []
    while ready := [one for one, before in left.items() if not before]:
        made.append(ready)
        for one in ready:
            del left[one]
        for before in left.values():
            before.difference_update(ready)
    return made, list(left)


def graph(waits: Mapping[str, Sequence[str]]) -> Graph:
    """Return the drawing of beads, each with the ids that it waits for or waited for."""
    rows, circle = layers(waits)
    rows = [*_untangled(rows, waits), *([circle] if circle else [])]
    widest = max((len(row) for row in rows), default=0)
    width = widest * (WIDTH + GAP_X) - GAP_X + 2 * MARGIN if widest else 0
    nodes: dict[str, Node] = {}
    for depth, row in enumerate(rows):
        begin = (width - (len(row) * (WIDTH + GAP_X) - GAP_X)) // 2
        y = MARGIN + depth * (HEIGHT + GAP_Y)
        for place, one in enumerate(row):
            nodes[one] = Node(one, begin + place * (WIDTH + GAP_X), y)
    edges = tuple(
        Edge(other, one, _path(nodes[other], nodes[one]))
        for one, before in waits.items()
        for other in before
        if other in nodes
    )
    height = len(rows) * (HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN if rows else 0
    return Graph(width, height, tuple(nodes.values()), edges, tuple(circle))


def _untangled(rows: list[list[str]], waits: Mapping[str, Sequence[str]]) -> list[list[str]]:
    """Return layers in an order in which each bead is near what it waits for."""
    place: dict[str, float] = {}
    made = []
    for row in rows:
        middles = {}
        for one in row:
            above = [place[other] for other in waits[one] if other in place]
            middles[one] = sum(above) / len(above) if above else 0.5
        ordered = sorted(row, key=middles.__getitem__)
        place |= {one: (n + 0.5) / len(ordered) for n, one in enumerate(ordered)}
        made.append(ordered)
    return made


def _path(above: Node, below: Node) -> str:
    """Return a curve from the middle of one lower edge to the middle of another's upper edge."""
    x1, y1 = above.x + WIDTH // 2, above.y + HEIGHT
    x2, y2 = below.x + WIDTH // 2, below.y
    bend = max((y2 - y1) // 2, GAP_Y // 2)
    return f"M{x1} {y1}C{x1} {y1 + bend} {x2} {y2 - bend} {x2} {y2}"
