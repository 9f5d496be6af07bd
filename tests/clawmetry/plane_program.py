"""A plane whose consent is a file: `{"classes": ["transcripts", …]}`, for every node alike.

The file is read at each question, so a test grants and revokes by writing it. Without one, nodes
are registered and nothing is granted, from memory.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from holdfast.plane.serve import run
from holdfast.plane.settings import load_settings
from holdfast.plane.wiring import plane as wiring
from holdfast.wire.consent import UNKNOWN, Standing
from tests.support.toys.consents import ToyConsents


class FileConsents(ToyConsents):
    """What the file says; nothing where it cannot be read."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def standing(self, node: str) -> Standing:
        try:
            classes = tuple(json.loads(self._path.read_text())["classes"])
        except (OSError, ValueError, KeyError):
            return UNKNOWN
        self.grant(node, classes)
        return self.known[node]


def make_consents() -> ToyConsents:
    """Return consent by the file that is named, or none."""
    return FileConsents(Path(sys.argv[1])) if sys.argv[1:] else ToyConsents()


if __name__ == "__main__":
    setattr(wiring, "make_content", make_consents().wire)  # noqa: B010  a plane has no such option
    sys.exit(run(load_settings()))
