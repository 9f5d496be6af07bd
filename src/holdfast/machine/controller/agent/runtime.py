"""Keeps the agent running: supervisor, repairs, versions and trials, wired together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from holdfast.kernel.clock import Clock
from holdfast.machine.agents.catalogue import Profile
from holdfast.machine.controller import supervise
from holdfast.machine.controller.agent.installs import Installs
from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.agent.recovery import AgentRepairs
from holdfast.machine.controller.agent.supervisor import Supervisor
from holdfast.machine.controller.agent.upgrade import Upgrades
from holdfast.machine.controller.agent.version import VersionProbe
from holdfast.machine.controller.config.history import BY_PEOPLE
from holdfast.machine.controller.config.store import Change, ConfigStore
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.settings import Running
from holdfast.machine.controller.supervise import Policy


class AgentRuntime:
    """Runs one agent; made once per boot; call `open` before anything is started."""

    def __init__(
        self,
        agent: AgentProcesses,
        config: ConfigStore,
        running: Running,
        home: Path,
        *,
        seed: str,
        on_version: Callable[[], None],
        clock: Clock,
        log: Log,
    ) -> None:
        """`seed` sets the jitter of restarts."""
        self._agent = agent
        self._running = running
        self._config = config
        self._seed = seed
        self._log = log
        self._on_version = on_version
        self._learning: set[asyncio.Task[None]] = set()
        self._installs = Installs(
            agent, home, turn=running.version_turn, on_change=self._moved, log=log
        )
        self.upgrades = Upgrades(agent, self._installs, home, on_change=on_version, log=log)
        self._repairs = AgentRepairs(agent, config, self._installs, self.upgrades)
        self.supervisor = Supervisor(self._policy(), agent, self._repairs, clock=clock, log=log)
        self.version = VersionProbe(agent.profile.binary(agent.place), agent.query_version, clock)
        self.version.listen(self._changed_version)
        agent.watch_ms = self.supervisor.policy.watch_ms

    async def open(self) -> None:
        """Kill what an earlier controller left, and resume its record; raise OSError.

        This runs first, because later processes of ours, such as the version query, carry the
        agent's mark too. An unreadable configuration does not stop the routes from being served.
        """
        ended = await asyncio.to_thread(self._agent.end_orphans)
        if ended:
            self._log.emit("agent.leftovers_killed", count=ended)
        self._installs.resume()
        self.upgrades.resume()
        self._agent.is_changing = bool(self._agent.place.install)
        self.version.follow(self._agent.profile.binary(self._agent.place))
        try:
            unproven = await self._repairs.unproven()
        except RefusedError as error:
            self._log.emit("config.unreachable", because=error.error)
            unproven = ""
        if unproven:
            self._log.emit("config.unproven", etag=unproven[:12])
            self.supervisor.feed(supervise.ConfigChanged(unproven, restart=False))
        self._config.listen(self._changed)

    async def change_version(self) -> bool:
        """Change the version if another one was given; return whether one was. Raise OSError."""
        before = self.upgrades.told
        await self.upgrades.run()
        self.version.follow(self._agent.profile.binary(self._agent.place))
        return self.upgrades.told is not before

    async def start(self, *, wanted: Callable[[], bool]) -> None:
        """Start the agent if it is `wanted`."""
        if self.upgrades.trial:
            self.supervisor.feed(supervise.ConfigChanged(self.upgrades.trial, restart=False))
        if wanted():
            self.supervisor.start()
        self._moved()

    def _changed(self, change: Change) -> None:
        if change.origin in BY_PEOPLE:
            self.supervisor.feed(supervise.ConfigChanged(change.etag))

    def _moved(self) -> None:
        """Query the version again, because the installation may have changed."""
        self.version.follow(self._agent.profile.binary(self._agent.place))
        task = asyncio.create_task(self._find(), name="version")
        self._learning.add(task)
        task.add_done_callback(self._learning.discard)

    async def _find(self) -> None:
        before = self.version.known
        found = await self.version.find(patient=True)
        self._learn()
        if found != before:
            self._on_version()  # a report may have been sent without it

    def _learn(self) -> None:
        """Record the version: releases drain in different ways."""
        if self._agent.version != self.version.known.version:
            self._agent.version = self.version.known.version
            self.supervisor.policy = self._policy()

    def _changed_version(self) -> None:
        self._learn()
        self._on_version()

    def _policy(self) -> Policy:
        way = self._agent.drain_way
        drain_ms = 0 if way is None else way.budget_ms
        if self._running.drain_ms is not None:
            drain_ms = self._running.drain_ms
        return replace(
            make_policy(self._agent.profile, self._running, seed=self._seed),
            drain_ms=0 if way is None else drain_ms,
            term_drains=way is not None and way.ends_too,
        )


def make_policy(profile: Profile, running: Running, *, seed: str) -> Policy:
    """Return the supervision policy, before the agent's way to drain is known."""
    policy = Policy(
        stop_grace_ms=running.stop_grace_ms or profile.stop_grace_ms,
        misconfigured=profile.misconfigured,
        can_repair=profile.repair_argv is not None,
        seed=seed,
    )
    figures: dict[str, Any] = dict(running.supervision)
    return replace(policy, **figures)
