"""A real plane in a process of its own, with a home of its own, and nothing left behind.

Tests and benches start one with `PlaneProcess`, call its API, and may kill it. `close` destroys its
instances, ends it, and returns the processes that were left.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psutil

from holdfast.cli.client import ApiError, Client
from holdfast.cli.main import main
from holdfast.disk.process_environ import read_environ
from holdfast.wire.api.brains import CorrectionView
from holdfast.wire.api.instances import InstanceDestroy, InstanceView
from holdfast.wire.api.operations import Pending
from tests.support.command_line import run_command
from tests.support.forks import Fork, forks_of
from tests.support.patience import patience
from tests.support.ports import free_port, port_first

DEADLINE_S = 15.0
STEP_S = 0.05
STEP_MAX_S = 0.25
STEP_SHARE = 0.05
"""Between two looks, in seconds and as a share of what was waited already, whichever is more.

A look is a request or reads all of /proc, and its cost is the waited-for work's too.
"""
NEVER_READY_MS = 3_600_000
QUICK = {
    "HOLDFAST_CHECKIN_FIRST_S": "0.2",
    "HOLDFAST_CHECKIN_INTERVAL_S": "60",
    "HOLDFAST_CHECKIN_MIN_S": "0",
    "HOLDFAST_STOP_GRACE_S": "2",
    "HOLDFAST_TELEMETRY_BUFFER_S": "0.1",
    "HOLDFAST_OBSERVERS": "false",
}
"""Short cadences, for short waits, and no observers: a process of 33 MiB more for each machine."""

SERVE = (sys.executable, "-m", "holdfast.cli.main", "serve")
"""A plane that imports all it needs itself."""


def until(what: str, condition: Callable[[], Any], *, seconds: float = DEADLINE_S) -> Any:
    """Return the first true value of a condition; fail, naming it, when there is none in time."""
    began = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        waited = time.monotonic() - began
        assert waited < patience(seconds), f"not within {waited:.0f} s: {what}"
        time.sleep(min(STEP_MAX_S, max(STEP_S, waited * STEP_SHARE)))


def taken(client: Client, endpoint: str, *, body: Any, **given: Any) -> Any:
    """Return the answer of an order once it is taken: a busy plane says 202 before."""
    key = uuid.uuid4().hex

    def ask() -> Any:
        answer = client.call(endpoint, body=body, idempotency_key=key, **given)
        return None if isinstance(answer, Pending) else answer

    return until(f"{endpoint} is taken", ask)


def replace_text(path: Path, text: str) -> None:
    """Give a file another text at once: who reads it meanwhile finds one of the two, whole."""
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text)
    draft.replace(path)


class PlaneProcess:
    """One plane: its home, its address, its process."""

    forked = False
    """Whether a plane is a fork of a process that has imported all it needs, unless it is told how
    to start: so in the suite (tests/conftest.py). Of a bench's, memory and starts are measured."""

    def __init__(
        self, home: Path, serve: tuple[str, ...] | None = None, /, **settings: str
    ) -> None:
        """Start nothing yet; `settings` are environment variables, `serve` a program to start."""
        self.home = home
        self.serve = serve or (None if self.forked else SERVE)
        self.port = free_port()
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("HOLDFAST_")},
            **QUICK,
            "HOLDFAST_PORT_FIRST": str(port_first()),
            "HOLDFAST_MACHINES_MAX": "50",
            "HOLDFAST_ACCEPT_UNCONFINED": "true",  # a suite runs on any host
            **settings,
            "HOLDFAST_HOME": str(home),
            "HOLDFAST_PORT": str(self.port),
            "COLUMNS": "100",
        }
        self.process: subprocess.Popen[bytes] | Fork | None = None
        self._token = ""

    # -- its life

    def start(self, *, wait: bool = True) -> PlaneProcess:
        """Start the process, and wait until it serves."""
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.home / "plane.log"
        with path.open("ab") as log:
            if self.serve is None:
                files = (Path(os.devnull), path, path)
                serve = partial(main, ("serve",))
                self.process = Fork(serve, environment=self.environment, files=files)
            else:
                self.process = subprocess.Popen(
                    self.serve,
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        if wait:
            self.wait()
        return self

    def wait(self, seconds: float = DEADLINE_S) -> None:
        """Wait until it serves."""
        until(f"the plane serves; its log:\n{self.log()[-2000:]}", self.is_serving, seconds=seconds)

    def is_serving(self) -> bool:
        """Return whether it answers; fail when its process ended."""
        if self.process is not None and self.process.poll() is not None:
            message = f"the plane ended with {self.process.returncode}:\n{self.log()[-4000:]}"
            raise AssertionError(message)
        try:
            with Client(self.url, timeout_s=patience(5)) as client:
                return bool(client.call("plane.health").status == "ok")
        except ApiError:
            return False

    def kill(self) -> None:
        """Kill it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self, seconds: float = DEADLINE_S) -> int:
        """Stop it by a signal; return its exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(patience(seconds))

    def close(self) -> list[str]:
        """Destroy what it runs and end it; return the processes that had to be killed."""
        pid = self.holder_pid()
        if pid is not None:
            with contextlib.suppress(ApiError, AssertionError):
                self.destroy_all()
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(patience(DEADLINE_S) if pid is not None else 0.1)
        with contextlib.suppress(AssertionError):
            until("the plane's processes ended", lambda: not processes_of(self.home), seconds=5)
        left = processes_of(self.home)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if self.process is not None:
            self.process.wait(patience(DEADLINE_S))
        return [describe(process) for process in left]

    def destroy_all(self) -> None:
        """Destroy every instance, and wait until no machine is left.

        An instance may take two minutes more: until a listing must show what was asked for.
        """
        with self.client() as client:
            for item in client.call("instance.list", query={"limit": "500"}).items:
                body = InstanceDestroy(confirm=item.name)
                client.call("instance.destroy", path={"id": item.id}, body=body)
            until(
                "every machine is gone",
                lambda: (
                    not any(item.machine_id for item in client.call("instance.list").items)
                    and not self.controllers()
                ),
                seconds=30,
            )

    # -- speaking to it

    @property
    def keys(self) -> Path:
        """Return where its keys are."""
        return self.home.with_name(f"{self.home.name}.keys")

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}"

    def token(self) -> str:
        """Return an operator's token: the one that the command line keeps."""
        if not self._token:
            self.cli("instance", "list", "--json")
            self._token = (self.keys / "cli.token").read_text().strip()
        return self._token

    def client(self, token: str | None = None) -> Client:
        """Return a connection as an operator, or with another token."""
        return Client(self.url, self.token() if token is None else token)

    def cli(
        self, *words: str, given: str = "", code: int | None = 0, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the command line; its exit code must be `code` unless that is None."""
        done = run_command(
            *words,
            environment={**self.environment, **environment},
            given=given,
            timeout_s=patience(90),
        )
        if code is not None:
            assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        return done

    def json(self, *words: str, given: str = "", code: int | None = 0) -> Any:
        """Run a command with --json and return what it printed."""
        return json.loads(self.cli(*words, "--json", given=given, code=code).stdout)

    def view(self, name: str) -> InstanceView | None:
        """Return an instance as the plane shows it now."""
        with self.client() as client:
            items = client.call("instance.list", query={"text": name}).items
        return next((item for item in items if name in {item.name, item.id}), None)

    def ready(self, name: str, seconds: float = 30) -> InstanceView:
        """Return an instance once it is running and its agent is ready."""

        def look() -> InstanceView | None:
            view = self.view(name)
            return view if view and view.status == "running" and view.agent_ready else None

        found: InstanceView = until(f"{name} is ready", look, seconds=seconds)
        return found

    # -- looking at it

    def corrections(self, brain: str) -> list[CorrectionView]:
        """Return every correction of a brain, newest first."""
        found: list[CorrectionView] = []
        after = ""
        with self.client() as client:
            while True:
                query = {"brain": brain, "limit": "500", **({"after": after} if after else {})}
                page = client.call("correction.list", query=query)
                found += page.items
                after = page.next
                if not after:
                    return found

    def log(self) -> str:
        """Return its log."""
        path = self.home / "plane.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def holder_pid(self) -> int | None:
        """Return the process that holds the folder, if it lives and is a plane of this home."""
        try:
            holder = msgspec.json.decode((self.home / "plane.lock").read_bytes())
        except (FileNotFoundError, msgspec.DecodeError):
            return None
        pid = int(holder["pid"])
        return pid if any(p.pid == pid for p in processes_of(self.home)) else None

    def controllers(self) -> list[psutil.Process]:
        """Return the controllers of its machines.

        A fork that has not become its agent yet looks like its controller, and is its child.
        """
        # A word of its own: a program given by -c may have the name in its text.
        found = [p for p in processes_of(self.home) if "holdfast.machine.controller" in words_of(p)]
        pids = {one.pid for one in found}
        return [one for one in found if parent_of(one) not in pids]

    def agents(self) -> list[psutil.Process]:
        """Return the demo agents of its machines."""
        return [p for p in processes_of(self.home) if "agents/demo.py" in cmdline(p)]

    @contextlib.contextmanager
    def agent_down(self, agent: psutil.Process) -> Iterator[None]:
        """Kill a demo agent and keep it from being ready until the end: two restarts in all.

        An agent that is merely killed may be back before a report or a page has shown it down.
        """
        config = Path(agent.environ()["DEMO_STATE_DIR"]) / "demo.json"
        before = config.read_text() if config.exists() else "{}"
        replace_text(config, json.dumps({**json.loads(before), "startMs": NEVER_READY_MS}))
        agent.kill()
        agent.wait(patience(DEADLINE_S))
        try:
            yield
            replacement = until("another agent was started", lambda: self._agent_in(config.parent))
        finally:
            replace_text(config, before)
        with contextlib.suppress(psutil.NoSuchProcess):  # its supervisor may have ended it
            replacement.kill()

    def _agent_in(self, state: Path) -> psutil.Process | None:
        """Return the demo agent that keeps its state in a folder, if one runs now."""
        for process in self.agents():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("DEMO_STATE_DIR") == str(state):
                    return process
        return None


@contextlib.contextmanager
def plane_at(
    home: Path, serve: tuple[str, ...] | None = None, /, **settings: str
) -> Iterator[PlaneProcess]:
    """Run a plane for a moment; fail when its end leaves a process behind."""
    plane = PlaneProcess(home, serve, **settings)
    try:
        yield plane.start()
    finally:
        left = plane.close()
    assert not left, f"left behind: {left}"


def processes_of(home: Path) -> list[psutil.Process]:
    """Return every living process whose environment names this home."""
    found = []
    wanted = str(home).encode()
    forks = forks_of(home)
    for process in psutil.process_iter():
        try:
            named = process.pid in forks or wanted in b"\0".join(read_environ(process.pid))
            if named and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (OSError, psutil.NoSuchProcess):
            continue
    return found


def parent_of(process: psutil.Process) -> int:
    """Return the pid of a process's parent, 0 when the process has ended."""
    try:
        return int(process.ppid())
    except psutil.NoSuchProcess:
        return 0


def words_of(process: psutil.Process) -> list[str]:
    """Return the words of a process's command line, none when it has ended."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def cmdline(process: psutil.Process) -> str:
    """Return a process's command line, or nothing when it has ended."""
    return " ".join(words_of(process))


def describe(process: psutil.Process) -> str:
    """Return what a process is, for a person."""
    return f"{process.pid} {cmdline(process)}"
