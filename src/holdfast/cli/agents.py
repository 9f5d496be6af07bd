"""`holdfast agents`: what can be run, and installing what is not bundled."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from holdfast.cli.connection import connect, settings_or_fail
from holdfast.cli.output import JSON_OPTION, fail, progress, say, show, show_list
from holdfast.cli.tables import Column
from holdfast.disk.durable_file import move
from holdfast.plane.installations import AGENTS_FOLDER, Installations

app = typer.Typer(no_args_is_help=True, help="What can be run, and installing it.")

_COLUMNS: Final = (
    Column("name"),
    Column("version", drop=1),
    Column("installed"),
    Column("what", drop=2, least=20),
    Column("to do", drop=0, least=20),
)
_VERSION_COLUMNS: Final = (
    Column("agent"),
    Column("version"),
    Column("installed"),
    Column("new instances", drop=0),
    Column("instances"),
)


@app.command("list")
def list_(as_json: bool = JSON_OPTION) -> None:
    """List the agents that can be run here."""
    answer = connect().call("agent.list")
    rows = (
        (a.name, a.version, "yes" if a.installed else "no", a.summary, a.fix) for a in answer.items
    )
    show_list(answer, _COLUMNS, rows, empty="No agents.", as_json=as_json)
    versions = [
        (
            agent.name,
            one.version,
            "yes" if one.installed else "no",
            "yes" if one.default else "",
            str(one.instances),
        )
        for agent in answer.items
        for one in agent.versions
    ]
    if versions and not as_json:
        say("")
        show_list(answer, _VERSION_COLUMNS, versions, empty="", as_json=False)


@app.command()
def install(
    name: Annotated[str, typer.Argument(help="openclaw")],
    version: Annotated[str, typer.Option(help="Another version than the pinned one.")] = "",
    default: Annotated[
        bool, typer.Option("--default", help="New instances get it, too where --version is given.")
    ] = False,
) -> None:
    """Install an agent from its registry into the data folder (about 830 MB for OpenClaw).

    With --version it is installed beside what there is, and new instances go on to get what they
    got, unless nothing was installed before.
    """
    from holdfast.machine.agents.openclaw.install import (  # noqa: PLC0415  heavy, and for this only
        InstallError,
        Progress,
        install_openclaw,
    )

    if name != "openclaw":
        fail(f"no agent called {name!r} can be installed", fix="holdfast agents install openclaw")
    data = Path(settings_or_fail().home) / AGENTS_FOLDER
    try:
        with progress("preparing") as line:
            began = time.monotonic()

            def show_progress(now: Progress) -> None:
                packages = f", {now.packages} packages" if now.packages else ""
                line.update(f"{now.phase}{packages} ({time.monotonic() - began:.0f} s)")

            if version:
                where = install_openclaw(data, version=version, progress=show_progress)
            else:
                where = install_openclaw(data, progress=show_progress)
    except InstallError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename or data}: {error.strerror}", fix="set HOLDFAST_HOME to your own")
    show(f"Installed in {where}")
    link = Installations(data).path(name, "")
    create = "holdfast instance create NAME --agent openclaw"
    if version and link.exists() and not default:
        say(f"Give it to an instance: {create} --version {version}")
        say(f"New instances go on to get {link.resolve().name}, unless with --default")
    else:
        partial = data / f".{name}.{os.getpid()}"
        partial.symlink_to(where.name)
        move(partial, link)
        say(f"New instances get it: {create}")
    say("Those that there are keep their versions: holdfast agents list")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="openclaw")],
    version: Annotated[str, typer.Argument(help="As holdfast agents list shows it.")],
) -> None:
    """Delete an installed version that no instance uses."""
    answer = connect().call("agent.list")
    agent = next((one for one in answer.items if one.name == name and not one.bundled), None)
    if agent is None:
        fail(f"no agent called {name!r} is installed", fix="holdfast agents list")
    found = next((one for one in agent.versions if one.version == version and one.installed), None)
    if found is None:
        there = ", ".join(one.version for one in agent.versions if one.installed)
        fail(f"{name} {version} is not installed", fix=f"choose one of: {there}")
    if found.instances:
        fail(
            f"{found.instances} instances keep {name} {version}",
            fix="give them another one: holdfast instance set NAME --version VERSION",
        )
    if found.default:
        fail(
            f"new instances get {name} {version}",
            fix=f"install another: holdfast agents install {name} --version VERSION --default",
        )
    folder = Installations(Path(settings_or_fail().home) / AGENTS_FOLDER).path(name, version)
    gone = folder.with_name(f".{folder.name}.gone")
    shutil.rmtree(gone, ignore_errors=True)  # of one who was interrupted
    move(folder, gone)  # never half an installation under its name
    shutil.rmtree(gone)
    show(f"Removed {name} {version}")
