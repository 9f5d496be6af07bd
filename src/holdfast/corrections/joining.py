"""What is known of a correction that several routes bring, whichever came first. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from holdfast.corrections.records import ROUTES, Correction
from holdfast.wire.api.brains import Route

_DETAIL: Final[tuple[Route, ...]] = ("ingest", "sync", "push", "correct", "single")
"""Routes by what their rows are worth: `single` always says "minor" and mostly UNKNOWN, `correct`
has no severity."""
_NOTHING: Final = (None, "", "unknown", "UNKNOWN")


class Told(Struct, gc=False):
    """What a correction's routes said about it, besides its texts."""

    severity: str
    category: str
    summary: str
    edit_distance: float | None
    classifications: str
    context: str


def told(row: Correction) -> Told:
    """Return what one row says."""
    return Told(*(getattr(row, name) for name in Told.__struct_fields__))


def join(known: Told, row: Correction, route: Route, via: Sequence[int]) -> None:
    """Add to what is known what a later row says; `via` are the counts by route before it.

    What nobody said yet is taken from any route, and what was said gives way to a route of more
    detail than all before.
    """
    before = [_DETAIL.index(name) for name, many in zip(ROUTES, via, strict=True) if many]
    is_better = _DETAIL.index(route) < min(before, default=len(_DETAIL))
    for name in Told.__struct_fields__:
        said = getattr(row, name)
        if said not in _NOTHING and (is_better or getattr(known, name) in _NOTHING):
            setattr(known, name, said)
