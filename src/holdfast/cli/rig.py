"""`holdfast rig`: the repositories that a town works on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
import typer

from holdfast.cli.arguments import parse_pairs, read_secrets
from holdfast.cli.connection import connect
from holdfast.cli.output import EXIT_USAGE, JSON_OPTION, fail, say, show_facts, show_list
from holdfast.cli.tables import Column
from holdfast.cli.town_option import Rig, Town, taken, town_of
from holdfast.wire.api.towns import RigAdd, RigList, RigView
from holdfast.wire.forms import in_words

app = typer.Typer(no_args_is_help=True, help="Repositories that a town works on.")

_RIGS: Final = (
    Column("name"),
    Column("branch", drop=2),
    Column("gates", drop=1),
    Column("state"),
    Column("repository", drop=3),
)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Its name: small letters, digits, hyphens.")],
    repository: Annotated[
        str, typer.Option("--repository", "-r", help="https://…, or a folder of the plane's host.")
    ] = "",
    branch: Annotated[str, typer.Option(help="What work lands on (first: main).")] = "",
    github: Annotated[
        bool | None, typer.Option("--github/--git", help="Pull requests of GitHub, or git alone.")
    ] = None,
    gate: Annotated[
        list[str] | None, typer.Option(help="NAME='COMMAND' that must pass; repeatable, in order.")
    ] = None,
    command: Annotated[
        list[str] | None,
        typer.Option(help="ROLE='COMMAND {prompt}' that runs its agents; repeatable."),
    ] = None,
    token: Annotated[
        str, typer.Option(help="The credential: - reads it from stdin, @FILE from a file.")
    ] = "",
    town: Town = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Add a repository, or change what is set for it; what is not given stays."""
    given: dict[str, Any] = {"name": name}
    if repository:
        given["repository"] = local_or_url(repository)
    if branch:
        given["branch"] = branch
    if github is not None:
        given["forge"] = "github" if github else "git"
    if gate:
        commands = commands_of(gate, option="--gate")
        given["gates"] = {one: {"command": words} for one, words in commands.items()}
    if command:
        given["commands"] = commands_of(command, option="--command")
    if token:
        given["token"] = read_secrets([f"token={token}"], option="--token")["token"]
    try:
        body = msgspec.convert(given, RigAdd)
    except msgspec.ValidationError as error:
        fail(in_words(str(error)), code=EXIT_USAGE)
    plane = connect()
    answer = plane.call("towns.rig", path={"id": town_of(plane, town)}, body=body)
    found: RigView = taken(answer, as_json=as_json)
    if not as_json:
        _show(found)


def local_or_url(given: str) -> str:
    """Return a repository: an address as it is, a folder by its whole path."""
    return given if "://" in given else str(Path(given).expanduser().resolve())


def commands_of(pairs: list[str], *, option: str) -> dict[str, list[str]]:
    """Return NAME='COMMAND' texts as words by name; exit with an error for what is none."""
    found: dict[str, list[str]] = {}
    for name, text in parse_pairs(pairs, option=option).items():
        try:
            found[name] = shlex.split(text)
        except ValueError as error:
            fail(f"{option} {name}: {error}", fix="see the quotes", code=EXIT_USAGE)
        if not found[name]:
            fail(f"{option} {name}: the command is empty", code=EXIT_USAGE)
    return found


@app.command("list")
def list_rigs(town: Town = "", as_json: bool = JSON_OPTION) -> None:
    """List the repositories of a town."""
    plane = connect()
    found: RigList = plane.every("towns.rigs", path={"id": town_of(plane, town)})
    rows = (
        (one.name, one.branch, ", ".join(one.gates), "gone" if one.gone else "ok", one.repository)
        for one in found.items
    )
    empty = "No rigs yet. Add one: holdfast rig add NAME --repository URL"
    show_list(found, _RIGS, rows, empty=empty, as_json=as_json)


@app.command()
def remove(rig: Rig, town: Town = "", as_json: bool = JSON_OPTION) -> None:
    """Remove a repository: nothing more is started in it, its credential is erased."""
    plane = connect()
    path = {"id": town_of(plane, town), "rig": rig}
    taken(plane.call("towns.remove-rig", path=path), as_json=as_json)
    if not as_json:
        say(f"{rig} is removed; what is under way there ends.")


def _show(rig: RigView) -> None:
    show_facts(
        [
            ("name", rig.name),
            ("repository", rig.repository),
            ("branch", rig.branch),
            ("forge", rig.forge),
            ("credential", "stored" if rig.has_token else "none"),
            *((f"gate {name}", shlex.join(gate.command)) for name, gate in rig.gates.items()),
            *((f"{role} runs", shlex.join(words)) for role, words in rig.commands.items()),
        ]
    )
