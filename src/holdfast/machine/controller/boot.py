"""The order of the start: listen, then everything else, each phase told on health.

Whatever is needed before the listener is light; the libraries that cost time and memory are
imported afterwards, beside the loop. A phase that fails leaves the
process up, degraded and reporting, because a machine that needs repair must not be killed for it.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import socket
from collections.abc import Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final

from holdfast.kernel.clock import SystemClock
from holdfast.machine.controller import environment, limits, unseal
from holdfast.machine.controller.environment import Listening, Reporting, SettingError
from holdfast.machine.controller.lifecycle import Lifecycle
from holdfast.machine.controller.listener import FirstListener, open_socket
from holdfast.machine.controller.log import Log

if TYPE_CHECKING:
    from holdfast.machine.controller.assembly import Controller

_HEAVY: Final = "holdfast.machine.controller.assembly"
"""What brings in the libraries that cost time; imported after the first listener is up."""

STATE_FILE: Final = "controller.json"
"""Says where the controller and its agent listen, below the machine's `run`, while it serves."""


class Boot:
    """One run of the controller."""

    def __init__(self, environ: MutableMapping[str, str], draw: Callable[[int], str]) -> None:
        """Prepare to start with these variables; sealed ones are opened into them."""
        self._draw = draw
        self._environ = environ
        self._clock = SystemClock()
        self._log = Log(self._clock)
        self._lifecycle = Lifecycle()
        self._told: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._controller: Controller | None = None
        self._first = FirstListener(self._lifecycle.health, lambda: self._lifecycle.stage)
        self._grace_s = 0.0

    async def run(self) -> int:
        """Run until a signal; return the exit code."""
        try:
            listening = environment.read_listening(self._environ)
            sock = open_socket(listening.host, listening.port)
        except (SettingError, OSError) as error:
            self._log.emit("controller.cannot_listen", error=str(error))
            return 1
        self._first.serve(sock)
        self._take_signals()
        try:
            await self._start(listening, sock)
        except Exception as error:  # noqa: BLE001  outside the phases: end, and say why
            self._log.emit("controller.failed", error=repr(error))
            await self._stop(int(signal.SIGTERM))
            return 1
        return await self._stop(await self._told)

    def _take_signals(self) -> None:
        def told(number: int) -> None:
            if not self._told.done():
                self._told.set_result(number)

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, told, int(number))

    async def _start(self, listening: Listening, sock: socket.socket) -> None:
        """Go through the phases; each failure of one degrades, and what still works goes on."""
        sound = self._open_environment(listening.home)
        reporting = self._read_reporting()
        await _import_heavy()
        if reporting is None:
            return
        from holdfast.machine.controller.assembly import Controller  # noqa: PLC0415  heavy

        self._controller = Controller(
            reporting,
            listening.home,
            self._lifecycle,
            draw=self._draw,
            clock=self._clock,
            log=self._log,
        )
        if sound and self._controller.credentials.current().gateway_token:
            await self._run_agent(self._controller, listening, sock)
        elif sound:
            self._degrade("bootstrap", "HOLDFAST_GATEWAY_TOKEN: missing")
        self._controller.report()

    def _open_environment(self, home: Path) -> bool:
        self._lifecycle.enter("decrypting")
        try:
            opened = unseal.unseal(self._environ)
        except unseal.SealError as error:
            self._degrade("bootstrap", str(error))
            return False
        finally:
            for name in [name for name in self._environ if unseal.is_sealing(name)]:
                del self._environ[name]
        self._environ.update(opened)
        self._lifecycle.enter("directories")
        try:
            for folder in (home, home / "run"):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            (home / "run" / STATE_FILE).unlink(missing_ok=True)
        except OSError as error:
            self._degrade("bootstrap", str(error))
            return False
        return True

    def _read_reporting(self) -> Reporting | None:
        try:
            return environment.read_reporting(self._environ)
        except SettingError as error:
            self._degrade("runtime-config", str(error))
            return None

    async def _run_agent(
        self, controller: Controller, listening: Listening, sock: socket.socket
    ) -> None:
        try:
            running = environment.read_running(self._environ)
            agent = await controller.open_desk(running, sock)
        except (SettingError, KeyError, OSError) as error:
            self._degrade("runtime-config", str(error))
            return
        self._first.close()
        self._grace_s = (running.stop_grace_ms or agent.profile.stop_grace_ms) / 1_000
        write_state(listening.home / "run" / STATE_FILE, sock, agent.place.port)
        self._lifecycle.advance("starting")
        try:
            controller.start_agent(agent)
        except OSError as error:
            self._degrade("gateway-start", str(error))
            return
        self._lifecycle.advance("ready")
        self._log.emit("controller.ready", port=sock.getsockname()[1])

    def _degrade(self, phase: str, reason: str) -> None:
        self._lifecycle.degrade(phase)
        self._log.emit("controller.degraded", phase=phase, reason=reason)

    async def _stop(self, number: int) -> int:
        self._log.emit("controller.stopping", signal=number)
        self._first.close()
        try:
            if self._controller is not None:
                async with asyncio.timeout(self._grace_s + limits.SHUTDOWN_SLACK_S):
                    await self._controller.stop(number)
        except Exception as error:  # noqa: BLE001  told, and the exit code says the rest
            self._log.emit("controller.stop_failed", error=repr(error))
            return 1
        self._log.emit("controller.stopped")
        return 0


async def _import_heavy() -> None:
    """Import in a thread that then ends, so that health is answered in the meantime."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        await asyncio.get_running_loop().run_in_executor(pool, importlib.import_module, _HEAVY)


def write_state(path: Path, sock: socket.socket, agent_port: int) -> None:
    """Write down where the controller and the agent are to be found; raise OSError."""
    state = {"pid": os.getpid(), "port": sock.getsockname()[1], "agentPort": agent_port}
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(state) + "\n")
    fresh.replace(path)


async def start(environ: MutableMapping[str, str], draw: Callable[[int], str]) -> int:
    """Run the controller until it is told to end; return the exit code.

    `draw` returns that many unguessable bytes as hexadecimal digits.
    """
    return await Boot(environ, draw).run()
