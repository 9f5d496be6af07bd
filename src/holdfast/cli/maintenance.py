"""`holdfast instance config | files | doctor | retry`: maintain an agent in its machine."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from holdfast.cli.connection import Connection, connect
from holdfast.cli.editor import edit
from holdfast.cli.naming import resolve
from holdfast.cli.output import (
    EXIT_FAILED,
    EXIT_USAGE,
    JSON_OPTION,
    ago,
    fail,
    plain,
    say,
    show,
    show_json,
    show_list,
    write,
)
from holdfast.cli.tables import Column
from holdfast.wire.api.endpoint import Empty
from holdfast.wire.api.maintenance import (
    ConfigChanged,
    ConfigPatch,
    ConfigReplace,
    ConfigRestore,
    DoctorRun,
    DoctorStart,
    FileWrite,
)
from holdfast.wire.parsers import json_as

config_app = typer.Typer(no_args_is_help=True, help="Look at and change its configuration.")
files_app = typer.Typer(no_args_is_help=True, help="Look at and write files in its state folder.")

Name = Annotated[str, typer.Argument(help="The instance: its id or its name.")]
Force = Annotated[
    bool, typer.Option("--force", help="Insist, although the agent is known not to like it.")
]

_VERSIONS: Final = (
    Column("version"),
    Column("when"),
    Column("from"),
    Column("verdict"),
    Column("reason", drop=1, least=16),
)
_SHOWN: Final = 12
"""Digits of a version that are shown; eight identify it."""

_FOLLOW_S: Final = 0.5
"""Interval between two reads of a doctor's output."""


@config_app.command("show")
def show_config(name: Name, as_json: bool = JSON_OPTION) -> None:
    """Show its configuration; it may hold secrets."""
    plane = connect()
    found = plane.call("config.get", path={"id": resolve(plane, name)})
    show_json(found if as_json else found.config)


@config_app.command("edit")
def edit_config(name: Name, force: Force = False) -> None:
    """Change its configuration in your editor."""
    plane = connect()
    instance = resolve(plane, name)
    found = plane.call("config.get", path={"id": instance})
    if not found.plain and not force:
        fail(
            "The file holds comments, which a change from here would lose",
            fix="holdfast instance config edit --force",
        )
    before = msgspec.json.format(msgspec.json.encode(found.config), indent=2).decode() + "\n"
    after = edit(before, suffix=".json")
    if after == before:
        say("Nothing was changed.")
        return
    body = ConfigReplace(config=_object(after), etag=found.etag, force=force)
    _changed(plane.call("config.replace", path={"id": instance}, body=body))


@config_app.command("patch")
def patch_config(
    name: Name,
    patch: Annotated[
        str, typer.Argument(help="A JSON object to merge in; null deletes. @FILE or - reads one.")
    ],
    force: Force = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Merge into its configuration."""
    body = ConfigPatch(patch=_object(_given(patch)), force=force)
    plane = connect()
    done = plane.call("config.patch", path={"id": resolve(plane, name)}, body=body)
    _changed(done, as_json=as_json)


@config_app.command("history")
def history(name: Name, as_json: bool = JSON_OPTION) -> None:
    """Show its earlier configurations, and what became of the agent with each."""
    plane = connect()
    found = plane.call("config.versions", path={"id": resolve(plane, name)})
    rows = (
        (row.etag[:_SHOWN], ago(row.at), row.origin, row.verdict, row.reason)
        for row in found.versions
    )
    show_list(found, _VERSIONS, rows, empty="No configuration is known yet.", as_json=as_json)


@config_app.command("restore")
def restore(
    name: Name,
    version: Annotated[
        str, typer.Argument(help="base, last-healthy, or a version of the history.")
    ],
    force: Force = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Put an earlier configuration back."""
    plane = connect()
    body = ConfigRestore(version=version, force=force)
    done = plane.call("config.restore", path={"id": resolve(plane, name)}, body=body)
    _changed(done, as_json=as_json)


@files_app.command("ls")
def list_files(
    name: Name,
    path: Annotated[str, typer.Argument(help="Only below this folder.")] = "",
    depth: Annotated[int, typer.Option(min=1, max=99, help="How many levels.")] = 1,
    as_json: bool = JSON_OPTION,
) -> None:
    """List files in its state folder."""
    plane = connect()
    query = {"depth": str(depth), **({"path": path} if path else {})}
    found = plane.call("files.list", path={"id": resolve(plane, name)}, query=query)
    if as_json:
        show_json(found)
        return
    for entry in found.entries:
        show(f"{entry.path}/" if entry.type == "directory" else entry.path)
    if found.truncated:
        say("There are more; name a folder further down.")


@files_app.command("cat")
def read_file(
    name: Name,
    path: Annotated[str, typer.Argument(help="The file, below the state folder.")],
    as_json: bool = JSON_OPTION,
) -> None:
    """Show a text file; it may hold secrets."""
    plane = connect()
    found = plane.call("files.read", path={"id": resolve(plane, name)}, query={"path": path})
    if as_json:
        show_json(found)
    elif sys.stdout.isatty():
        write(plain(found.content))
    else:
        write(found.content)


@files_app.command("put")
def write_file(
    name: Name,
    path: Annotated[str, typer.Argument(help="The file, below the state folder.")],
    source: Annotated[
        str, typer.Option("--from", metavar="FILE", help="What to write; - is standard input.")
    ] = "-",
    create: Annotated[bool, typer.Option("--create", help="Make a new file.")] = False,
    etag: Annotated[str, typer.Option(help="Only over the text of this etag.")] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Write a text file."""
    content = _given("-" if source == "-" else f"@{source}")
    plane = connect()
    body = FileWrite(path=path, content=content, etag=etag, create=create)
    done = plane.call("files.write", path={"id": resolve(plane, name)}, body=body)
    if as_json:
        show_json(done)
    else:
        say(f"Wrote {path} ({done.etag[:_SHOWN]}).", style="green")


def doctor(
    name: Name,
    look: Annotated[bool, typer.Option("--look", help="Repair nothing.")] = False,
    cancel: Annotated[bool, typer.Option("--cancel", help="End the run that goes on.")] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """Run its doctor, and follow the output."""
    plane = connect()
    where = {"id": resolve(plane, name)}
    if cancel:
        plane.call("doctor.cancel", path=where, body=Empty())
    else:
        plane.call("doctor.start", path=where, body=DoctorStart(fix=not look))
    run = _follow(plane, where, quiet=as_json)
    if as_json:
        show_json(plane.call("doctor.run", path=where))
    if run.status == "failed":
        fail(f"The doctor failed: {run.error}", code=EXIT_FAILED)
    say(f"The doctor's run was {run.status}.", style="green" if run.status == "completed" else "")


def _follow(plane: Connection, where: dict[str, str], *, quiet: bool) -> DoctorRun:
    """Print a run's output until it has ended; return its record."""
    position = 0
    while True:
        run: DoctorRun = plane.call("doctor.run", path=where, query={"after": str(position)})
        position = run.next
        if run.output and not quiet:
            write(plain(run.output))
            sys.stdout.flush()
        if run.status != "running":
            return run
        time.sleep(_FOLLOW_S)


def retry(name: Name, as_json: bool = JSON_OPTION) -> None:
    """Go on with its controller's start, from the phase that failed."""
    plane = connect()
    done = plane.call("bootstrap.retry", path={"id": resolve(plane, name)}, body=Empty())
    if as_json:
        show_json(done)
    else:
        say(f"The start goes on with {done.phase}.", style="green")


def _changed(done: ConfigChanged, *, as_json: bool = False) -> None:
    if as_json:
        show_json(done)
    elif done.changed:
        say(f"In force: {done.etag[:_SHOWN]}. It is put back if the agent fails.", style="green")
    else:
        say("It was so already.")


def _given(text: str) -> str:
    """Return a text, or the content of the file or standard input that it names."""
    if text == "-":
        return sys.stdin.read()
    if not text.startswith("@"):
        return text
    try:
        return Path(text[1:]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{text[1:]}: {error}", code=EXIT_USAGE)


def _object(text: str) -> dict[str, Any]:
    """Return the JSON object in a text; exit with an error if it is invalid."""
    try:
        found = json_as(object, text)
    except msgspec.DecodeError as error:
        fail(f"This is not JSON: {error}", code=EXIT_USAGE)
    if not isinstance(found, dict):
        fail("This is JSON, but no object", code=EXIT_USAGE)
    return found
