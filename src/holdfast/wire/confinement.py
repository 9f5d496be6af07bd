"""What keeps an agent from what is not its own: the kinds, and what each is called for people.

`unknown` is that of a machine whose controller does not report it, as older ones do not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

Confinement: TypeAlias = Literal["bubblewrap+landlock", "bubblewrap", "landlock", "none", "unknown"]

CONFINEMENT_WORDS: Final[Mapping[Confinement, str]] = {
    "none": "none: this agent can read everything the plane's user can (docs/process-cloud.md)",
    "unknown": "unknown: its controller does not tell",
    "landlock": "Landlock alone",
    "bubblewrap": "bubblewrap alone",
    "bubblewrap+landlock": "bubblewrap and Landlock",
}
"""What people read, the weakest first."""

_BY_TEXT: Final[Mapping[str, Confinement]] = {kind: kind for kind in CONFINEMENT_WORDS}


def read_confinement(text: str) -> Confinement:
    """Return the kind that a message names; what this version does not know is unknown."""
    return _BY_TEXT.get(text, "unknown")
