"""Repairs between two starts: the agent's own repair, another configuration or version.

The policy decides which and when. Every step has a time limit, reports why it did nothing, and
leaves no process behind when cancelled.
"""

from __future__ import annotations

from holdfast.kernel.failure import brief
from holdfast.machine.controller import limits
from holdfast.machine.controller.agent.installs import Installs
from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.agent.upgrade import Upgrades
from holdfast.machine.controller.config.history import BY_PEOPLE
from holdfast.machine.controller.config.store import ConfigStore
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.supervise import Repair
from holdfast.machine.controller.supervise.ports import Done


class AgentRepairs:
    """Repairs one agent."""

    def __init__(
        self,
        agent: AgentProcesses,
        config: ConfigStore,
        installs: Installs,
        upgrades: Upgrades,
    ) -> None:
        self._agent = agent
        self._config = config
        self._installs = installs
        self._upgrades = upgrades
        self._etag = ""

    async def repair(self, kind: Repair, reason: str, *, trial: str) -> Done:
        """Run this repair within its time limit."""
        on_trial = self._upgrades.trial
        if on_trial and (trial == on_trial or kind == "previous_version"):
            return await self._upgrades.go_back(reason)
        match kind:
            case "mend":
                return await self._repair_itself()
            case "roll_back" | "last_healthy_config":
                return await self._roll_back(reason, trial)
            case "reinstall":
                return await self._installs.reinstall()
            case "previous_version":
                return await self._installs.go_back()

    async def started(self) -> None:
        """Record the configuration and version the agent was just started with."""
        self._etag = await self._config.observe()

    async def condemn(self, etag: str, reason: str) -> None:
        """Record that the trial of a configuration failed, whatever replaces it."""
        if etag != self._upgrades.trial:  # that one stays on trial, also by its record
            await self._config.mark_bad(etag, reason)

    async def proved(self) -> None:
        """Record those as healthy."""
        try:
            if self._etag:
                await self._config.mark_healthy(self._etag)
            await self._installs.proved()
        finally:
            await self._upgrades.proved()

    async def unproven(self) -> str:
        """Return the etag of a change that is still on trial, or an empty string.

        A controller that died during a trial leaves one; without a version to go back to there is
        no trial.
        """
        await self._config.observe()
        known = await self._config.versions()
        if not known or await self._config.last_healthy() is None:
            return ""
        version, verdict = known[0]
        return version.etag if verdict is None and version.origin in BY_PEOPLE else ""

    async def _repair_itself(self) -> Done:
        argv = self._agent.profile.repair_argv
        if argv is None:
            return Done(done=False, detail="this agent has no repair of its own")
        try:
            ran = await self._agent.run(argv(self._agent.place), timeout_s=limits.REPAIR_TIMEOUT_S)
        except TimeoutError:
            return Done(done=False, detail=f"it took longer than {limits.REPAIR_TIMEOUT_S:.0f} s")
        except OSError as error:
            return Done(done=False, detail=brief(error))
        return Done(done=ran.code == 0, detail=f"it ended with {ran.code}")

    async def _roll_back(self, reason: str, trial: str) -> Done:
        try:
            # Without a trial the text of the last start is meant: what a person has put in its
            # place since has not been started once.
            change = await self._config.roll_back(reason, trial=trial or self._etag)
            if trial:
                # The agent may have rewritten its file meanwhile; the text offered is meant.
                await self._config.mark_bad(trial, reason)
        except RefusedError as refused:
            return Done(done=False, detail=refused.error)
        if change is None:
            detail = "it has the last healthy configuration, or a newer one, or none is known"
            return Done(done=False, detail=detail)
        return Done(done=True, detail=f"back to {change.etag[:12]}")
