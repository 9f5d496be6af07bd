"""`holdfast up`, `down`, `serve` and `link`: a plane with an agent and a dashboard.

`up` starts the plane in the background unless one runs, creates a demo agent unless there is any
instance, waits until it runs, and prints a one-time link to the dashboard. Running it twice is
harmless: it prints the current state and a new link.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer

from holdfast.cli.client import ApiError, Client
from holdfast.cli.connection import (
    connect,
    fail_as,
    local_token_or_fail,
    plane_url,
    prove_first,
    settings_or_fail,
)
from holdfast.cli.output import (
    JSON_OPTION,
    Progress,
    fail,
    progress,
    say,
    show,
    show_facts,
    show_json,
)
from holdfast.plane import log_file
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.holder import lock_holder
from holdfast.wire.api.accounts import LinkCreate
from holdfast.wire.api.instances import InstanceCreate, InstanceList, InstanceOrder, InstanceView
from holdfast.wire.api.operations import Pending
from holdfast.wire.health import WORKING

START_S: Final = 30.0
STOP_S: Final = 20.0
AGENT_S: Final = 60.0
ANSWER_S: Final = 2.0
POLL_S: Final = 0.05
LOG_TAIL_LINES: Final = 15
DEMO_NAME: Final = "demo"

DEMO_SETTINGS: Final = {
    "HOLDFAST_CHECKIN_FIRST_S": "2",
    "HOLDFAST_CHECKIN_INTERVAL_S": "60",
}
"""A demonstration is watched live, so its machines report more often than a fleet's."""

Port = Annotated[int | None, typer.Option(help="The port, instead of HOLDFAST_PORT or 8700.")]
Home = Annotated[str | None, typer.Option(help="The data folder, instead of HOLDFAST_HOME.")]


def up(
    port: Port = None,
    home: Home = None,
    demo: Annotated[bool, typer.Option(help="Make a demo agent if there is no instance.")] = True,
    as_json: bool = JSON_OPTION,
) -> None:
    """Start everything in the background, and print a link to the dashboard."""
    settings = settings_or_fail(port=port, home=home)
    _remember(settings)
    began = time.monotonic()
    with progress("looking for a plane") as line:
        fresh = _find_plane(settings) is None
        started: subprocess.Popen[bytes] | None = None
        if fresh:
            line.update("starting the plane")
            started = _start_plane(settings)
        url = _wait_until_it_serves(settings, started)
        try:
            client = prove_first(settings, url, local_token_or_fail(settings))
            view = _demo_agent(client, line) if demo else None
            link = client.call("link.create", body=LinkCreate(person="operator"))
        except ApiError as error:
            fail_as(error)
    ready = view is None or view.health.code in WORKING
    facts = {
        "plane": url,
        "data": settings.home,
        "keys": str(settings.keys_folder),
        "agent": f"{view.name}: {view.health.code}" if view else "",
        "log": str(Path(settings.home) / log_file.NAME),
    }
    if as_json:
        show_json({**facts, "link": f"{url}{link.path}", "started": fresh, "ready": ready})
        return
    seconds = time.monotonic() - began
    show(
        f"Holdfast is up ({'started' if fresh else 'was running'}, {seconds:.1f} s)", style="green"
    )
    show_facts(facts.items())
    show("\nSign in once with this link, within 15 minutes:")
    show(f"  {url}{link.path}\n")
    show("Next: holdfast instance list · holdfast link · holdfast down")
    if not ready and view is not None:
        say(f"{view.name} is not ready: holdfast instance why {view.name}", style="yellow")


def down(
    home: Home = None,
    machines: Annotated[
        bool, typer.Option("--machines", help="Stop every instance first.")
    ] = False,
) -> None:
    """Stop the plane. Its machines go on running, and are found again by the next one."""
    settings = settings_or_fail(home=home)
    pid = _find_plane(settings)
    if pid is None:
        say("No plane is running.")
        return
    if machines:
        try:
            _stop_machines(
                prove_first(settings, plane_url(settings), local_token_or_fail(settings))
            )
        except ApiError as error:
            fail_as(error)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    with progress("stopping the plane"):
        if not _poll(lambda: _find_plane(settings) != pid, STOP_S):
            fail(f"process {pid} has not stopped after {STOP_S:g} s", fix=f"kill -9 {pid}")
        _poll(lambda: not _is_alive(pid), ANSWER_S)  # it may still be cleaning up
    say("The plane has stopped." if machines else "The plane has stopped; its machines go on.")


def serve(port: Port = None, home: Home = None) -> None:
    """Run the plane in the foreground until a signal."""
    settings = settings_or_fail(port=port, home=home)
    _remember(settings)
    # A slow import, needed here only.
    from holdfast.plane.serve import CannotServeError, run  # noqa: PLC0415

    try:
        code = run(settings)
    except CannotServeError as error:
        fail(str(error), fix=error.fix)
    raise typer.Exit(code)


def link(
    person: Annotated[str, typer.Argument(help="Who signs in.")] = "operator",
    home: Home = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Print a new one-time link to the dashboard."""
    settings = settings_or_fail(home=home)
    _remember(settings)
    url = plane_url(settings)
    made = connect().call("link.create", body=LinkCreate(person=person))
    if as_json:
        show_json({"link": f"{url}{made.path}"})
    else:
        show(f"{url}{made.path}")


def _remember(settings: Settings) -> None:
    """Let everything that this process starts or calls use the same plane."""
    os.environ["HOLDFAST_HOME"] = settings.home
    os.environ["HOLDFAST_PORT"] = str(settings.port)


def _find_plane(settings: Settings) -> int | None:
    """Return the process id of the plane that holds this data folder's lock, if one does."""
    holder = lock_holder(settings)
    return holder.pid if holder else None


def _start_plane(settings: Settings) -> subprocess.Popen[bytes]:
    """Start a plane in the background, wait until it holds the folder, and return its process."""
    home = Path(settings.home)
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        log = log_file.open_log(home)
    except OSError as error:
        fail(
            f"the data folder {home} cannot be written: {error.strerror}",
            fix="set HOLDFAST_HOME to a folder that you own, on a disk with room",
        )
    with log:
        process = subprocess.Popen(
            (sys.executable, "-m", "holdfast.cli.main", "serve"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**DEMO_SETTINGS, **os.environ},
            start_new_session=True,
        )
    _poll(lambda: process.poll() is not None or _find_plane(settings) == process.pid, START_S)
    _fail_if_ended(settings, process)
    return process


def _fail_if_ended(settings: Settings, process: subprocess.Popen[bytes]) -> None:
    """Exit with the end of the log if the started plane has ended, and no other runs."""
    if process.poll() is not None and _find_plane(settings) is None:
        home = Path(settings.home)
        tail = "\n".join(log_file.tail(home, LOG_TAIL_LINES))
        fail(f"the plane did not start; the end of {home / log_file.NAME}:\n{tail}")


def _wait_until_it_serves(settings: Settings, started: subprocess.Popen[bytes] | None) -> str:
    """Return the address of the plane of this data folder, once it answers."""

    def serves() -> bool:
        if started is not None:
            _fail_if_ended(settings, started)  # it may have taken the folder, and found no keys
        return _serves(settings)

    if not _poll(serves, START_S):
        log = Path(settings.home) / log_file.NAME
        fail(f"the plane does not answer after {START_S:g} s", fix=f"look at the end of {log}")
    return plane_url(settings)


def _serves(settings: Settings) -> bool:
    """Return whether the plane of this data folder answers."""
    if _find_plane(settings) is None:
        return False
    try:
        with Client(plane_url(settings), timeout_s=ANSWER_S) as client:
            return client.call("plane.health").status in {"ok", "degraded"}
    except ApiError:
        return False


def _demo_agent(client: Client, line: Progress) -> InstanceView | None:
    """Create the demo agent if there is no instance, and wait until one runs."""
    line.update("looking at the fleet")
    page: InstanceList = client.call("instance.list", query={"limit": "500"})
    if page.items:
        named = [item for item in page.items if item.name == DEMO_NAME]
        return named[0] if named else page.items[0]
    line.update("making the demo agent")
    made: InstanceView | Pending = client.call(
        "instance.create", body=InstanceCreate(name=DEMO_NAME, agent="demo")
    )
    line.update("waiting for the demo agent to check in")
    seen: list[InstanceView] = []

    def ready() -> bool:
        page = client.call("instance.list", query={"text": DEMO_NAME})
        seen[:] = [item for item in page.items if item.name == DEMO_NAME]
        return bool(seen) and seen[0].health.code in WORKING

    _poll(ready, AGENT_S)
    if seen:
        return seen[0]
    return made if isinstance(made, InstanceView) else None


def _stop_machines(client: Client) -> None:
    """Stop every running instance, and wait until they have stopped."""

    def running() -> list[InstanceView]:
        return list(client.every("instance.list").items)

    for item in running():
        if item.desired == "running":
            client.call("instance.stop", path={"id": item.id}, body=InstanceOrder())
    with progress("stopping machines"):
        _poll(lambda: all(i.status in {"stopped", "provisioned"} for i in running()), AGENT_S)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _poll(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether the condition became true within so many seconds."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(POLL_S)
    return True
