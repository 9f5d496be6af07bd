"""The doctor's checks of the fleet: instances, their agents, and machines without an instance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from holdfast.actors.ports import Reader
from holdfast.instances.ports import Agents
from holdfast.instances.views import INSTANCE_VIEW
from holdfast.kernel.outcome import Ok
from holdfast.plane.about import Check, Uses
from holdfast.plane.wiring.fleet_watch import AlertCode, Watch
from holdfast.wire.api.instances import InstanceView
from holdfast.wire.api.plane import DoctorCheck
from holdfast.wire.health import DOWN, HEALTHS, RANKS
from holdfast.wire.limits import REASON_MAX
from holdfast.world.clouds.port import LABEL_INSTANCE, Cloud, Machine

_GONE: Final = frozenset({"destroying", "destroyed"})


class Unowned:
    """Machines of clouds whose instance does not exist, as of the last look.

    Such a machine runs and costs money, and nothing controls it: its instance was made after the
    backup from which the journal was restored, or was lost with the journal. It is not ended here.
    """

    def __init__(self, reader: Reader, clouds: Mapping[str, Cloud]) -> None:
        """Ask `clouds` and compare with the committed rows of instances."""
        self._reader = reader
        self._clouds = clouds
        self._found: dict[str, str] = {}
        self._failed: list[str] = []

    async def look(self) -> None:
        """Ask every cloud for its machines."""
        found: dict[str, str] = {}
        failed: list[str] = []
        for name, cloud in self._clouds.items():
            outcome = await cloud.find({})
            if not isinstance(outcome, Ok):
                failed.append(f"{name}: {outcome.code}: {outcome.message}")
                continue
            for machine in outcome.value:
                if not await self._is_owned(machine):
                    found[machine.id] = f"{name} machine {machine.id} ({machine.name})"
        self._found, self._failed = found, failed

    async def _is_owned(self, machine: Machine) -> bool:
        if machine.state in _GONE:
            return True
        instance = machine.labels.get(LABEL_INSTANCE, "")
        return await self._reader.view(INSTANCE_VIEW, instance) is not None

    def troubles(self) -> Iterator[str]:
        """Yield one text for each machine found."""
        for text in self._found.values():
            yield f"{text} belongs to no instance"

    async def check(self) -> DoctorCheck:
        """Look again, and return the result as a check of the doctor."""
        await self.look()
        if self._found:
            named = ", ".join(self._found.values())
            return DoctorCheck(
                name="machines",
                result="failed",
                message=f"{len(self._found)} belong to no instance: {named}"[:REASON_MAX],
                fix="holdfast restore --unknown-machines adopt (or end), then start it anew",
            )
        if self._failed:
            return DoctorCheck(
                name="machines",
                result="warning",
                message="; ".join(self._failed)[:REASON_MAX],
                fix="look at the cloud, and ask again",
            )
        return DoctorCheck(name="machines", result="ok", message="each belongs to an instance")


def _counted(watch: Watch) -> str:
    """Return how many there are of each status, in parentheses."""
    parts = [
        f"{many} {HEALTHS[code].title.lower()}" for code, many in watch.healths.items() if many
    ]
    return f" ({', '.join(parts)})" if parts else ""


def _word(view: InstanceView, code: AlertCode) -> str:
    """Return what is wrong in a word: the status where that is it, else the alert."""
    is_down = view.health.code in DOWN or view.health.code == "recovering"
    return HEALTHS[view.health.code].title.lower() if is_down else code


def fleet_checks(watch: Watch, agents: Agents | None, uses: Uses) -> tuple[Check, ...]:
    """Return the checks of instances and their agents; `agents` knows those that can be run."""

    async def check_instances() -> DoctorCheck:
        await watch.look()
        wrong = list(islice(watch.wrong(), REASON_MAX))  # no message has room for more
        if not wrong:
            text = f"nothing is wrong with {watch.count} instances{_counted(watch)}"
            return DoctorCheck(name="instances", result="ok", message=text)
        wrong.sort(key=lambda found: RANKS[found[0].health.code])
        names = ", ".join(
            dict.fromkeys(f"{view.name} ({_word(view, code)})" for view, code in wrong)
        )
        return DoctorCheck(
            name="instances",
            result="warning",
            message=f"{watch.wrong_count} need a look: {names}"[:REASON_MAX],
            fix=f"holdfast instance why {wrong[0][0].name}",
        )

    async def check_agents() -> DoctorCheck:
        await watch.look()
        missing = sorted(watch.agents - (agents.names() if agents is not None else watch.agents))
        if missing:
            return DoctorCheck(
                name="agents",
                result="failed",
                message=f"instances use {', '.join(missing)}, which cannot be run here",
                fix=f"holdfast agents install {missing[0]}",
            )
        absent = [
            (agent, version)
            for agent, version in sorted(await uses())
            if version and agents is not None and version not in agents.versions(agent)
        ]
        if absent:
            agent, version = absent[0]
            return DoctorCheck(
                name="agents",
                result="failed",
                message=f"instances keep {agent} {version}, which is not installed on this host",
                fix=f"holdfast agents install {agent} --version {version.partition('-node-')[0]}",
            )
        waiting = f"; {watch.not_ready} cannot work now" if watch.not_ready else ""
        return DoctorCheck(
            name="agents",
            result="warning" if watch.not_ready else "ok",
            message=f"all that instances use are installed{waiting}",
            fix="holdfast instance list shows which are not ready" if watch.not_ready else "",
        )

    return (check_instances, check_agents)
