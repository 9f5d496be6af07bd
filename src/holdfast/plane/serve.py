"""Runs a plane in this process until it is told to stop: lock, log, sockets, signals.

The first SIGTERM or SIGINT begins an orderly stop: no new calls, streams ended, what is pending
written. Machines go on running. The lock on the data folder is taken before anything is opened,
so a second plane refuses and names the first.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
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
from holdfast.kernel.clock import SystemClock
from holdfast.kernel.failure import install
from holdfast.metrics.logs import set_up
from holdfast.plane.edge.connection import BoundedConnection
from holdfast.plane.key_folder import KeysError
from holdfast.plane.settings import SettingError, Settings, url_of
from holdfast.plane.wiring.holder import lock_holder, prepare_home
from holdfast.plane.wiring.local_admin import hold_folder
from holdfast.plane.wiring.plane import Plane, make_plane

BACKLOG: Final = 2_048
STOP_S: Final = 10
GC_THRESHOLD: Final = 50_000
"""Objects made before the collector looks: states are made of values that hold no cycles."""
SWITCH_S: Final = 0.000_5
"""How long another thread may keep the interpreter from the serving loop; 5 ms is Python's own.

Measured with check-ins at 2,000/s beside the writers' threads: p99 24 ms became 6 ms.
"""
ARENAS_MAX: Final = 2
"""Heaps of the C library; memory given back to one is of no use to the others."""
_M_ARENA_MAX: Final = -8
KEEP_ALIVE_S: Final = 75
"""How long an idle connection stays open: longer than a machine's interval in the demo set-up."""


OWNER_ONLY: Final = 0o077
"""The mask for every file made here and by machines: the folder holds keys and transcripts."""


class CannotServeError(Exception):
    """A plane cannot begin to serve; `fix` says what to do."""

    def __init__(self, message: str, *, fix: str) -> None:
        """Keep both sentences."""
        super().__init__(message)
        self.fix = fix


class PlaneRunsError(CannotServeError):
    """Another plane has the data folder."""

    def __init__(self, message: str) -> None:
        """Say what ends the other."""
        super().__init__(message, fix="holdfast down stops a plane of this data folder")


def run(settings: Settings) -> int:
    """Serve until told to stop; return the exit code.

    Raise CannotServeError when folder, keys or port cannot be had, and PlaneRunsError when that
    is because a plane runs.
    """
    os.umask(OWNER_ONLY)
    log = set_up(level=settings.log_level)
    install(sys.stderr.write, threading)
    gc.set_threshold(GC_THRESHOLD, 20, 50)
    sys.setswitchinterval(SWITCH_S)
    _bound_arenas()
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
            except (KeysError, SettingError) as error:
                raise CannotServeError(str(error), fix="docs/guide/operating.md") from error


def _bound_arenas() -> None:
    """Have the C library keep few heaps: by default each of our threads may grow one of its own."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS_MAX)


async def _serve(settings: Settings, listener: socket.socket, url: str, log: Any) -> int:
    """Make the plane, serve it, and stop it."""
    asyncio.get_running_loop().set_exception_handler(partial(_tell, log))
    plane = await make_plane(settings, clock=SystemClock(), log=log, url=url)
    try:
        await plane.start()
        gc.freeze()
        log.info("plane.serving", url=url, home=settings.home, version=__version__, pid=os.getpid())
        await _Server(_config(plane), plane).serve(sockets=[listener])
    finally:
        gc.unfreeze()  # what is frozen is never collected, and stores complain of it at the end
        await plane.stop()
        log.info("plane.stopped", url=url)
    return 0


def _tell(log: Any, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what no task handled: asyncio's own line has the text of the exception in it."""
    log.error("loop.failed", what=context.get("message"), exc_info=context.get("exception"))


class _Server(uvicorn.Server):
    """Uvicorn's server, which tells the edge at once that it stops: streams would hold it up."""

    def __init__(self, config: uvicorn.Config, plane: Plane) -> None:
        super().__init__(config)
        self._plane = plane

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Listen for signals; uvicorn's own way would raise them again before we have stopped."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.begin_to_stop)
        try:
            yield
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(number)

    def begin_to_stop(self) -> None:
        """Take no new calls and end what is held open; a second signal does not wait."""
        self.force_exit = self.should_exit
        self.should_exit = True
        self._plane.begin_to_stop()


def _config(plane: Plane) -> uvicorn.Config:
    """Return how uvicorn serves us: proxies are believed or not by the edge, not here."""
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
    """Have a data folder that can be written; raise CannotServeError when it cannot."""
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
    """Return a bound socket; raise CannotServeError when it cannot be had."""
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
    """Return how this machine reaches the socket; every address is reached by loopback."""
    return url_of(settings.host, listener.getsockname()[1])


def _loop_factory() -> Any:
    """Return uvloop's loop where it can be had, else asyncio's own."""
    with suppress(ImportError):
        import uvloop  # noqa: PLC0415  absent on platforms that it does not support

        return uvloop.new_event_loop
    return None
