"""Opens the world of towns: where their agents run, and the forges of their rigs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Final

from holdfast.plane.rig_tokens import RigTokens
from holdfast.plane.wiring.clouds import machine_ports, make_confine
from holdfast.plane.wiring.core import Core
from holdfast.plane.wiring.town_forges import (
    TownForges,
    git_repositories,
    github_pulls,
    repository_of,
)
from holdfast.plane.wiring.town_hosts import OpenHosts, open_town_hosts
from holdfast.plane.wiring.town_notices import TownNotices
from holdfast.towns.attempts import Attempts
from holdfast.wire.controller.calls import Controllers

RIGS_FOLDER: Final = "rigs"

_SCRIPTED: Final = (
    sys.executable, "-I", "-m", "holdfast.machine.agents.scripted", "--prompt", "{prompt}",
)  # fmt: skip
COMMANDS: Final[Mapping[str, tuple[str, ...]]] = dict.fromkeys(
    ("polecat", "refinery", "mayor"), _SCRIPTED
)
"""What runs for a role for which a rig sets nothing: the bundled agent, which needs no model."""


class TownWorld:
    """Everything that towns ask of the outside; `part` watches what runs."""

    def __init__(self, hosts: OpenHosts, forges: TownForges, notices: TownNotices) -> None:
        self.hosts = hosts.towns
        self.part = hosts.part
        self.start = hosts.towns.start
        self.stop = hosts.towns.stop
        self.nudge = hosts.towns.nudge
        self.mail = hosts.towns.mail
        self.gates = forges.gates
        self.land = forges.land
        self.merge = forges.merge
        self.poll = forges.poll
        self.notice = notices.notice


async def open_town_world(core: Core, attempts: Attempts, controllers: Controllers) -> TownWorld:
    """Open the hosts, which find their attempts again, and the copies of rigs."""
    settings, records = core.settings, core.stores.towns
    repositories = git_repositories(
        core.home / RIGS_FOLDER,
        make_confine(core.home, settings, core.url),
        core.clock,
        machine_ports=machine_ports(settings),
        accept_unconfined=settings.accept_unconfined,
    )
    repository = repository_of(RigTokens(core.keyring))
    hosts = await open_town_hosts(
        core,
        records=records,
        repositories=repositories,
        repository_of=repository,
        attempts=attempts,
        controllers=controllers,
        commands=COMMANDS,
    )
    forges = TownForges(
        records,
        repositories,
        github_pulls(),
        repository=repository,
        clock=core.clock,
        log=core.log,
    )
    return TownWorld(hosts, forges, TownNotices(records, core.clock, core.log))
