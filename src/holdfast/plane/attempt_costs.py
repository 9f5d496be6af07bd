"""What a program says that an attempt cost, read from the end of what it wrote. Pure.

OpenClaw's `agent exec --json` writes one object to its standard output when its turn is over,
indented by two; its diagnostics are in the same file, around that. Its `costUsd` is documented as
the sum of what the turn's calls cost, and left out where that is not known (2026.9.6,
`docs/cli/agent.md`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any, Final

from holdfast.wire.api.town_tools import COST_MAX

OUTPUT_BYTES: Final = 1_048_576
"""How much of the end of an output is read: the object holds the turn's last words twice."""
_BEGINS: Final = '{\n  "ok": '
_MICRO: Final = 1_000_000


def reports(command: Sequence[str]) -> bool:
    """Return whether a command's output ends with what it cost."""
    is_openclaw = bool(command) and PurePath(command[0]).name == "openclaw"
    return is_openclaw and tuple(command[1:3]) == ("agent", "exec") and "--json" in command


def cost_of(output: bytes) -> int | None:
    """Return what a turn cost, in millionths of a dollar, or None where it does not say."""
    text = output.decode("utf-8", "replace")
    begins = text.rfind("\n" + _BEGINS) + 1
    if not begins and not text.startswith(_BEGINS):
        return None
    try:
        said: Any = json.JSONDecoder().raw_decode(text, begins)[0]
    except (ValueError, RecursionError):
        return None
    cost = said.get("costUsd")
    if isinstance(cost, bool) or not isinstance(cost, int | float) or not math.isfinite(cost):
        return None
    micro = round(cost * _MICRO)
    return micro if 0 <= micro <= COST_MAX else None
