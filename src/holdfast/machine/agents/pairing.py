"""What a profile says of pairing: where requests are kept, by release, and how they are decided.

Data and pure functions. Where something lies is computed from the agent's whole environment,
because that is what the agent itself goes by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias


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


Means: TypeAlias = Literal["json", "sqlite", "rpc", "command"]
"""Ways to read requests or to decide them: its files, its database, its socket, its commands."""

Env: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is read and used on one release, best first.

    `channels` and `devices` say how each is listed; `decide_channels` and `decide_devices` how a
    request is approved; the last two how one is dismissed, where the agent itself can do that.
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

    `plan` is given the agent's version, None when it is not known. `credentials` is the folder of
    the channels' files and `devices` the devices' file, where they are files; `database` is where
    it is a database. `program` is what its command lines begin with: `pairing list|approve`,
    `devices list|approve`. Which channels are on is what `channels` in its configuration says.
    `identity` is the file of the key by which the agent's own tools are known.
    """

    plan: Callable[[str | None], Plan]
    credentials: Callable[[Env], str]
    devices: Callable[[Env], str]
    program: Callable[[Place], tuple[str, ...]]
    database: Callable[[Env], str] | None = None
    identity: Callable[[Env], str] | None = None
