"""How subjects name an instance that is another subject's."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

NameOf: TypeAlias = Callable[[str], str]
"""Returns the name of an instance by its id; empty for one that is not known."""


def unnamed(_instance: str) -> str:
    """Return no name: where there are no instances."""
    return ""
