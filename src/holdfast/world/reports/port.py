"""The port of reports, and the one that sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct


class Report(Struct, frozen=True, kw_only=True):
    """One thing that is wrong. Reports of one `fingerprint` are one issue.

    It holds numbers, ids and texts of the code: never what a person or an agent wrote.
    """

    message: str
    fingerprint: tuple[str, ...]
    tags: Mapping[str, str]
    extra: Mapping[str, str | int]


class Reports(Protocol):
    """Where reports go."""

    def send(self, report: Report) -> None:
        """Send it soon; it may be lost. Never blocks and never raises."""
        ...

    async def close(self) -> None:
        """Send what waits, for two seconds at most."""
        ...


class NoReports:
    """Reports of a plane that has nowhere to send them."""

    def send(self, report: Report) -> None:
        """Discard it."""

    async def close(self) -> None:
        """Do nothing."""
