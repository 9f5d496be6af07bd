"""`holdfast up`, `down`, `serve` and `link`: a plane with an agent and a dashboard, and its end.

`up` starts the plane in the background unless one runs, makes a demo agent unless there is any
instance, waits until it is seen running, and prints a one-time link to the dashboard. Run twice
it does no harm: it prints the state of things and a new link.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.status import Status

from holdfast.cli.client import ApiError, Client, UnreachableError
from holdfast.cli.connection import plane_url, settings_or_fail
from holdfast.cli.local import local_token
from holdfast.cli.output import ERR, OUT, fail, say, show_facts
from holdfast.plane.build.desk import lock_holder
from holdfast.plane.settings import Settings
from holdfast.wire.messages.accounts import LinkCreate
from holdfast.wire.messages.instances import InstanceCreate, InstanceList, InstanceView
from holdfast.wire.messages.operations import Pending

START_S: Final = 30.0
STOP_S: Final = 20.0
AGENT_S: Final = 60.0
POLL_S: Final = 0.05
LOG_NAME: Final = "plane.log"
LOG_TAIL_LINES: Final = 15
DEMO_NAME: Final = "demo"

DEMO_SETTINGS: Final = {
    "HOLDFAST_CHECKIN_FIRST_S": "2",
    "HOLDFAST_CHECKIN_INTERVAL_S": "60",
}
"""A demonstration is looked at now, so its machines report sooner than a fleet's."""

Port = Annotated[int | None, typer.Option(help="The port, instead of HOLDFAST_PORT or 8700.")]
Home = Annotated[str | None, typer.Option(help="The data folder, instead of HOLDFAST_HOME.")]


def up(
    port: Port = None,
    home: Home = None,
    demo: Annotated[bool, typer.Option(help="Make a demo agent if there is no instance.")] = True,
) -> None:
    """Start everything in the background, and print a link to the dashboard."""
    settings = settings_or_fail(port=port, home=home)
    _remember(settings)
    began = time.monotonic()
    with ERR.status("looking for a plane") as status:
        fresh = _find_plane(settings) is None
        if fresh:
            status.update("starting the plane")
            _start_plane(settings, status)
        url = plane_url(settings)
        client = Client(url, local_token(Path(settings.home)))
        view = _demo_agent(client, status) if demo else None
        link = client.call("link.create", body=LinkCreate(person="operator"))
    seconds = time.monotonic() - began
    say(f"[green]Holdfast is up[/green] ({'started' if fresh else 'was running'}, {seconds:.1f} s)")
    show_facts(
        [
            ("plane", url),
            ("data", settings.home),
            ("agent", f"{view.name}: {view.status}" if view else ""),
            ("log", str(Path(settings.home) / LOG_NAME)),
        ]
    )
    OUT.print("\nSign in once with this link, within 15 minutes:")
    OUT.print(f"  {url}{link.path}\n")
    OUT.print("Next: holdfast instance list · holdfast link · holdfast down")


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
        _stop_machines(Client(plane_url(settings), local_token(Path(settings.home))))
    os.kill(pid, signal.SIGTERM)
    with ERR.status("stopping the plane"):
        if not _poll(lambda: _find_plane(settings) is None, STOP_S):
            fail(f"process {pid} has not stopped after {STOP_S:g} s", fix=f"kill -9 {pid}")
    say("The plane has stopped." if machines else "The plane has stopped; its machines go on.")


def serve(port: Port = None, home: Home = None) -> None:
    """Run the plane in the foreground until it is told to stop."""
    from holdfast.plane.serve import PlaneRunsError, run  # noqa: PLC0415  heavy, and for this only

    settings = settings_or_fail(port=port, home=home)
    _remember(settings)
    try:
        code = run(settings)
    except PlaneRunsError as error:
        fail(str(error), fix="holdfast down stops it")
    raise typer.Exit(code)


def link(
    person: Annotated[str, typer.Argument(help="Who signs in.")] = "operator",
    home: Home = None,
) -> None:
    """Print a new one-time link to the dashboard."""
    settings = settings_or_fail(home=home)
    _remember(settings)
    url = plane_url(settings)
    try:
        client = Client(url, local_token(Path(settings.home)))
        made = client.call("link.create", body=LinkCreate(person=person))
    except UnreachableError as error:
        fail(str(error), fix="holdfast up", code=3)
    except ApiError as error:
        fail(error.problem.message, fix=error.problem.fix)
    OUT.print(f"{url}{made.path}")


def _remember(settings: Settings) -> None:
    """Let everything that this process starts or asks mean the same plane."""
    os.environ["HOLDFAST_HOME"] = settings.home
    os.environ["HOLDFAST_PORT"] = str(settings.port)


def _find_plane(settings: Settings) -> int | None:
    """Return the process id of the plane that holds this data folder's lock, if one does."""
    holder = lock_holder(settings)
    return holder.pid if holder else None


def _start_plane(settings: Settings, status: Status) -> None:
    """Start a plane in the background and wait until it serves."""
    home = Path(settings.home)
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    log_path = home / LOG_NAME
    environment = {**DEMO_SETTINGS, **os.environ}
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            (sys.executable, "-m", "holdfast.cli.main", "serve"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            start_new_session=True,
        )
    status.update("waiting for the plane to serve")
    _poll(lambda: process.poll() is not None or _serves(settings), START_S)
    if process.poll() is not None or not _serves(settings):
        tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        fail(f"the plane did not start; the end of {log_path}:\n{tail}")


def _serves(settings: Settings) -> bool:
    """Return whether the plane of this data folder answers."""
    if _find_plane(settings) is None:
        return False
    try:
        return bool(Client(plane_url(settings), "").call("plane.health").status == "ok")
    except (UnreachableError, ApiError):
        return False


def _demo_agent(client: Client, status: Status) -> InstanceView | None:
    """Make the demo agent where there is no instance, and wait until one is seen running."""
    status.update("looking at the fleet")
    page: InstanceList = client.call("instance.list", query={"limit": "500"})
    if page.items:
        named = [item for item in page.items if item.name == DEMO_NAME]
        return named[0] if named else page.items[0]
    status.update("making the demo agent")
    made: InstanceView | Pending = client.call(
        "instance.create", body=InstanceCreate(name=DEMO_NAME, agent="demo")
    )
    status.update("waiting for the demo agent to check in")
    seen: list[InstanceView] = []

    def ready() -> bool:
        page = client.call("instance.list", query={"text": DEMO_NAME})
        seen[:] = [item for item in page.items if item.name == DEMO_NAME]
        return bool(seen) and seen[0].status == "running" and bool(seen[0].agent_ready)

    if not _poll(ready, AGENT_S):
        say(f"[yellow]The demo agent is not ready yet[/yellow]: holdfast instance why {DEMO_NAME}")
    if seen:
        return seen[0]
    return made if isinstance(made, InstanceView) else None


def _stop_machines(client: Client) -> None:
    """Ask every running instance to stop, and wait until they have."""

    def running() -> list[InstanceView]:
        return list(client.call("instance.list", query={"limit": "500"}).items)

    for item in running():
        if item.desired == "running":
            client.call("instance.stop", path={"id": item.id}, body=None)
    with ERR.status("stopping machines"):
        _poll(lambda: all(i.status in {"stopped", "provisioned"} for i in running()), AGENT_S)


def _poll(condition: Callable[[], bool], seconds: float) -> bool:
    """Return whether the condition came true within so many seconds."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            return False
        time.sleep(POLL_S)
    return True
