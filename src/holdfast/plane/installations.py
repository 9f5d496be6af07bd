"""The agents that can run on this host, and in which versions: folders below the data folder.

An installation is a folder that is never changed, such as `openclaw-2026.9.6-node-24.11.1`; its
version is what follows the agent's name. A link with the agent's name points at the one that new
instances get.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from holdfast.wire.agents import AGENTS, version_order

AGENTS_FOLDER: Final = "agents"
"""Where installations are in the data folder."""


class Installations:
    """Looks below one folder at each call: an installation may be made at any time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._begins = {agent.name: agent.folder for agent in AGENTS}

    def names(self) -> frozenset[str]:
        """Return the agents that can run: bundled ones and those installed."""
        return frozenset(
            name for name, begin in self._begins.items() if not begin or self.versions(name)
        )

    def versions(self, agent: str) -> list[str]:
        """Return the installed versions of an agent, the newest last; none for bundled ones."""
        begin = self._begins.get(agent, "")
        if not begin or not self._folder.is_dir():
            return []
        names = (path.name for path in self._folder.iterdir() if path.name.startswith(begin))
        return sorted((name.removeprefix(begin) for name in names), key=_order)

    def default(self, agent: str) -> str:
        """Return the version that new instances get: the link's, else the newest; or nothing."""
        found = self.versions(agent)
        linked = (self._folder / agent).resolve().name.removeprefix(self._begins.get(agent, ""))
        return linked if linked in found else found[-1] if found else ""

    def find(self, agent: str, asked: str) -> str | None:
        """Return the installed version that a person means; None where there is none.

        A release without its Node means the installation of it with the newest one.
        """
        found = self.versions(agent)
        if asked in found:
            return asked
        return next((one for one in reversed(found) if one.startswith(f"{asked}-")), None)

    def path(self, agent: str, version: str) -> Path:
        """Return the folder of an installation, whether it is there or not.

        Without a version it is the link to the one that new instances get.
        """
        return self._folder / (f"{self._begins.get(agent, '')}{version}" if version else agent)

    def home(self, agent: str, version: str) -> str:
        """Return the folder that a machine runs an agent from; nothing for a bundled one."""
        return str(self.path(agent, version)) if self._begins.get(agent) else ""


def _order(version: str) -> tuple[list[int], str]:
    """Return what versions are sorted by: their numbers, as numbers."""
    return version_order(version), version
