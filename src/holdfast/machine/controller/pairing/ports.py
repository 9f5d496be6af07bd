"""What the cache asks of where requests are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from holdfast.machine.controller.pairing.state import Failure, Row
from holdfast.wire.controller.pairing import Kind

Parts: TypeAlias = Mapping[str, tuple[Row, ...] | Failure]
"""What a source says of each part it was asked for."""


class Source(Protocol):
    """One way to read who waits; it never raises for what the agent keeps or does."""

    @property
    def name(self) -> str:
        """Return json, sqlite, rpc or command."""
        ...

    @property
    def debounce_ms(self) -> int:
        """Return how long to wait after a hint before it is read."""
        ...

    async def look(self, kind: Kind, names: Sequence[str]) -> Parts:
        """Return what is kept of each of `names`: channels, or the devices' only part."""
        ...
