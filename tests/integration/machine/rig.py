"""A real controller process, and a plane that records what it receives."""

from __future__ import annotations

import asyncio
import io
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
import msgspec
from aiohttp import web

from holdfast.machine.controller.__main__ import main as controller
from holdfast.wire.controller.checkin import CheckIn
from holdfast.wire.controller.directive import Directive
from tests.support.forks import Fork
from tests.support.patience import patience

ROOT = Path(__file__).resolve().parents[3]
TOKEN = "token-of-the-machine"
API_KEY = "hfm_key-of-the-owner"
DEADLINE_S = 15.0
STEP_MAX_S = 0.05
"""Between two looks, in seconds: a look is often a request, whose cost is the waited-for work's."""


async def until(check: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Return the first true answer of `check`, plain or awaited; fail after the deadline."""
    waits_s, step_s = patience(deadline_s), 0.01
    try:
        async with asyncio.timeout(waits_s):
            while True:
                found = check()
                if isinstance(found, Awaitable):
                    found = await found
                if found:
                    return found
                await asyncio.sleep(step_s := min(STEP_MAX_S, step_s * 1.1))
    except TimeoutError:
        raise AssertionError(f"not within {waits_s:.0f} s: {what}") from None


@dataclass
class Plane:
    """Answers check-ins and long polls as configured, and keeps what it received."""

    url: str = ""
    heard: list[CheckIn] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    wakes: list[Mapping[str, str]] = field(default_factory=list)
    refuse: int = 0
    answer: Callable[[CheckIn], Directive | None] = lambda _: None
    accepts: Callable[[Mapping[str, str]], bool] = lambda _: True
    directive: Directive | None = None
    news: asyncio.Event = field(default_factory=asyncio.Event)
    hold: asyncio.Event | None = None

    @property
    def last(self) -> CheckIn:
        return self.heard[-1]

    def wake(self, directive: Directive) -> None:
        self.directive = directive
        self.news.set()

    async def checkin(self, request: web.Request) -> web.Response:
        report = msgspec.json.decode(await request.read(), type=CheckIn)
        self.headers.append(request.headers)
        if self.hold is not None:
            await self.hold.wait()
        if not self.accepts(request.headers):
            return web.Response(status=403)
        if self.refuse:
            return web.Response(status=self.refuse)
        self.heard.append(report)
        directive = self.answer(report)
        if directive is None:
            return web.Response(status=204)
        return web.Response(body=msgspec.json.encode(directive), content_type="application/json")

    async def long_poll(self, request: web.Request) -> web.Response:
        self.wakes.append({**request.headers, "revision": request.query["revision"]})
        while self.directive is None or self.directive.revision <= int(request.query["revision"]):
            self.news.clear()
            await self.news.wait()
        body = msgspec.json.encode(self.directive)
        return web.Response(body=body, content_type="application/json")


@asynccontextmanager
async def run_plane(plane: Plane | None = None) -> AsyncIterator[Plane]:
    plane = plane or Plane()
    app = web.Application()
    app.router.add_post("/api/controller/checkin", plane.checkin)
    app.router.add_get("/api/controller/wake", plane.long_poll)
    runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    plane.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield plane
    finally:
        await runner.cleanup()


def open_log(home: Path) -> BinaryIO:
    home.mkdir(parents=True, exist_ok=True)
    return (home / "machine.log").open("ab")


class Forked:
    """A controller that is a fork, with what asyncio has for its process."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._fork = Fork(controller, environment=environment, files=(Path(os.devnull), log, log))
        self.pid = self._fork.pid
        self.kill = self._fork.kill
        self.send_signal = self._fork.send_signal

    @property
    def returncode(self) -> int | None:
        return self._fork.returncode

    async def wait(self) -> int:
        while (code := self.returncode) is None:  # noqa: ASYNC110  no event tells of it
            await asyncio.sleep(0.01)
        return code


class Machine:
    """A started controller, and its output."""

    def __init__(
        self, process: asyncio.subprocess.Process | Forked, home: Path,
        session: aiohttp.ClientSession,
    ) -> None:  # fmt: skip
        self.process = process
        self.home = home
        self.session = session
        self.port = 0

    @property
    def log(self) -> list[dict[str, Any]]:
        lines = (self.home / "machine.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [row for row in self.log if row["event"] == name]

    async def opened(self) -> Machine:
        """Wait until every route is served."""
        await until(lambda: self.own_state_file() or self.gone(), "controller.json")
        self.port = self.state_file()["port"]
        return self

    def gone(self) -> bool:
        assert self.process.returncode is None, (self.home / "machine.log").read_text()
        return False

    def own_state_file(self) -> bool:
        """Return whether the file is this controller's, not an earlier one's."""
        return bool(self.state_file().get("pid") == self.process.pid)

    def state_file(self) -> dict[str, Any]:
        path = self.home / "run" / "controller.json"
        try:  # a starting controller removes an earlier one's
            found: dict[str, Any] = json.loads(path.read_text())
        except FileNotFoundError:
            return {}
        return found

    async def ask(
        self, method: str, path: str, token: str | None = TOKEN, body: Any = None, **extra: str
    ) -> tuple[int, dict[str, Any]]:
        """Call the controller; `body` is sent as JSON, bytes as they are, `extra` as headers."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        headers.update({name.replace("_", "-"): value for name, value in extra.items()})
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        data = None if body is None else io.BytesIO(raw)
        url = f"http://127.0.0.1:{self.port}{path}"
        async with self.session.request(method, url, headers=headers, data=data) as answer:
            return answer.status, json.loads(await answer.read())

    async def status(self) -> dict[str, Any]:
        return (await self.ask("GET", "/_kilo/gateway/status"))[1]

    async def ready(self) -> dict[str, Any]:
        """Wait until the agent is ready; return its status."""
        return await self.reached(lambda status: status["ready"])

    async def reached(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            status = await self.status()
            return status if wanted(status) else None

        found: dict[str, Any] = await until(look, "the agent's status")
        return found

    async def fault(self, name: str) -> None:
        """Trigger a fault of the demo agent."""
        token = (self.home / "run" / "agent.token").read_text()
        url = f"http://127.0.0.1:{self.state_file()['agentPort']}/_demo/{name}"
        try:
            headers = {"Authorization": f"Bearer {token}"}
            async with self.session.post(url, headers=headers) as answer:
                assert answer.status == 200
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            pass  # the fault came before the answer, as intended

    async def end(self, number: int = signal.SIGTERM) -> int:
        if self.process.returncode is None:
            self.process.send_signal(number)
        async with asyncio.timeout(patience(DEADLINE_S)):
            return await self.process.wait()


_CERTIFICATES = "NODE_EXTRA_CA_CERTS"


def confine_order(
    home: Path,
    kind: str = "auto",
    *,
    certificates: str = "",
    read: Sequence[Path] = (),
    write: Sequence[Path] = (),
) -> str:
    """Return a cloud's confinement order: the controller's own files are hidden from the agent."""
    order = {
        "kind": kind,
        "hidden": [str(home / "run")],
        "path": os.environ["PATH"],
        "files": [certificates] if certificates else [],
        "asked_read": [str(path) for path in read],
        "asked_write": [str(path) for path in write],
    }
    return json.dumps(order)


def run_machine(home: Path, **extra: str) -> AbstractAsyncContextManager[Machine]:
    """Start a controller with the demo agent in `home`; nothing of it is left afterwards.

    It is a fork of a process that has its imports.
    """
    return _run(home, _fork, extra)


def run_program(home: Path, **extra: str) -> AbstractAsyncContextManager[Machine]:
    """Do the same with a controller that imports itself what it needs, in the order of its boot."""
    return _run(home, _start, extra)


async def _fork(environ: Mapping[str, str], home: Path) -> Forked:
    return Forked(environ, Path(home / "machine.log"))


async def _start(environ: Mapping[str, str], home: Path) -> asyncio.subprocess.Process:
    command = (sys.executable, "-m", "holdfast.machine.controller")
    with open_log(home) as log:
        return await asyncio.create_subprocess_exec(*command, env=environ, stdout=log, stderr=log)


@asynccontextmanager
async def _run(
    home: Path,
    start: Callable[[Mapping[str, str], Path], Awaitable[asyncio.subprocess.Process | Forked]],
    extra: Mapping[str, str],
) -> AsyncIterator[Machine]:
    environ = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT / "src"),
        "HOLDFAST_MACHINE_HOME": str(home),
        "HOLDFAST_CONTROLLER_PORT": "0",
        "HOLDFAST_AGENT_PORT": "0",
        "HOLDFAST_AGENT": "demo",
        "HOLDFAST_SANDBOX_ID": "sandbox-1",
        "HOLDFAST_API_KEY": API_KEY,
        "HOLDFAST_GATEWAY_TOKEN": TOKEN,
        "HOLDFAST_CONFINE_ORDER": confine_order(home, certificates=extra.get(_CERTIFICATES, "")),
        **extra,
    }
    open_log(home).close()
    process = await start({name: value for name, value in environ.items() if value}, home)
    async with aiohttp.ClientSession() as session:
        machine = Machine(process, home, session)
        try:
            yield machine
        finally:
            if process.returncode is None:
                await machine.end()


def alive(pid: int) -> bool:
    """Return whether a process runs; a zombie does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def seen_from_here(pid: int, beside: int) -> int:
    """Return our number of a process that has this one in the PID namespace of another."""
    namespace = Path(f"/proc/{beside}/ns/pid").readlink()
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with suppress(OSError):
            numbers = re.search(r"^NSpid:(.*)$", (folder / "status").read_text(), re.MULTILINE)
            same = (folder / "ns" / "pid").readlink() == namespace
            if same and numbers is not None and int(numbers[1].split()[-1]) == pid:
                return int(folder.name)
    raise AssertionError(f"no process {pid} beside {beside}")
