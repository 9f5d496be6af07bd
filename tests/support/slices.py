"""How much of a campaign the suite runs; the whole with HOLDFAST_WHOLE=1 (`make whole`)."""

from __future__ import annotations

import os


def slice_of(whole: int, *, here: int) -> int:
    """Return how many of `whole` cases to try: in the suite only the first `here`."""
    return whole if os.environ.get("HOLDFAST_WHOLE") else here
