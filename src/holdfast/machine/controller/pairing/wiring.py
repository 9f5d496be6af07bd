"""Pairing in one machine, wired together: sources, cache, triggers and decisions.

The only module here that constructs parts. It does not delay the start: the first read runs as soon
as the loop is free, and until then the lists report that they are warming.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import aiohttp
import msgspec

from holdfast.kernel.clock import Clock
from holdfast.machine.agents.pairing import Means, Pairing
from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.agent.supervisor import Supervisor
from holdfast.machine.controller.agent.version import VersionProbe
from holdfast.machine.controller.config.document import parse
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.cache import Cache, Listing
from holdfast.machine.controller.pairing.command_line import CommandLine
from holdfast.machine.controller.pairing.decider import Backend, Decider
from holdfast.machine.controller.pairing.decisions import Order
from holdfast.machine.controller.pairing.files import (
    VERDICTS_FILE,
    VerdictsFile,
    read_json,
    read_plain,
)
from holdfast.machine.controller.pairing.openclaw.by_command import (
    CommandBackend,
    CommandSource,
    is_hint,
)
from holdfast.machine.controller.pairing.openclaw.by_websocket import SocketSource, WebSocketBackend
from holdfast.machine.controller.pairing.openclaw.channel_states import ChannelStates
from holdfast.machine.controller.pairing.openclaw.connection import Link
from holdfast.machine.controller.pairing.openclaw.device_key import KEY_FILE
from holdfast.machine.controller.pairing.openclaw.json_store import JsonFiles, JsonSource
from holdfast.machine.controller.pairing.openclaw.own_client import OwnClient
from holdfast.machine.controller.pairing.openclaw.restart_after_approval import Aftermath
from holdfast.machine.controller.pairing.openclaw.sqlite_store import SqliteSource
from holdfast.machine.controller.pairing.poller import Poller
from holdfast.machine.controller.pairing.ports import Source
from holdfast.machine.controller.pairing.reader import Reader
from holdfast.machine.controller.pairing.watcher import Watcher, targets_of
from holdfast.machine.controller.process.children import Stream
from holdfast.machine.controller.supervise import State
from holdfast.wire.controller.pairing import Kind, PairingAnswer

_KINDS: tuple[Kind, ...] = ("channels", "devices")


class PairingParts:
    """The pairing parts of this machine's agent."""

    def __init__(
        self,
        pairing: Pairing,
        agent: AgentProcesses,
        supervisor: Supervisor,
        version: VersionProbe,
        *,
        run_folder: Path,
        on_change: Callable[[], None],
        is_closing: Callable[[], bool],
        approve_own: bool,
        clock: Clock,
        log: Log,
    ) -> None:
        """`on_change` gets each new epoch."""
        self._clock = clock
        self._log = log
        self._file = VerdictsFile(run_folder / VERDICTS_FILE, log)
        self._cache = Cache(self._file.read(), on_change=on_change, clock=clock)
        self._expiry: asyncio.TimerHandle | None = None
        self._commands = CommandLine(
            lambda: pairing.program(agent.place), agent.commands,
            hidden=(agent.place.token,), clock=clock, log=log,
        )  # fmt: skip
        self._pairing = pairing
        self._env = agent.env
        self._config_path = agent.profile.config_path(agent.place)
        self._watcher = Watcher(self._changed, log)
        # A separate session from probes and reports: failures here must not delay those.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=limits.SOCKETS_MAX),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._link = Link(
            agent.place, self._session, key_path=run_folder / KEY_FILE,
            on_open=self._opened, on_news=lambda: self._changed("devices"), log=log,
        )  # fmt: skip
        self._channels = ChannelStates(self._link, on_change=on_change, log=log)
        self._reader = Reader(
            pairing, self._sources(pairing, agent.env, agent.place.home),
            env=agent.env, version=version, running_version=lambda: self._link.version,
            read_config=lambda: parse(read_plain(self._config_path, below=agent.place.home)).config,
        )  # fmt: skip
        self._pollers = {
            kind: Poller(
                kind, self._cache, self._reader, after_read=self._looked, clock=clock, log=log
            )
            for kind in _KINDS
        }
        self._decider = Decider(
            self._cache, self._backends(agent),
            plan=self._reader.plan,
            refresh=lambda kind: self._pollers[kind].refresh(),
            hint=lambda kind: self._pollers[kind].hint(),
            keep=lambda: self._file.write(self._cache.verdicts),
            is_running=lambda: supervisor.state.status == "running",
            is_closing=is_closing,
            clock=clock, log=log,
        )  # fmt: skip
        self._own: OwnClient | None = None
        if approve_own and pairing.identity is not None:
            self._own = OwnClient(
                pairing.identity(agent.env), agent.place.home, decide=self._decider.decide,
                hint=lambda: self._changed("devices"), clock=clock, log=log,
            )  # fmt: skip
        self._tasks: list[asyncio.Task[None]] = []
        agent.hooks.append(self._line)
        supervisor.listen(self._agent_changed)
        version.listen(self.hint)

    @property
    def epoch(self) -> int:
        """Return the current epoch."""
        return self._cache.epoch

    @property
    def count(self) -> int:
        """Return how many requests are pending."""
        return self._cache.count

    @property
    def channel_trouble(self) -> str:
        """Return which channels do not run, and why, or nothing."""
        return self._channels.trouble

    def start(self) -> None:
        """Start reading in the background."""
        if not self._tasks:
            self._tasks = [
                asyncio.create_task(poller.run(), name=f"pairing-{kind}")
                for kind, poller in self._pollers.items()
            ]
            if self._uses_socket():
                self._tasks.append(asyncio.create_task(self._link.run(), name="pairing-link"))
                self._tasks.append(asyncio.create_task(self._channels.run(), name="channels"))

    async def close(self) -> None:
        """Stop reading and deciding."""
        if self._expiry is not None:
            self._expiry.cancel()
        self._watcher.close()
        if self._own is not None:
            self._own.close()
        await self._decider.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=limits.CLOSE_S)
        await self._session.close()

    def hint(self) -> None:
        """Read both kinds soon."""
        for poller in self._pollers.values():
            poller.hint()

    def listing(self, kind: Kind) -> Listing:
        """Return the cached pending requests."""
        return self._cache.listing(kind)

    async def refreshed(self, kind: Kind) -> tuple[Listing, bytes]:
        """Read now; return the pending requests, and their JSON with whether the read worked."""
        worked = False
        try:
            async with asyncio.timeout(limits.FORCED_WAIT_S):
                worked = await self._pollers[kind].refresh()
        except TimeoutError:
            self._log.emit("pairing.refresh_slow", kind=kind)
        listing = self._cache.listing(kind)
        return listing, msgspec.json.encode({**listing.body, "refreshed": worked})

    async def decide(self, order: Order) -> PairingAnswer:
        """Return the result of an order."""
        return await self._decider.decide(order)

    def _sources(
        self, pairing: Pairing, env: Mapping[str, str], home: str
    ) -> Mapping[Means, Source]:
        files = JsonFiles(pairing.credentials(env), pairing.devices(env))
        sources: dict[Means, Source] = {
            "json": JsonSource(files, partial(read_json, below=home)),
            "rpc": SocketSource(self._link),
            "command": CommandSource(self._commands),
        }
        if pairing.database is not None:
            sources["sqlite"] = SqliteSource(
                pairing.database(env), below=home,
                is_serving=lambda: self._link.gateway is not None,
            )  # fmt: skip
        return sources

    def _backends(self, agent: AgentProcesses) -> Mapping[Means, Backend]:
        aftermath = Aftermath(
            self._config_path, link_end=lambda: self._link.end, is_ready=agent.is_ready,
            log=self._log,
        )  # fmt: skip
        return {
            "rpc": WebSocketBackend(self._link, self._log),
            "command": CommandBackend(self._commands, aftermath),
        }

    def _watch(self) -> None:
        """Watch what is read on this version of the agent."""
        self._watcher.watch(
            targets_of(self._pairing, self._reader.plan(), env=self._env, config=self._config_path)
        )

    def _uses_socket(self) -> bool:
        """Return whether any release of this agent has an interface to connect to."""
        return "rpc" in self._pairing.plan(None).devices

    def _opened(self) -> None:
        """Read again: the agent's interface is open now, and its release is known."""
        for poller in self._pollers.values():
            poller.allow()

    def _changed(self, kind: Kind, *, decisive: bool = False) -> None:
        poller = self._pollers[kind]
        poller.allow() if decisive else poller.hint()

    def _line(self, _stream: Stream, line: str) -> None:
        if is_hint(line):
            self.hint()

    def _agent_changed(self, before: State, after: State) -> None:
        if before.ready != after.ready:
            self._link.want(ready=after.ready)
            for poller in self._pollers.values():
                poller.allow() if after.ready else poller.hint()

    async def _looked(self, kind: Kind) -> None:
        self._watch()
        self._backend()
        if kind == "devices" and self._own is not None:
            self._own.see(self._cache.listing(kind).rows)
        await self._file.write(self._cache.verdicts)

    def _backend(self) -> None:
        """Set the timer for the next expiry, which is a change that no source reports."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        until_ms = self._cache.until_ms
        if until_ms is not None:
            left_s = max(until_ms - self._clock.now_ms(), 0) / 1_000
            self._expiry = asyncio.get_running_loop().call_later(left_s, self._expire)

    def _expire(self) -> None:
        self._cache.expire()
        self._backend()
