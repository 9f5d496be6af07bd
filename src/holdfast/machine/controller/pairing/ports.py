"""Ports of the cache to where requests are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from holdfast.machine.controller.pairing.state import Failure, Row
from holdfast.wire.controller.pairing import Kind

Parts: TypeAlias = Mapping[str, tuple[Row, ...] | Failure]
"""A source's result for each requested part."""


class Source(Protocol):
    """One way to read requests; raises nothing for the agent's content or behaviour."""

    @property
    def name(self) -> str:
        """Return json, sqlite, rpc or command."""
        ...

    @property
    def debounce_ms(self) -> int:
        """Return how long to wait after a hint before reading it."""
        ...

    async def look(self, kind: Kind, names: Sequence[str]) -> Parts:
        """Return the stored requests of each of `names`: channels, or the devices' only part."""
        ...
