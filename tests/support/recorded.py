"""Recorded histories: what pure code made of a seeded history, step by step, as short hashes.

Stored logs are folded again by later versions, so whatever was decided once must be decided again,
to the last field. A history is made from its seed; each step's result must have the hash that was
recorded. Where a change is meant, record anew: HOLDFAST_RECORD=1, and say why in the commit.
"""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

FOLDER = Path(__file__).parents[1] / "recorded"
SHOWN = 1_500


class History:
    """The steps of one history."""

    def __init__(self) -> None:
        self._steps: list[tuple[str, str]] = []

    def add(self, result: Any) -> None:
        """Add a step's result: anything whose text shows all of it."""
        if isinstance(result, msgspec.Struct):
            result = msgspec.to_builtins(result, str_keys=True)
        text = repr(result)
        self._steps.append((hashlib.sha256(text.encode()).hexdigest()[:8], text))

    def hashes(self) -> list[str]:
        return [one for one, _ in self._steps]

    def shown(self, step: int) -> str:
        return self._steps[step][1][:SHOWN] if step < len(self._steps) else "(nothing)"


def hold(name: str, key: str, history: History) -> None:
    """Hold a history against what was recorded of it, or record it."""
    path = FOLDER / f"{name}.json"
    kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
    if os.environ.get("HOLDFAST_RECORD"):
        kept[key] = " ".join(history.hashes())
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(kept, indent=0, sort_keys=True) + "\n")
    assert key in kept, f"{name} {key}: nothing was recorded of it: HOLDFAST_RECORD=1"
    wanted, found = kept[key].split(), history.hashes()
    assert found, f"{name} {key}: a history without a step holds nothing"
    for step, (old, new) in enumerate(zip(wanted, found, strict=False)):
        if old != new:
            pytest.fail(f"{name} {key}: step {step} is not what it was: {history.shown(step)}")
    assert len(found) == len(wanted), f"{name} {key}: {history.shown(len(wanted))}"
