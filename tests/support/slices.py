"""How much of a campaign the suite runs; the whole with HOLDFAST_WHOLE=1 (`make whole`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

Of = TypeVar("Of")


def slice_of(whole: int, *, here: int) -> int:
    """Return the figure of a campaign, such as its number of cases: `here` in the suite."""
    return whole if os.environ.get("HOLDFAST_WHOLE") else here


def each(nth: int, cases: Sequence[Of]) -> Sequence[Of]:
    """Return the cases to try: in the suite only each `nth`."""
    return cases[:: slice_of(1, here=nth)]
