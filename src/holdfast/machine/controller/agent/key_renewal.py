"""Gives the controller and its agent a renewed key while both run.

The controller uses it with its next request. The agent is told to read its secrets again, which
cuts no work; an agent that cannot, or does not in time, is restarted, drained as always. The key
stands in a file for the owner only and in the environment of later starts, never in a log.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.kernel.secret import Secret
from holdfast.machine.agents.catalogue import Keys
from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.agent.supervisor import Supervisor
from holdfast.machine.controller.config.store import ConfigStore
from holdfast.machine.controller.credentials import Credentials
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.controller.process.commands import Bounds
from holdfast.machine.controller.process.priority_lock import Rank
from holdfast.wire.controller.machine import AGENTS_KEY, OUR_KEY

RELOAD_S: Final = 10.0
"""How long the agent may take to read its secrets again (compat/controller.md)."""

TURN_S: Final = 4.0
"""How long it may take until no other command line of the agent's runs; then it is restarted.

With the time above it is less than the 15 s after which a control plane gives up.
"""


class Renewed(NamedTuple):
    """What came of it.

    `signaled` when the agent is restarted, `moved` counts uses that refer to the file now.
    """

    reloaded: bool = False
    signaled: bool = False
    moved: int = 0


class Renewal:
    """Renews keys, one renewal after the other."""

    def __init__(
        self,
        agent: AgentProcesses,
        config: ConfigStore,
        credentials: Credentials,
        supervisor: Supervisor,
        log: Log,
    ) -> None:
        """Renew the keys of these."""
        self._agent = agent
        self._config = config
        self._credentials = credentials
        self._supervisor = supervisor
        self._log = log
        self._lock = asyncio.Lock()
        self._restarting: asyncio.Task[bool] | None = None

    async def apply(self, values: Mapping[str, Secret]) -> Renewed:
        """Put these in force at once, and let the agent have what is its own."""
        async with self._lock:
            key = values.get(OUR_KEY) or values.get(AGENTS_KEY)
            if key is not None:
                self._credentials.renew(key)
            own = values.get(AGENTS_KEY)
            return Renewed() if own is None else await self._give(own)

    async def settle(self) -> None:
        """Bring the file up to what the agent starts with, if there is one; raise OSError."""
        keys = self._agent.profile.keys
        value = self._agent.env.get(AGENTS_KEY)
        if keys is None or not value:
            return
        path = Path(keys.path(self._agent.place))
        if await asyncio.to_thread(path.exists):
            await asyncio.to_thread(self._write, path, value)

    async def close(self) -> None:
        """Wait for nothing: a restart under way is ended with the agent."""
        if self._restarting is not None:
            self._restarting.cancel()
            await asyncio.gather(self._restarting, return_exceptions=True)

    async def _give(self, value: Secret) -> Renewed:
        old, keys = self._agent.env.get(AGENTS_KEY, ""), self._agent.profile.keys
        self._agent.env[AGENTS_KEY] = value.reveal()
        moved = -1
        if keys is not None:
            await asyncio.to_thread(self._write, Path(keys.path(self._agent.place)), value.reveal())
            moved = await self._move(keys, old)
        if not self._supervisor.state.child:
            return Renewed(moved=max(moved, 0))
        if keys is not None and moved >= 0 and await self._reload(keys):
            return Renewed(reloaded=True, moved=moved)
        self._restarting = asyncio.create_task(self._supervisor.restart(), name="renewal")
        return Renewed(signaled=True, moved=max(moved, 0))

    async def _move(self, keys: Keys, old: str) -> int:
        """Have the configuration refer to the file.

        Return how many uses were moved, -1 if some could not be.
        """
        try:
            document = await self._config.read()
            patch = keys.referring(self._agent.place, document.config, AGENTS_KEY, old)
            if patch:
                await self._config.patch(patch, etag=document.etag, origin="renewal")
        except RefusedError as error:
            self._log.emit("renewal.not_moved", because=error.code)
            return -1
        return keys.moved_count(patch)

    async def _reload(self, keys: Keys) -> bool:
        """Return whether the agent has read its secrets again."""
        said: list[str] = []
        try:
            ran = await self._agent.commands.run(
                lambda: keys.reload_argv(self._agent.place),
                lambda _stream, line: said.append(line),
                Bounds(RELOAD_S),
                rank=Rank.ORDER,
                turn_s=TURN_S,
            )
        except TimeoutError:
            self._log.emit("renewal.reload_failed", because="another command line runs")
            return False
        except OSError as error:
            self._log.emit("renewal.reload_failed", because=str(error))
            return False
        if ran.because:
            self._log.emit("renewal.reload_failed", because=f"not within {RELOAD_S:g} s")
        elif ran.code != 0:
            # The log redacts; the last line says what the agent found wrong.
            self._log.emit("renewal.reload_failed", code=ran.code, said=" ".join(said[-1:])[:200])
        return ran.code == 0 and not ran.because

    def _write(self, path: Path, value: str) -> None:
        """Write the file of secrets; raise OSError."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        atomic_file.write(path, json.dumps({AGENTS_KEY: value}), below=Path(self._agent.place.home))
