"""`holdfast agents`: what can be run, and installing what is not bundled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import Progress as Bar
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

from holdfast.cli.connection import connect, settings_or_fail
from holdfast.cli.output import ERR, JSON_OPTION, fail, say, show_json, show_table
from holdfast.machine.agents.install import InstallError, Progress, install_openclaw

app = typer.Typer(no_args_is_help=True, help="What can be run, and installing it.")

AGENTS_FOLDER: Final = "agents"


@app.command("list")
def list_(as_json: bool = JSON_OPTION) -> None:
    """List the agents that can be run here."""
    answer = connect().call("agent.list")
    if as_json:
        show_json(answer)
        return
    rows = (
        (a.name, a.version, "yes" if a.installed else "no", a.summary, a.fix) for a in answer.items
    )
    show_table(("name", "version", "installed", "what", "to do"), rows, empty="No agents.")


@app.command()
def install(
    name: Annotated[str, typer.Argument(help="openclaw")],
    version: Annotated[str, typer.Option(help="Another version than the pinned one.")] = "",
) -> None:
    """Install an agent from its registry into the data folder (about 830 MB for OpenClaw)."""
    if name != "openclaw":
        fail(f"no agent called {name!r} can be installed", fix="holdfast agents install openclaw")
    data = Path(settings_or_fail().home) / AGENTS_FOLDER
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Bar(*columns, console=ERR) as bar:
        task = bar.add_task("preparing", total=None)

        def show(progress: Progress) -> None:
            packages = f", {progress.packages} packages" if progress.packages else ""
            bar.update(task, description=f"{progress.phase}{packages}")

        try:
            if version:
                where = install_openclaw(data, version=version, progress=show)
            else:
                where = install_openclaw(data, progress=show)
        except InstallError as error:
            bar.stop()
            fail(str(error))
    link = data / name
    partial = data / f".{name}.{os.getpid()}"
    partial.symlink_to(where.name)
    partial.replace(link)
    say(f"Installed in {where}")
    say("Run it: holdfast instance create NAME --agent openclaw")
