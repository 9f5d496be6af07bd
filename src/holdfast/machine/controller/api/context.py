"""What the handlers of the control API share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.agent.supervisor import Supervisor
from holdfast.machine.controller.agent.version import VersionProbe
from holdfast.machine.controller.bootstrap import Bootstrap
from holdfast.machine.controller.credentials import Credentials
from holdfast.machine.controller.lifecycle import Lifecycle
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.maintenance import Maintenance
from holdfast.machine.controller.observing.calls import OwnerCalls
from holdfast.machine.controller.observing.process import ObserverProcess
from holdfast.machine.controller.pairing.openclaw.device_repair import DeviceRepair
from holdfast.machine.controller.pairing.wiring import PairingParts
from holdfast.machine.controller.report.facts import Identity
from holdfast.machine.controller.work.jobs import WorkJobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The parts of the controller that handlers use."""

    identity: Identity
    lifecycle: Lifecycle
    credentials: Credentials
    supervisor: Supervisor
    agent: AgentProcesses
    version: VersionProbe
    maintenance: Maintenance
    pairing: PairingParts | None
    device_repair: DeviceRepair | None
    observer: ObserverProcess
    owner_calls: OwnerCalls
    bootstrap: Bootstrap
    work: WorkJobs
    shared_cpu: bool
    log: Log
    proxy_stats: Callable[[], dict[str, int]] = dict
