"""Runs a plane in this process until a signal stops it: lock, log, sockets, signals.

The first SIGTERM or SIGINT begins an orderly stop: no new calls, streams ended, pending writes
finished. Machines go on running. The lock on the data folder is taken before anything is opened, so
a second plane fails with the first one's name.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, cast

import uvicorn

from holdfast import __version__
from holdfast.actors.tasks import why_ended
from holdfast.kernel.clock import SystemClock
from holdfast.kernel.failure import install
from holdfast.kernel.log import Log, TotalLog
from holdfast.monitoring.logs import set_up
from holdfast.plane.edge.connection import BoundedConnection
from holdfast.plane.edge.limits import BACKLOG
from holdfast.plane.key_folder import KeysError
from holdfast.plane.settings import SettingError, Settings, url_of
from holdfast.plane.wiring.files import StoreError
from holdfast.plane.wiring.holder import lock_holder, prepare_home
from holdfast.plane.wiring.local_admin import hold_folder
from holdfast.plane.wiring.plane import Plane, make_plane

STOP_S: Final = 10
STOP_FAILED_S: Final = 30.0
"""How long a plane of which a part has ended may take to stop, in seconds."""
EXIT_FAULT: Final = 70
"""The exit code then: an internal fault, as `sysexits.h` has it. Start it again."""
_FIX: Final = "start it again; what was accepted is in the journal, and machines run on"
GC_THRESHOLD: Final = 50_000
"""Allocations before a garbage collection: states are made of values without cycles."""
SWITCH_S: Final = 0.000_5
"""Switch interval of threads, in seconds, which delays the event loop; Python's own is 5 ms.

Measured with check-ins at 2,000/s beside the writers' threads: p99 24 ms became 6 ms.
"""
DESCRIPTORS_WANTED: Final = 65_536
"""Descriptors of the process: four times what its limits add up to."""
ARENAS_MAX: Final = 2
"""Heaps of the C library; memory freed in one is not available to the others."""
_M_ARENA_MAX: Final = -8
KEEP_ALIVE_S: Final = 75
"""Keep-alive timeout in seconds: longer than a machine's interval in the demo set-up."""


OWNER_ONLY: Final = 0o077
"""The umask of the plane and of machines: the folder holds keys and transcripts."""


class CannotServeError(Exception):
    """A plane cannot start; `fix` is what to do."""

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(message)
        self.fix = fix


class PlaneRunsError(CannotServeError):
    """Another plane has the data folder."""

    def __init__(self, message: str) -> None:
        super().__init__(message, fix="holdfast down stops a plane of this data folder")


def run(settings: Settings) -> int:
    """Serve until a signal; return the exit code.

    Raise CannotServeError when folder, keys or port cannot be used, and PlaneRunsError when
    another plane is the reason.
    """
    os.umask(OWNER_ONLY)
    log = TotalLog(set_up(level=settings.log_level))
    install(sys.stderr.write, threading)
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    sys.setswitchinterval(SWITCH_S)
    _bound_arenas()
    _raise_descriptors()
    _prepare_home(settings)
    with _listen(settings) as listener:
        url = settings.public_url.rstrip("/") or _url(settings, listener)
        now_ms = SystemClock().now_ms()
        with (
            hold_folder(settings, url=url, now_ms=now_ms, refuse=PlaneRunsError),
            asyncio.Runner(loop_factory=_loop_factory()) as runner,
        ):
            try:
                return runner.run(_serve(settings, listener, url, log))
            except StoreError as error:
                raise CannotServeError(str(error), fix=error.fix) from error
            except (KeysError, SettingError) as error:
                raise CannotServeError(str(error), fix="docs/guide/operating.md") from error


def _bound_arenas() -> None:
    """Limit the C library's heaps: by default each thread may get one of its own."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS_MAX)


def _raise_descriptors() -> None:
    """Take as many descriptors as the system lets us have; 1,024 is a usual figure without this."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, DESCRIPTORS_WANTED), most))


async def _serve(settings: Settings, listener: socket.socket, url: str, log: Any) -> int:
    """Make the plane, serve it, and stop it."""
    asyncio.get_running_loop().set_exception_handler(partial(_log_fault, log))
    plane = await make_plane(settings, clock=SystemClock(), log=log, url=url)
    fault: str | None = None
    try:
        await plane.start()
        gc.freeze()
        log.info("plane.serving", url=url, home=settings.home, version=__version__, pid=os.getpid())
        fault = await _serve_until_it_ends(plane, listener)
    finally:
        gc.unfreeze()  # what is frozen is never collected, and stores complain of it at the end
        if fault is None:
            await plane.stop()
            log.info("plane.stopped", url=url)
        else:
            await _stop_what_failed(plane, fault, log)
    return 0 if fault is None else EXIT_FAULT


async def _serve_until_it_ends(plane: Plane, listener: socket.socket) -> str | None:
    """Serve until a stop is requested, or a vital part ends: then return which and why."""
    server = _Server(_config(plane), plane)
    watching = asyncio.create_task(plane.supervisor.wait(), name="holdfast-supervisor")
    serving = asyncio.create_task(server.serve(sockets=[listener]), name="holdfast-serving")
    await asyncio.wait((watching, serving), return_when=asyncio.FIRST_COMPLETED)
    fault = plane.supervisor.fault()
    if not serving.done():
        fault = fault or f"supervisor: {why_ended(watching)}"
        plane.core.log.critical("plane.failing", reason=fault)
        server.begin_to_stop()
    watching.cancel()
    await serving
    return fault


async def _stop_what_failed(plane: Plane, fault: str, log: Log) -> None:
    """Stop within a time limit; the process ends even if something hangs."""
    try:
        async with asyncio.timeout(STOP_FAILED_S):
            await plane.stop()
    except Exception as error:
        log.error("plane.stop_failed", exc_info=error)  # noqa: TRY400  the port
        _say_last(fault, log)
        os._exit(EXIT_FAULT)
    _say_last(fault, log)


def _say_last(fault: str, log: Log) -> None:
    """Say why the process ends, where nothing comes after it; the log may be what is broken."""
    with suppress(Exception):
        log.critical("plane.failed", reason=fault, fix=_FIX)
        sys.stderr.flush()


def _log_fault(log: Log, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what no task handled: asyncio's own line has the text of the exception in it."""
    log.error("loop.failed", what=context.get("message"), exc_info=context.get("exception"))


class _Server(uvicorn.Server):
    """Uvicorn's server, which ends the edge's streams at the first signal: they would delay it."""

    def __init__(self, config: uvicorn.Config, plane: Plane) -> None:
        super().__init__(config)
        self._plane = plane

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals; uvicorn's own handler would raise them again before we have stopped."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.begin_to_stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def begin_to_stop(self) -> None:
        """Take no new calls and end open streams; a second signal forces the exit."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._plane.begin_to_stop()


def _config(plane: Plane) -> uvicorn.Config:
    """Return uvicorn's configuration; forwarded headers are evaluated by the edge, not here."""
    return uvicorn.Config(
        plane.subjects.agents.before(plane.app),
        http=cast("Any", BoundedConnection.before(plane.subjects.agents.proxy)),
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        backlog=BACKLOG,
        timeout_graceful_shutdown=STOP_S,
        timeout_keep_alive=KEEP_ALIVE_S,
    )


def _prepare_home(settings: Settings) -> None:
    """Create the data folder; raise CannotServeError when it is not writable."""
    try:
        home = prepare_home(settings)
        probe = home / f".write-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise CannotServeError(
            f"the data folder {settings.home} cannot be written: {error.strerror}",
            fix="set HOLDFAST_HOME to a folder that you own, on a disk with room",
        ) from error


def _listen(settings: Settings) -> socket.socket:
    """Return a bound socket; raise CannotServeError when the port is not available."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        holder = lock_holder(settings)
        if holder is not None:
            raise PlaneRunsError(
                f"a plane with this data folder runs already: process {holder.pid}, {holder.url}"
            ) from error
        raise CannotServeError(
            f"HOLDFAST_HOST, port {settings.port}: {error.strerror or type(error).__name__}",
            fix="set HOLDFAST_PORT to another port (0 takes a free one), or HOLDFAST_HOST",
        ) from error
    return listener


def _url(settings: Settings, listener: socket.socket) -> str:
    """Return the URL of the socket from this machine; "every address" becomes loopback."""
    return url_of(settings.host, listener.getsockname()[1])


def _loop_factory() -> Any:
    """Return uvloop's loop if it is installed, else asyncio's own."""
    with suppress(ImportError):
        import uvloop  # noqa: PLC0415  absent on platforms that it does not support

        return uvloop.new_event_loop
    return None
