"""The order of the start: listen, then all else, with each phase shown on health.

Imports before the listener are light; the slow and large libraries are imported afterwards in a
thread, and nothing that blocks runs on the loop. A phase that fails leaves the process up, degraded
and reporting, because a machine that needs repair must not be killed for it; the phases are data,
see `bootstrap.py`.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import signal
import socket
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from holdfast.kernel.clock import SystemClock
from holdfast.kernel.failure import brief
from holdfast.machine.confine.sandbox import ConfineError
from holdfast.machine.controller import certificates, limits, sealed_settings, settings
from holdfast.machine.controller.bootstrap import PHASES, Bootstrap, PhaseError
from holdfast.machine.controller.health_listener import FirstListener, open_socket
from holdfast.machine.controller.lifecycle import Lifecycle
from holdfast.machine.controller.log import Log, log_faults
from holdfast.machine.controller.process import atomic_file
from holdfast.machine.controller.settings import Listening, Proxying, SettingError
from holdfast.machine.controller.shutdown import Shutdown

if TYPE_CHECKING:
    from holdfast.machine.controller.agent.processes import AgentProcesses
    from holdfast.machine.controller.wiring import Controller

_HEAVY: Final = "holdfast.machine.controller.wiring"
"""Modules that import slow libraries; imported after the first listener is up."""

STATE_FILE: Final = "controller.json"
"""Where the controller and its agent listen; below the machine's `run`, while it serves."""


class Boot:
    """One run of the controller."""

    def __init__(self, environ: MutableMapping[str, str], draw: Callable[[int], str]) -> None:
        """Start with these variables; sealed ones are decrypted into them."""
        self._draw = draw
        self._environ = environ
        self._clock = SystemClock()
        self._log = Log(self._clock)
        self._lifecycle = Lifecycle()
        self._shutdown = Shutdown(self._lifecycle)
        self._controller: Controller | None = None
        self._agent: AgentProcesses | None = None
        self._first = FirstListener(self._lifecycle.health, lambda: self._lifecycle.stage)
        self._listening: Listening | None = None
        self._socket: socket.socket | None = None
        self._bootstrap = Bootstrap(
            PHASES,
            {
                "decrypting": self._decrypt,
                "directories": self._make_folders,
                "runtime-config": self._configure,
                "upgrade": self._upgrade,
                "onboard": self._onboard,
                "device-pairing": self._repair_devices,
                "doctor": self._call_doctor,
                "gateway-start": self._start_agent,
            },
            self._lifecycle,
            self._log,
        )

    async def run(self) -> int:
        """Run until a signal; return the exit code."""
        log_faults(self._log, asyncio.get_running_loop())
        try:
            self._listening = settings.read_listening(self._environ)
            self._socket = open_socket(self._listening.host, self._listening.port)
        except (SettingError, OSError) as error:
            self._log.emit("controller.cannot_listen", error=brief(error))
            return 1
        self._first.serve(self._socket)
        self._shutdown.take_signals()
        started = await self._start_until_signal()
        stopped = await self._stop(await self._shutdown.signalled)
        return stopped if started else 1

    async def _start_until_signal(self) -> bool:
        """Start; a signal meanwhile cancels it. Return whether it succeeded."""
        starting = asyncio.create_task(self._start(), name="start")
        first: tuple[asyncio.Future[Any], ...] = (starting, self._shutdown.signalled)
        await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
        if not starting.done():
            starting.cancel()
            await asyncio.wait({starting}, timeout=limits.CLOSE_TIMEOUT_S)
        if starting.done() and not starting.cancelled() and (error := starting.exception()):
            # Outside the phases: exit with the reason.
            self._log.emit("controller.failed", error=brief(error))
            self._shutdown.begin(int(signal.SIGTERM))
            return False
        return True

    async def _start(self) -> None:
        """Run the phases, and report even if one failed."""
        await self._bootstrap.run()
        try:
            controller = await self._reporter()
        except SettingError as error:
            self._log.emit("controller.cannot_report", error=str(error))
            return
        controller.report()

    # -- the phases

    async def _decrypt(self) -> None:
        """Decrypt the sealed settings, all or none, and forget the key."""
        try:
            opened = await asyncio.to_thread(sealed_settings.decrypt_settings, dict(self._environ))
        except sealed_settings.SealError as error:
            raise PhaseError(str(error)) from error
        finally:
            for name in [name for name in self._environ if sealed_settings.is_sealing(name)]:
                del self._environ[name]
        self._environ.update(opened)
        missing = settings.missing_credential(self._environ)
        if missing:
            raise PhaseError(f"{missing}: missing")

    async def _make_folders(self) -> None:
        await asyncio.to_thread(make_folders, self._home)

    async def _configure(self) -> None:
        """Read the settings, make all parts, and serve all routes."""
        try:
            controller = await self._reporter()
            settings.read_proxying(self._environ)  # raises what the reporter tolerated
            running = settings.read_running(self._environ)
            if not controller.credentials.current().complete:
                raise PhaseError("HOLDFAST_CREDENTIALS_FILE: does not hold both credentials")
            assert self._socket is not None, "it listens"
            if self._agent is None:
                self._agent = await controller.open_context(running, self._socket, self._bootstrap)
        except (SettingError, ConfineError, KeyError) as error:
            raise PhaseError(str(error)) from error
        agent = self._agent
        self._first.close()
        self._shutdown.grace_s = (running.stop_grace_ms or agent.profile.stop_grace_ms) / 1_000
        await asyncio.to_thread(
            write_state, self._home / "run" / STATE_FILE, self._socket, agent.place.port
        )
        controller.report()
        controller.start_observer()

    async def _upgrade(self) -> None:
        assert self._controller is not None, "it was made in the phase before"
        await self._controller.upgrade()

    async def _onboard(self) -> None:
        """Make the agent's folders and first files."""
        assert self._agent is not None, "it was made in a phase before"
        await asyncio.to_thread(self._agent.prepare)

    async def _repair_devices(self) -> None:
        assert self._controller is not None, "it was made in a phase before"
        await self._controller.repair_devices()

    async def _call_doctor(self) -> None:
        assert self._controller is not None, "it was made in the phase before"
        await self._controller.call_doctor()

    async def _start_agent(self) -> None:
        assert self._controller is not None, "it was made in a phase before"
        self._lifecycle.advance("starting")
        await self._controller.start_agent()
        assert self._socket is not None, "it listens"
        self._log.emit("controller.ready", port=self._socket.getsockname()[1])

    # -- what they share

    @property
    def _home(self) -> Path:
        assert self._listening is not None, "read before the first phase"
        return self._listening.home

    async def _reporter(self) -> Controller:
        """Return the reporting part, which later runs all the rest; raise SettingError."""
        if self._controller is None:
            reporting = settings.read_reporting(self._environ)
            await _import_heavy()
            from holdfast.machine.controller.wiring import Controller  # noqa: PLC0415  heavy

            self._controller = Controller(
                reporting,
                self._home,
                self._lifecycle,
                draw=self._draw,
                clock=self._clock,
                log=self._log,
                proxying=self._read_proxying(),
                observing=settings.read_observing(self._environ),
            )
            self._shutdown.before_last_resort(self._controller.abandon)
        return self._controller

    def _read_proxying(self) -> Proxying:
        """Return how to proxy; an invalid setting must not prevent reporting it."""
        try:
            return settings.read_proxying(self._environ)
        except SettingError:
            return Proxying()

    async def _stop(self, number: int) -> int:
        self._log.emit("controller.stopping", signal=number)
        self._first.close()
        try:
            async with asyncio.timeout(self._shutdown.limit_s):
                await self._bootstrap.close()
                if self._controller is not None:
                    await self._controller.stop(number)
        except Exception as error:  # noqa: BLE001  logged; the exit code reports it
            self._log.emit("controller.stop_failed", error=brief(error))
            return 1
        self._log.emit("controller.stopped")
        return 0


async def _import_heavy() -> None:
    """Import in a thread that then ends, so that health is answered meanwhile."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, import_heavy)


def import_heavy() -> None:
    """Import without what a start does not need: certificates, and a search for garbage."""
    gc.disable()  # an import makes thousands of objects that stay: a tenth of its time
    try:
        with certificates.unread():
            importlib.import_module(_HEAVY)
    finally:
        gc.enable()


def make_folders(home: Path) -> None:
    """Make the machine's own folders, and remove the state of an earlier start; raise OSError."""
    for folder in (home, home / "run"):
        atomic_file.make_folder(folder)
    (home / "run" / STATE_FILE).unlink(missing_ok=True)


def write_state(path: Path, sock: socket.socket, agent_port: int) -> None:
    """Write where the controller and the agent listen; raise OSError."""
    state = {"pid": os.getpid(), "port": sock.getsockname()[1], "agentPort": agent_port}
    atomic_file.write(path, json.dumps(state) + "\n")


async def start(environ: MutableMapping[str, str], draw: Callable[[int], str]) -> int:
    """Run the controller until a signal; return the exit code.

    `draw` returns that many random bytes as hexadecimal digits.
    """
    return await Boot(environ, draw).run()
