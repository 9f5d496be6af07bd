"""Agents that can run, as a test says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class Runnable:
    """Agents with their installed versions, the newest last; the newest is the default."""

    def __init__(self, versions: Mapping[str, Sequence[str]]) -> None:
        self.installed = dict(versions)

    def names(self) -> frozenset[str]:
        return frozenset(self.installed)

    def versions(self, agent: str) -> list[str]:
        return list(self.installed.get(agent, ()))

    def default(self, agent: str) -> str:
        return next(reversed(self.versions(agent)), "")

    def find(self, agent: str, asked: str) -> str | None:
        return next((one for one in self.versions(agent) if one.startswith(asked)), None)
