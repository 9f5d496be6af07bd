"""`holdfast convoy`: tasks of a rig that land together."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import typer

from holdfast.cli.bead import short_beads, text_of
from holdfast.cli.connection import connect
from holdfast.cli.output import (
    EXIT_USAGE,
    JSON_OPTION,
    ago,
    fail,
    say,
    show,
    show_facts,
    show_list,
    show_table,
)
from holdfast.cli.tables import Column
from holdfast.cli.town_option import Convoy, Town, complete_rig, taken, town_of
from holdfast.kernel.failure import reason
from holdfast.wire.api.endpoint import Empty
from holdfast.wire.api.town_work import (
    BeadCancel,
    ConvoyCreate,
    ConvoyList,
    ConvoyView,
    TaskAdd,
)
from holdfast.wire.parsers import json_as

app = typer.Typer(no_args_is_help=True, help="Tasks of a rig that land together.")

_CONVOYS: Final = (
    Column("id"),
    Column("status"),
    Column("done"),
    Column("rig", drop=1),
    Column("made", drop=2),
    Column("title", least=20),
)
_TASKS: Final = (
    Column("task"),
    Column("status"),
    Column("waits for", drop=1),
    Column("id", drop=2),
    Column("title", least=20),
)
_AFTER: Final = " after "


@app.command()
def create(
    rig: Annotated[str, typer.Argument(autocompletion=complete_rig, help="The rig's name.")],
    title: Annotated[str, typer.Argument(help="What it is for, in a line.")],
    task: Annotated[
        list[str] | None,
        typer.Option(help="'TITLE after 0,1': a task, and the tasks it waits for; repeatable."),
    ] = None,
    tasks: Annotated[
        str, typer.Option(help="A file with a JSON array of tasks (title, body, depends_on), or -.")
    ] = "",
    body: Annotated[str, typer.Option("--body", "-b", help="A text, @FILE, or -.")] = "",
    each: Annotated[
        bool, typer.Option("--each", help="Each task lands by itself, not all together.")
    ] = False,
    staged: Annotated[bool, typer.Option("--staged", help="Wait until it is started.")] = False,
    town: Town = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Give a town tasks that land together."""
    listed = (*(task_of(one) for one in task or ()), *(read_tasks(tasks) if tasks else ()))
    if not listed:
        fail("a convoy needs tasks", fix="--task TITLE, or --tasks FILE", code=EXIT_USAGE)
    mode: Literal["review-then-land", "review-and-merge"] = (
        "review-and-merge" if each else "review-then-land"
    )
    order = ConvoyCreate(
        rig=rig, title=title, tasks=listed, body=text_of(body), mode=mode, staged=staged
    )
    plane = connect()
    answer = plane.call("towns.convoy", path={"id": town_of(plane, town)}, body=order)
    _show(taken(answer, as_json=as_json), as_json=as_json)


def task_of(text: str) -> TaskAdd:
    """Return the task of `TITLE after 0,1`; a title without places at its end is a title."""
    title, after, places = text.rpartition(_AFTER)
    numbers = [place.strip() for place in places.split(",")]
    if not after or not all(number.isdecimal() for number in numbers):
        return TaskAdd(title=text)
    return TaskAdd(title=title, depends_on=tuple(int(number) for number in numbers))


def read_tasks(source: str) -> tuple[TaskAdd, ...]:
    """Return the tasks of a file with a JSON array; exit with an error for what is none."""
    try:
        raw = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return json_as(tuple[TaskAdd, ...], raw)
    except OSError as error:
        return fail(f"--tasks {source}: {reason(error)}", code=EXIT_USAGE)
    except msgspec.MsgspecError as error:
        fix = 'want [{"title": "…", "body": "…", "depends_on": [0]}, …]'
        return fail(f"--tasks {source}: {error}", fix=fix, code=EXIT_USAGE)


@app.command("list")
def list_convoys(
    town: Town = "",
    every: Annotated[bool, typer.Option("--all", help="Those that ended too.")] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """List convoys."""
    plane = connect()
    found: ConvoyList = plane.every("towns.convoys", path={"id": town_of(plane, town)})
    kept = [one for one in found.items if every or one.bead.status == "open"]
    short = short_beads(one.bead.id for one in kept)
    rows = (
        (
            short[one.bead.id], status_of(one), f"{one.facts.closed}/{one.facts.total}",
            one.bead.rig, ago(one.bead.created_at), one.bead.title,
        )
        for one in kept
    )  # fmt: skip
    empty = "No convoys. Make one: holdfast convoy create RIG TITLE --task TITLE"
    show_list(found, _CONVOYS, rows, empty=empty, as_json=as_json)


@app.command("show")
def show_convoy(convoy: Convoy, town: Town = "", as_json: bool = JSON_OPTION) -> None:
    """Show a convoy with its tasks."""
    plane = connect()
    path = {"id": town_of(plane, town), "bead": convoy}
    _show(taken(plane.call("towns.get-convoy", path=path), as_json=as_json), as_json=as_json)


@app.command()
def start(convoy: Convoy, town: Town = "", as_json: bool = JSON_OPTION) -> None:
    """Let a staged convoy begin."""
    plane = connect()
    path = {"id": town_of(plane, town), "bead": convoy}
    answer = plane.call("towns.start-convoy", path=path, body=Empty())
    _show(taken(answer, as_json=as_json), as_json=as_json)


@app.command()
def cancel(
    convoy: Convoy,
    town: Town = "",
    done: Annotated[bool, typer.Option("--done", help="As if it were done.")] = False,
    as_json: bool = JSON_OPTION,
) -> None:
    """End a convoy with all its tasks."""
    plane = connect()
    path = {"id": town_of(plane, town), "bead": convoy}
    body = BeadCancel(status="closed" if done else "failed")
    found = taken(plane.call("towns.cancel-convoy", path=path, body=body), as_json=as_json)
    if not as_json:
        say(f"{found.bead.id} is {status_of(found)}.")


def status_of(convoy: ConvoyView) -> str:
    """Return a word for how a convoy is."""
    if convoy.bead.status == "open" and convoy.facts.staged:
        return "staged"
    return "landed" if convoy.facts.landed_at else convoy.bead.status


def _show(found: ConvoyView, *, as_json: bool) -> None:
    if as_json:
        return
    facts = found.facts
    show(found.bead.title or found.bead.id, style="bold")
    failed = f", {facts.failed} failed" if facts.failed else ""
    show_facts(
        [
            ("id", found.bead.id),
            ("status", status_of(found)),
            ("done", f"{facts.closed} of {facts.total}{failed}"),
            ("rig", found.bead.rig),
            ("branch", facts.branch),
            ("landed", ago(facts.landed_at) if facts.landed_at else ""),
        ]
    )
    show("")
    places = {one.id: str(place) for place, one in enumerate(found.tasks)}
    short = short_beads(places)
    rows = (
        (
            places[one.id], one.status, ", ".join(places.get(b, b) for b in one.blocked_by),
            short[one.id], one.title,
        )
        for one in found.tasks
    )  # fmt: skip
    show_table(_TASKS, rows, empty="It has no tasks.")
