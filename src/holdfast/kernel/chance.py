"""The port of randomness; the one real source is made in plane.wiring."""

from __future__ import annotations

from typing import Protocol


class Chance(Protocol):
    """Source of random ids and keys."""

    def token(self, prefix: str) -> str:
        """Return the prefix and 256 random bits as URL-safe text."""
        ...

    def uuid(self) -> str:
        """Return a random UUID, canonical and in lower case."""
        ...
