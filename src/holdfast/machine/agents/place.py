"""Where an agent runs: the folders, the port and the token that a profile computes with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One machine as an agent's profile sees it.

    `home` is the agent's own folder, kept across restarts. `token` guards the agent's loopback
    port and is not the machine's credential. `install` is where a package of the agent lies, if it
    needs one. `arguments` are appended to the agent's command line.
    """

    home: str
    port: int
    token: str
    python: str
    install: str = ""
    arguments: tuple[str, ...] = ()

    @property
    def workspace(self) -> str:
        """Return the folder the agent works in."""
        return f"{self.home}/workspace"

    @property
    def temp(self) -> str:
        """Return the agent's folder for temporary files, which outlives a restart."""
        return f"{self.home}/temp"
