"""Builds the controller once the heavy libraries are imported, and shuts it down.

The only module that constructs parts; the others receive what they need. The order of shutdown:
first what contacts the plane, then the agent, then the listener; a failure is logged and does not
stop the rest.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final

import aiohttp

from holdfast import __version__
from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.machine.agents.catalogue import find_profile
from holdfast.machine.agents.pairing import Place
from holdfast.machine.confine.sandbox import Confinement, open_confinement
from holdfast.machine.controller import limits
from holdfast.machine.controller.agent.processes import AgentProcesses
from holdfast.machine.controller.agent.runtime import AgentRuntime
from holdfast.machine.controller.agent.supervisor import Stats
from holdfast.machine.controller.agent.version import UNKNOWN, Version
from holdfast.machine.controller.api.context import Context
from holdfast.machine.controller.bootstrap import Bootstrap, PhaseError
from holdfast.machine.controller.certificates import HostCertificates
from holdfast.machine.controller.credentials import Credentials, Pair
from holdfast.machine.controller.lifecycle import Lifecycle
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.maintenance import Maintenance, make_config, make_maintenance
from holdfast.machine.controller.observing.calls import OwnerCalls
from holdfast.machine.controller.observing.process import ObserverProcess, Surroundings
from holdfast.machine.controller.pairing.openclaw.device_repair import DeviceRepair
from holdfast.machine.controller.pairing.wiring import PairingParts
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.controller.process.children import ChildProcesses
from holdfast.machine.controller.process.sampler import Sampler
from holdfast.machine.controller.report.boot_counters import COUNTERS_FILE, open_boots
from holdfast.machine.controller.report.checkin import CheckIns
from holdfast.machine.controller.report.directives import Orders
from holdfast.machine.controller.report.facts import Facts, Identity, is_news
from holdfast.machine.controller.report.long_poll import Wake
from holdfast.machine.controller.server import Doors, open_doors
from holdfast.machine.controller.settings import Observing, Proxying, Reporting, Running
from holdfast.machine.controller.supervise import State
from holdfast.machine.controller.work.jobs import WorkJobs
from holdfast.wire.address import LOOPBACK, Address
from holdfast.wire.controller.checkin import BootCounters, CommandOutcome
from holdfast.wire.controller.directive import Directive
from holdfast.wire.controller.table import CAPABILITIES

_BOOT_ID_BYTES: Final = 8
_TOKEN_BYTES: Final = 32
_SMALL_BYTES_MAX: Final = 65_536
INSTALLED_FILE: Final = "agent.installed"
"""The program of the agent that was started last; below the machine's `run`."""

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
        proxying: Proxying,
        observing: Observing,
    ) -> None:
        """Make what reporting needs; `open_context` adds the agent.

        `draw` returns random bytes as hexadecimal digits.
        """
        self._draw = draw
        self._home = home
        self._lifecycle = lifecycle
        self._clock = clock
        self._log = log
        self._reporting = reporting
        self._proxying = proxying
        self._observing = observing
        self._identity = Identity(reporting, __version__, draw(_BOOT_ID_BYTES))
        self._credentials = Credentials(
            Pair(reporting.api_key, reporting.gateway_token), reporting.credentials_file, log,
            proxy_token=proxying.token, clock=clock,
        )  # fmt: skip
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=16, ssl=HostCertificates()),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._sampler = Sampler(home)
        self._orders = Orders(reporting.epoch, notify=self._notice, clock=clock, log=log)
        self._boots = open_boots(
            home / "run" / COUNTERS_FILE, sandbox_id=reporting.sandbox_id, log=log
        )
        self._checkins = CheckIns(
            self._identity, self._survey, self._orders, counts=self._boots,
            credentials=self._credentials, session=self._session, on_directive=self._take,
            closing=lambda: lifecycle.closing, clock=clock, log=log,
        )  # fmt: skip
        self._tasks: list[asyncio.Task[None]] = []
        self._runtime: AgentRuntime | None = None
        self._child_processes: ChildProcesses | None = None
        self._agent_kind = ""
        self._server: Doors | None = None
        self._pairing: PairingParts | None = None
        self._device_repair: DeviceRepair | None = None
        self._maintenance: Maintenance | None = None
        self._observer: ObserverProcess | None = None
        self._work: WorkJobs | None = None
        self._reports = False
        self._degraded = ""
        self._slow: asyncio.TimerHandle | None = None
        self._is_slow = False
        lifecycle.listen(self._notice_stage)

    @property
    def credentials(self) -> Credentials:
        """Return the source of credentials."""
        return self._credentials

    def report(self) -> None:
        """Start check-ins and directives, if there is a plane; once."""
        if self._reports:
            return
        self._reports = True
        self._run("orders", self._orders.run())
        self._sampler.sample()
        self._notice_stage()
        if self._reporting.checkin_url:
            self._run("checkins", self._checkins.run())
        if self._reporting.wake_url:
            wake = Wake(
                self._reporting, self._credentials, self._session,
                revision=lambda: self._orders.revision, on_directive=self._take,
                seed=self._identity.boot_id, clock=self._clock, log=self._log,
            )  # fmt: skip
            self._run("wake", wake.run())

    async def open_context(
        self, running: Running, listening: socket.socket, bootstrap: Bootstrap
    ) -> AgentProcesses:
        """Make the agent's supervisor and serve every route; raise KeyError or OSError."""
        profile = find_profile(running.agent)
        self._agent_kind = profile.name
        place = self._place(running)
        child_processes = ChildProcesses(await self._confine(running.confine, place.port))
        child_processes.open()
        agent = AgentProcesses(
            profile,
            place,
            running,
            child_processes=child_processes,
            session=self._session,
            log=self._log,
        )
        self._child_processes = child_processes
        config = make_config(agent, self._home / "run", clock=self._clock, log=self._log)
        runtime = self._runtime = AgentRuntime(
            agent, config, running, self._home, seed=self._identity.boot_id,
            on_version=self._notice, clock=self._clock, log=self._log,
        )  # fmt: skip
        await runtime.open()
        runtime.supervisor.listen(self._changed)
        runtime.supervisor.listen(lambda _, after: bootstrap.note_ready() if after.ready else None)
        self._orders.serve(runtime.supervisor)
        maintenance = self._maintenance = await make_maintenance(
            agent, runtime.supervisor, config, self._credentials, self._home / "run",
            closing=lambda: self._lifecycle.closing,
            draw=self._draw, clock=self._clock, log=self._log,
        )  # fmt: skip
        self._pairing = self._make_pairing(agent, runtime, running)
        self._device_repair = self._make_device_repair(agent, runtime, running)
        self._observer = self._make_observer(agent, child_processes)
        work = self._work = WorkJobs(
            agent, self._home / "run" / "work", clock=self._clock, log=self._log,
            is_ready=lambda: runtime.supervisor.state.ready,
        )  # fmt: skip
        await work.open()
        context = Context(
            identity=self._identity, lifecycle=self._lifecycle, credentials=self._credentials,
            supervisor=runtime.supervisor, agent=agent, version=runtime.version,
            maintenance=maintenance, bootstrap=bootstrap, work=work,
            shared_cpu=running.shared_cpu, pairing=self._pairing,
            device_repair=self._device_repair, observer=self._observer,
            owner_calls=self._make_owner_calls(agent), log=self._log,
        )  # fmt: skip
        self._server = await open_doors(
            context,
            listening,
            self._proxying,
            agent=Address(LOOPBACK, agent.place.port),
            clock=self._clock,
        )
        if self._pairing is not None:
            self._pairing.start()
        return agent

    async def _confine(self, text: str, agent_port: int) -> Confinement:
        """Return the confinement of all the agent's programs; raise ConfineError.

        Decided once: if it is unavailable at a later start of the agent, that start fails.
        """
        confinement = await asyncio.to_thread(open_confinement, text, agent_port=agent_port)
        self._log.emit(
            "agent.confined", kind=confinement.kind, bubblewrap=confinement.found.bubblewrap,
            landlock_abi=confinement.found.landlock_abi, reason=confinement.found.reason,
        )  # fmt: skip
        return confinement

    async def upgrade(self) -> None:
        """Change the agent's version if another one was given; raise OSError."""
        assert self._runtime is not None, "open_context comes first"
        if await self._runtime.change_version():
            path = self._home / "run" / INSTALLED_FILE
            identity = self._runtime.version.identity()
            await asyncio.to_thread(atomic_file.write, path, identity)

    async def repair_devices(self) -> None:
        """Repair the agent's record of its own client; raise nothing."""
        if self._device_repair is not None:
            await self._device_repair.run()

    async def call_doctor(self) -> None:
        """Run the agent's doctor if the agent's program changed since the last start.

        Raise PhaseError on failure: an agent that its own doctor cannot upgrade must not be started
        on its data.
        """
        assert self._runtime is not None, "open_context comes first"
        assert self._maintenance is not None, "open_context comes first"
        path, now = self._home / "run" / INSTALLED_FILE, self._runtime.version.identity()
        before = await asyncio.to_thread(read_text, path)
        if before and now and before != now:
            self._log.emit("agent.replaced")
            self._maintenance.doctor.start(fix=True)
            record = await self._maintenance.doctor.wait()
            if record.status != "completed":
                raise PhaseError(f"the doctor after an upgrade: {record.error}")
        if now and before != now:
            await asyncio.to_thread(atomic_file.write, path, now)

    async def start_agent(self) -> None:
        """Start the agent, unless a directive meanwhile wants it stopped."""
        assert self._runtime is not None, "open_context comes first"
        assert self._maintenance is not None, "open_context comes first"
        await self._maintenance.renewal.settle()
        await self._runtime.start(wanted=lambda: self._orders.wants_running)

    def start_observer(self) -> None:
        """Start the observer beside the agent; nothing of the start waits for it."""
        if self._observer is not None:
            self._observer.start()

    def abandon(self) -> None:
        """Kill what was started, from any thread: the process is about to be ended by force."""
        if self._child_processes is not None:
            self._child_processes.abandon()

    async def stop(self, number: int) -> None:
        """Stop everything in order; raise the first failure after trying the rest."""
        first: Exception | None = None
        self._lifecycle.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            # A connection that does not close must not prevent stopping the agent.
            await asyncio.wait(self._tasks, timeout=limits.CLOSE_TIMEOUT_S)
        for closing in self._closings(number):
            try:
                await closing
            except Exception as error:  # noqa: BLE001  the rest must still be stopped
                self._log.emit("controller.stop_failed", error=brief(error))
                first = first or error
        if first is not None:
            raise first

    def _closings(self, number: int) -> list[Coroutine[None, None, None]]:
        closings = [] if self._pairing is None else [self._pairing.close()]
        if self._work is not None:
            closings.append(self._work.close())
        if self._maintenance is not None:
            closings.append(self._maintenance.close())
        if self._observer is not None:
            self._observer.end()
        if self._runtime is not None:
            closings.append(self._runtime.supervisor.shutdown(number))
        if self._observer is not None:
            closings.append(self._observer.close())
        if self._server is not None:
            closings.append(self._server.close())
        return [*closings, self._boots.close(), self._session.close()]

    def _place(self, running: Running) -> Place:
        return Place(
            home=running.agent_home or str(self._home / "agent"),
            port=running.agent_port or free_port(),
            token=self._proxying.agent_token.reveal()
            or _agent_token(self._home / "run" / "agent.token", self._draw),
            python=running.python,
            install=running.install,
            arguments=running.arguments,
        )

    async def _survey(
        self, *, failed: int, last_error: str, interval_ms: int,
        outcomes: tuple[CommandOutcome, ...],
    ) -> Facts:  # fmt: skip
        runtime = self._runtime
        version: Version = UNKNOWN if runtime is None else await runtime.version.find()
        return Facts(
            stats=_NOTHING if runtime is None else runtime.supervisor.stats(),
            sample=self._sampler.sample(),
            version=version,
            agent_kind=self._agent_kind,
            confinement=""
            if self._child_processes is None
            else self._child_processes.confinement.kind,
            phase=self._lifecycle.phase or self._lifecycle.stage,
            degraded=self._lifecycle.error,
            failed=failed,
            last_error=last_error,
            interval_ms=interval_ms,
            outcomes=outcomes,
            capabilities=CAPABILITIES,
            steps=self._lifecycle.steps,
            observer=None if self._observer is None else self._observer.told,
            pairing_epoch=0 if self._pairing is None else self._pairing.epoch,
            pairing_count=0 if self._pairing is None else self._pairing.count,
            channel_trouble="" if self._pairing is None else self._pairing.channel_trouble,
            version_change=None if runtime is None else runtime.upgrades.told,
        )

    def _make_pairing(
        self, agent: AgentProcesses, runtime: AgentRuntime, running: Running
    ) -> PairingParts | None:
        if agent.profile.pairing is None:
            return None
        return PairingParts(
            agent.profile.pairing, agent, runtime.supervisor, runtime.version,
            run_folder=self._home / "run", on_change=self._notice,
            is_closing=lambda: self._lifecycle.closing, approve_own=running.approve_own,
            clock=self._clock, log=self._log,
        )  # fmt: skip

    def _make_device_repair(
        self, agent: AgentProcesses, runtime: AgentRuntime, running: Running
    ) -> DeviceRepair | None:
        if agent.profile.pairing is None:
            return None
        return DeviceRepair(
            agent.profile.pairing, agent.env, self._home / "run", below=Path(agent.place.home),
            trusted=running.approve_own,
            version=runtime.version, is_running=lambda: bool(runtime.supervisor.state.child),
            log=self._log,
        )  # fmt: skip

    def _make_observer(
        self, agent: AgentProcesses, child_processes: ChildProcesses
    ) -> ObserverProcess:
        place = agent.place
        return ObserverProcess(
            self._observing,
            Surroundings(self._home, Path(place.home), agent.env, place.python),
            launch=child_processes.launch_ours, credentials=self._credentials.current,
            on_change=self._notice, log=self._log, seed=self._identity.boot_id,
        )  # fmt: skip

    def _make_owner_calls(self, agent: AgentProcesses) -> OwnerCalls:
        return OwnerCalls(
            Path(agent.place.home), self._observing.plane_url, self._reporting.sandbox_id,
            node=self._observing.consent_node,
            credentials=self._credentials, session=self._session, log=self._log,
        )  # fmt: skip

    def _take(self, directive: Directive) -> None:
        self._checkins.set_interval(directive.checkin_interval_ms)
        self._orders.take(directive)

    def _notice(self) -> None:
        self._checkins.notice()

    def _notice_stage(self) -> None:
        """Report a start that fails, and the progress of a slow one."""
        now = self._lifecycle
        if self._slow is not None:
            self._slow.cancel()
            self._slow = None
        if now.error != self._degraded or self._is_slow:
            self._degraded = now.error
            self._notice()
        if now.stage in {"ready", "degraded"} or now.closing:
            self._is_slow = False
        else:
            loop = asyncio.get_running_loop()
            self._slow = loop.call_later(limits.SLOW_PHASE_S, self._notice_slow)

    def _notice_slow(self) -> None:
        self._is_slow = True
        self._notice()

    def _changed(self, before: State, after: State) -> None:
        if after.restarts != before.restarts and self._reporting.checkin_url:
            self._keep_counts(after)
        exited = after.last_exit is not before.last_exit
        if exited or after.ready != before.ready or is_news(before, after):
            self._notice()

    def _keep_counts(self, state: State) -> None:
        """Write what the next report would contain, in case there is none."""
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

    def _run(self, name: str, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.emit("task.failed", task=task.get_name(), error=brief(error))


def read_text(path: Path) -> str:
    """Return a small file's text, empty if there is none."""
    try:
        return atomic_file.read_file(path, _SMALL_BYTES_MAX).decode()
    except FileNotFoundError:
        return ""


def free_port() -> int:
    """Return a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _agent_token(path: Path, draw: Callable[[int], str]) -> str:
    """Return the token of the agent's loopback port, made on the first start and kept."""
    try:
        return atomic_file.read_file(path, _SMALL_BYTES_MAX).decode().strip()
    except FileNotFoundError:
        token = draw(_TOKEN_BYTES)
        atomic_file.write(path, token)
        return token
