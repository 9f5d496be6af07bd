"""`holdfast agents`: what can be run, and installing what is not bundled."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from holdfast.cli.connection import connect, settings_or_fail
from holdfast.cli.output import JSON_OPTION, fail, progress, say, show, show_list
from holdfast.cli.tables import Column
from holdfast.disk.durable_file import move

app = typer.Typer(no_args_is_help=True, help="What can be run, and installing it.")

AGENTS_FOLDER: Final = "agents"
_COLUMNS: Final = (
    Column("name"),
    Column("version", drop=1),
    Column("installed"),
    Column("what", drop=2, least=20),
    Column("to do", drop=0, least=20),
)


@app.command("list")
def list_(as_json: bool = JSON_OPTION) -> None:
    """List the agents that can be run here."""
    answer = connect().call("agent.list")
    rows = (
        (a.name, a.version, "yes" if a.installed else "no", a.summary, a.fix) for a in answer.items
    )
    show_list(answer, _COLUMNS, rows, empty="No agents.", as_json=as_json)


@app.command()
def install(
    name: Annotated[str, typer.Argument(help="openclaw")],
    version: Annotated[str, typer.Option(help="Another version than the pinned one.")] = "",
) -> None:
    """Install an agent from its registry into the data folder (about 830 MB for OpenClaw)."""
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
    link = data / name
    partial = data / f".{name}.{os.getpid()}"
    partial.symlink_to(where.name)
    move(partial, link)
    show(f"Installed in {where}")
    say("Run it: holdfast instance create NAME --agent openclaw")
