"""Gives the controller and its agent a renewed key while both run.

The controller uses it from its next request on. The agent is made to reread its secrets, which cuts
no work; an agent that cannot, or not in time, is drained and restarted. The key is stored in a file
of mode 0600 and in the environment of later starts, never in a log.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.kernel.failure import brief
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
"""Time limit for the agent to reread its secrets (compat/controller.md)."""

LOCK_WAIT_S: Final = 4.0
"""How long to wait for the agent's other command lines; after that it is restarted.

Together with the limit above less than the 15 s after which a control plane gives up.
"""


class Renewed(NamedTuple):
    """The result.

    `signaled` if the agent is restarted; `moved` counts uses that now refer to the file.
    """

    reloaded: bool = False
    signaled: bool = False
    moved: int = 0


class Renewal:
    """Renews keys, one renewal at a time."""

    def __init__(
        self,
        agent: AgentProcesses,
        config: ConfigStore,
        credentials: Credentials,
        supervisor: Supervisor,
        log: Log,
    ) -> None:
        self._agent = agent
        self._config = config
        self._credentials = credentials
        self._supervisor = supervisor
        self._log = log
        self._lock = asyncio.Lock()
        self._restarting: asyncio.Task[bool] | None = None

    async def apply(self, values: Mapping[str, Secret]) -> Renewed:
        """Apply these at once, and pass the agent its own."""
        async with self._lock:
            key = values.get(OUR_KEY) or values.get(AGENTS_KEY)
            if key is not None:
                self._credentials.renew(key)
            own = values.get(AGENTS_KEY)
            return Renewed() if own is None else await self._give(own)

    async def settle(self) -> None:
        """Rewrite an existing file with what the agent starts with; raise OSError."""
        keys = self._agent.profile.keys
        value = self._agent.env.get(AGENTS_KEY)
        if keys is None or not value:
            return
        path = Path(keys.path(self._agent.place))
        if await asyncio.to_thread(path.exists):
            await asyncio.to_thread(self._write, path, value)

    async def close(self) -> None:
        """Cancel without waiting: a running restart ends with the agent."""
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
        """Make the configuration refer to the file.

        Return how many uses were changed, -1 if some could not be.
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
        """Return whether the agent reread its secrets."""
        printed: list[str] = []
        try:
            ran = await self._agent.commands.run(
                lambda: keys.reload_argv(self._agent.place),
                lambda _stream, line: printed.append(line),
                Bounds(RELOAD_S),
                rank=Rank.ORDER,
                wait_s=LOCK_WAIT_S,
            )
        except TimeoutError:
            self._log.emit("renewal.reload_failed", because="another command line runs")
            return False
        except OSError as error:
            self._log.emit("renewal.reload_failed", because=brief(error))
            return False
        if ran.because:
            self._log.emit("renewal.reload_failed", because=f"not within {RELOAD_S:g} s")
        elif ran.code != 0:
            # The log redacts; the last line contains the agent's error.
            self._log.emit(
                "renewal.reload_failed", code=ran.code, printed=" ".join(printed[-1:])[:200]
            )
        return ran.code == 0 and not ran.because

    def _write(self, path: Path, value: str) -> None:
        """Write the file of secrets; raise OSError."""
        atomic_file.make_folder(path.parent)
        atomic_file.write(path, json.dumps({AGENTS_KEY: value}), below=Path(self._agent.place.home))
