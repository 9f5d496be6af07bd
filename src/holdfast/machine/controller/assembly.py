"""Puts the controller together once the heavy libraries are there, and takes it apart again.

The one module that makes things; the rest is given what it needs. Stopping has an order: first
what speaks to the plane, then the agent, then the listener; a failure on the way is told and does
not keep the rest from stopping.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final

import aiohttp
from aiohttp import web

from holdfast import __version__
from holdfast.kernel.clock import Clock
from holdfast.machine.agents.place import Place
from holdfast.machine.agents.profiles import Profile, find_profile
from holdfast.machine.controller import leftovers, limits
from holdfast.machine.controller.agent import AgentProcesses, write_file
from holdfast.machine.controller.boots_file import COUNTERS_FILE, open_boots
from holdfast.machine.controller.checkin import CheckIns
from holdfast.machine.controller.child import Nursery
from holdfast.machine.controller.credentials import Credentials, Pair
from holdfast.machine.controller.environment import Reporting, Running
from holdfast.machine.controller.lifecycle import Lifecycle
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.orders import Orders
from holdfast.machine.controller.report import Facts, Identity
from holdfast.machine.controller.routes import CAPABILITIES, Desk, make_app
from holdfast.machine.controller.sampler import Sampler
from holdfast.machine.controller.supervise import Policy, State
from holdfast.machine.controller.supervisor import Stats, Supervisor
from holdfast.machine.controller.version import UNKNOWN, Version, VersionProbe
from holdfast.machine.controller.wake import Wake
from holdfast.wire.checkin import BootCounters, CommandOutcome
from holdfast.wire.directive import Directive

_BOOT_ID_BYTES: Final = 8
_TOKEN_BYTES: Final = 32
_NOTHING: Final = Stats(State(), None, 0)


class Controller:
    """Everything that runs after the first listener."""

    def __init__(
        self,
        reporting: Reporting,
        home: Path,
        lifecycle: Lifecycle,
        *,
        draw: Callable[[int], str],
        clock: Clock,
        log: Log,
    ) -> None:
        """Make what reporting needs; `open_desk` adds the agent.

        `draw` returns that many unguessable bytes as hexadecimal digits.
        """
        self._draw = draw
        self._home = home
        self._lifecycle = lifecycle
        self._clock = clock
        self._log = log
        self._reporting = reporting
        self._identity = Identity(reporting, __version__, draw(_BOOT_ID_BYTES))
        self._credentials = Credentials(
            Pair(reporting.api_key, reporting.gateway_token), reporting.credentials_file, log
        )
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=16), cookie_jar=aiohttp.DummyCookieJar()
        )
        self._sampler = Sampler(home)
        self._orders = Orders(reporting.epoch, notify=self._notice, clock=clock, log=log)
        self._boots = open_boots(
            home / "run" / COUNTERS_FILE, sandbox_id=reporting.sandbox_id, log=log
        )
        self._checkins = CheckIns(
            self._identity, self._survey, self._orders, counts=self._boots,
            credentials=self._credentials, session=self._session, on_directive=self._take,
            clock=clock, log=log,
        )  # fmt: skip
        self._tasks: list[asyncio.Task[None]] = []
        self._supervisor: Supervisor | None = None
        self._version: VersionProbe | None = None
        self._agent_kind = ""
        self._runner: web.AppRunner | None = None
        self._degraded = ""
        lifecycle.listen(self._notice_degraded)

    @property
    def credentials(self) -> Credentials:
        """Return where the credentials are looked up."""
        return self._credentials

    def report(self) -> None:
        """Begin to check in and to listen for directives, where there is a plane."""
        self._run("orders", self._orders.run())
        self._sampler.sample()
        self._notice_degraded()
        if self._reporting.checkin_url:
            self._run("checkins", self._checkins.run())
        if self._reporting.wake_url:
            wake = Wake(
                self._reporting, self._credentials, self._session,
                revision=lambda: self._orders.revision, on_directive=self._take,
                seed=self._identity.boot_id, clock=self._clock, log=self._log,
            )  # fmt: skip
            self._run("wake", wake.run())

    async def open_desk(self, running: Running, listening: socket.socket) -> AgentProcesses:
        """Make the agent's supervisor and serve every route; raise KeyError or OSError."""
        profile = find_profile(running.agent)
        self._agent_kind = profile.name
        nursery = Nursery()
        nursery.open()
        agent = AgentProcesses(
            profile, self._place(running), running,
            nursery=nursery, session=self._session, log=self._log,
        )  # fmt: skip
        policy = make_policy(profile, running, seed=self._identity.boot_id)
        supervisor = Supervisor(policy, agent, clock=self._clock, log=self._log)
        supervisor.listen(self._changed)
        supervisor.listen(self._remember)
        version = VersionProbe(profile.binary(agent.place), agent.ask_version, self._clock)
        version.listen(self._notice)
        self._supervisor, self._version = supervisor, version
        self._orders.serve(supervisor)
        desk = Desk(
            identity=self._identity, lifecycle=self._lifecycle, credentials=self._credentials,
            supervisor=supervisor, agent=agent, version=version,
            shared_cpu=running.shared_cpu, log=self._log,
        )  # fmt: skip
        await self._serve(desk, listening)
        return agent

    def start_agent(self, agent: AgentProcesses) -> None:
        """Start the agent, unless the plane said meanwhile that it should not run."""
        assert self._supervisor is not None, "open_desk comes first"
        assert self._version is not None, "open_desk comes first"
        agent.prepare()
        ended = leftovers.end_leftovers(self._home / "run" / "agent.session", agent.place.home)
        if ended:
            self._log.emit("agent.leftovers_killed", count=ended)
        if self._orders.wants_running:
            self._supervisor.start()
        self._run("version", _forget(self._version.find()))

    async def stop(self, number: int) -> None:
        """Stop everything in order; raise the first failure after trying the rest."""
        first: Exception | None = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for closing in self._closings(number):
            try:
                await closing
            except Exception as error:  # noqa: BLE001  the rest must still be stopped
                self._log.emit("controller.stop_failed", error=repr(error))
                first = first or error
        if first is not None:
            raise first

    def _closings(self, number: int) -> list[Coroutine[None, None, None]]:
        closings = [] if self._supervisor is None else [self._supervisor.shutdown(number)]
        if self._runner is not None:
            closings.append(self._runner.cleanup())
        return [*closings, self._boots.close(), self._session.close()]

    async def _serve(self, desk: Desk, listening: socket.socket) -> None:
        self._runner = web.AppRunner(
            make_app(desk), access_log=None, handle_signals=False,
            shutdown_timeout=limits.CLOSE_TIMEOUT_S,
        )  # fmt: skip
        await self._runner.setup()
        await web.SockSite(self._runner, listening).start()

    def _place(self, running: Running) -> Place:
        return Place(
            home=running.agent_home or str(self._home / "agent"),
            port=running.agent_port or free_port(),
            token=_agent_token(self._home / "run" / "agent.token", self._draw),
            python=running.python,
            install=running.install,
            arguments=running.arguments,
        )

    async def _survey(
        self, *, failed: int, last_error: str, interval_ms: int,
        outcomes: tuple[CommandOutcome, ...],
    ) -> Facts:  # fmt: skip
        version: Version = UNKNOWN if self._version is None else await self._version.find()
        return Facts(
            stats=_NOTHING if self._supervisor is None else self._supervisor.stats(),
            sample=self._sampler.sample(),
            version=version,
            agent_kind=self._agent_kind,
            phase=self._lifecycle.phase or self._lifecycle.stage,
            degraded=self._lifecycle.error,
            failed=failed,
            last_error=last_error,
            interval_ms=interval_ms,
            outcomes=outcomes,
            capabilities=CAPABILITIES,
        )

    def _take(self, directive: Directive) -> None:
        self._checkins.set_interval(directive.checkin_interval_ms)
        self._orders.take(directive)

    def _notice(self) -> None:
        self._checkins.notice()

    def _notice_degraded(self) -> None:
        if self._lifecycle.error != self._degraded:
            self._degraded = self._lifecycle.error
            self._notice()

    def _changed(self, before: State, after: State) -> None:
        if after.restarts != before.restarts and self._reporting.checkin_url:
            self._keep_counts(after)
        exited = after.last_exit is not before.last_exit
        if exited or after.ready != before.ready or after.parked != before.parked:
            self._notice()

    def _keep_counts(self, state: State) -> None:
        """Write what the next report would tell, in case there is none."""
        sample = self._sampler.sample()
        self._boots.keep(
            BootCounters(
                boot_id=self._identity.boot_id,
                sequence=self._checkins.sequence + 1,
                restarts=state.restarts,
                crashes=state.crashes,
                bytes_in=sample.received,
                bytes_out=sample.sent,
            )
        )

    def _remember(self, before: State, after: State) -> None:
        if self._supervisor is None or after.spawned_ms is None or before.spawned_ms is not None:
            return
        pid = self._supervisor.stats().pid
        if pid is not None:
            leftovers.remember_session(self._home / "run" / "agent.session", pid)

    def _run(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.emit("task.failed", task=task.get_name(), error=repr(error))


def make_policy(profile: Profile, running: Running, *, seed: str) -> Policy:
    """Return how this agent is supervised."""
    return Policy(
        stop_grace_ms=running.stop_grace_ms or profile.stop_grace_ms,
        misconfigured=profile.misconfigured,
        mends=profile.mend_argv is not None,
        seed=seed,
    )


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def _forget(work: Coroutine[None, None, Version]) -> None:
    await work


def _agent_token(path: Path, draw: Callable[[int], str]) -> str:
    """Return the token of the agent's loopback port, made on the first start and kept."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        token = draw(_TOKEN_BYTES)
        write_file(path, token)
        return token
