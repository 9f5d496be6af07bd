"""The letters between a town and the instances on which its agents work."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from msgspec import Struct

TOWN: Final = "town"
INSTANCE: Final = "instance"
"""The kinds of actor that exchange them, each at its own id."""

Absence: TypeAlias = Literal["", "stopped", "lost", "destroyed"]
"""Why nothing can be started on an instance; empty where it can. Lost: its machine is silent."""


class AgentsHosted(Struct, frozen=True, kw_only=True, tag="AgentsHosted", gc=False):
    """Agents of the town work on the instance, or none any more; `account` owns the town.

    `destroyed`: an instance that was destroyed answers too. Letters from before are not answered.
    """

    account: str
    hosted: bool = True
    destroyed: bool = False


class HostSeen(Struct, frozen=True, kw_only=True, tag="HostSeen", gc=False):
    """Whether the instance can be worked on: the answer to the first letter, and each change."""

    account: str
    absence: Absence
