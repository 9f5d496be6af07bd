"""Pairing in a profile: where requests are stored, by release, and how they are decided.

Data and pure functions. Paths are computed from the agent's whole environment, as the agent itself
does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One machine as an agent's profile sees it.

    `home` is the agent's own folder, kept across restarts. `token` guards the agent's loopback port
    and is not the machine's credential. `install` is the folder of the agent's package, if it needs
    one. `arguments` are appended to the agent's command line.
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
        """Return the agent's folder for temporary files, kept across restarts."""
        return f"{self.home}/temp"


Means: TypeAlias = Literal["json", "sqlite", "rpc", "command"]
"""Ways to read requests or to decide them: its files, its database, its socket, its commands."""

Env: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The interfaces used on one release, best first.

    `channels` and `devices` list requests; `decide_channels` and `decide_devices` approve one; the
    last two dismiss one, where the agent supports that.
    """

    channels: tuple[Means, ...]
    devices: tuple[Means, ...]
    decide_channels: tuple[Means, ...]
    decide_devices: tuple[Means, ...]
    dismiss_channels: tuple[Means, ...] = ()
    dismiss_devices: tuple[Means, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """How one kind of agent pairs.

    `plan` takes the agent's version, None if unknown. `credentials` is the folder of the channels'
    files and `devices` the devices' file, where requests are in files; `database` where they are in
    a database. `program` begins its command lines `pairing list|approve` and `devices
    list|approve`. `channels` returns the enabled channels of a configuration. `identity` is the key
    file that identifies the agent's own tools.
    """

    plan: Callable[[str | None], Plan]
    credentials: Callable[[Env], str]
    devices: Callable[[Env], str]
    program: Callable[[Place], tuple[str, ...]]
    database: Callable[[Env], str] | None = None
    identity: Callable[[Env], str] | None = None
