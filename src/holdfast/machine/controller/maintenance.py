"""The parts for maintaining an agent: configuration, doctor, files, keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.kernel.clock import Clock
from holdfast.machine.controller.agent.key_renewal import Renewal
from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.agent.supervisor import Supervisor
from holdfast.machine.controller.config.store import ConfigStore
from holdfast.machine.controller.credentials import Credentials
from holdfast.machine.controller.doctor.jobs import DoctorJobs
from holdfast.machine.controller.doctor.run import launch_with
from holdfast.machine.controller.files.state_folder import StateFolder
from holdfast.machine.controller.log import Log


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintenance:
    """The maintenance parts of one agent."""

    config: ConfigStore
    doctor: DoctorJobs
    files: StateFolder
    renewal: Renewal

    async def close(self) -> None:
        """Stop what they run."""
        await self.doctor.close()
        await self.renewal.close()


def make_config(agent: AgentProcesses, folder: Path, *, clock: Clock, log: Log) -> ConfigStore:
    """Return the store of the agent's configuration, with its record below `folder`."""
    profile, place = agent.profile, agent.place
    path = profile.config_path(place)
    return ConfigStore(
        Path(path),
        folder / "config",
        below=Path(place.home),
        first=profile.files(place)[path].encode,
        fault=lambda config: profile.config_fault(place, config),
        clock=clock,
        log=log,
    )


async def make_maintenance(
    agent: AgentProcesses,
    supervisor: Supervisor,
    config: ConfigStore,
    credentials: Credentials,
    folder: Path,
    *,
    closing: Callable[[], bool],
    draw: Callable[[int], str],
    clock: Clock,
    log: Log,
) -> Maintenance:
    """Return the parts; their records are below `folder`."""
    launch = launch_with(agent, supervisor, closing=closing)
    doctor = DoctorJobs(folder / "doctor", launch, draw=draw, clock=clock, log=log)
    await doctor.recover()
    root = Path(agent.profile.state_folder(agent.place))
    return Maintenance(
        config=config,
        doctor=doctor,
        files=StateFolder(
            root, folder / "backups", below=Path(agent.place.home), now_ms=clock.now_ms
        ),
        renewal=Renewal(agent, config, credentials, supervisor, log),
    )
