"""`holdfast rehearse`: what would happen, what did, and why; it changes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from holdfast.cli.connection import connect
from holdfast.cli.naming import resolve
from holdfast.cli.output import JSON_OPTION, fail, show, show_facts, show_json, show_table
from holdfast.cli.tables import Column
from holdfast.wire.api.rehearsals import (
    DryRunRequest,
    ExplainRequest,
    Rehearsal,
    ReplayRequest,
    WhatIfRequest,
)
from holdfast.wire.parsers import json_as

app = typer.Typer(no_args_is_help=True, help="Dry run, replay, what-if and explain, for any actor.")

Actor = Annotated[
    str,
    typer.Argument(
        metavar="ACTOR", help="KIND/ID, or an instance's id or name; a town's as town/NAME."
    ),
]

_COLUMNS: Final = (
    Column(""),
    Column("what"),
    Column("rule or outcome", drop=1),
    Column("why", drop=2, least=20),
)


@app.command("dry-run")
def dry_run(
    actor: Actor,
    ticks: Annotated[int, typer.Option(min=1, help="How many ticks ahead.")] = 1,
    at_ms: Annotated[int | None, typer.Option(help="The time to assume, ms since 1970.")] = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Print what the next ticks would do."""
    _call("dry-run", actor, DryRunRequest(ticks=ticks, at_ms=at_ms), as_json=as_json)


@app.command()
def replay(
    actor: Actor,
    start: Annotated[int, typer.Option("--from", min=0, help="From this seq.")] = 0,
    end: Annotated[int | None, typer.Option("--to", min=0, help="Up to this seq.")] = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Fold the log again, decide again, and compare both with what was recorded."""
    body = ReplayRequest(from_seq=start, to_seq=end)
    answer = _call("replay", actor, body, as_json=as_json)
    if answer.differences or answer.bit_equal is False:
        fail("the replay differs from the record")


@app.command("what-if")
def what_if(
    actor: Actor,
    policy: Annotated[
        list[str] | None, typer.Option("--policy", help="FIELD=VALUE of the policy; repeatable.")
    ] = None,
    events: Annotated[
        Path | None, typer.Option(help="A file with a JSON array of events to imagine.")
    ] = None,
    start: Annotated[
        int | None, typer.Option("--from", min=0, help="Replay the log from this seq.")
    ] = None,
    ticks: Annotated[int, typer.Option(min=1, help="How many ticks ahead.")] = 1,
    as_json: bool = JSON_OPTION,
) -> None:
    """Do the same under another policy, or with events that did not happen."""
    body = WhatIfRequest(
        policy=_policy(policy or []),
        events=tuple(_events(events)) if events else (),
        from_seq=start,
        ticks=ticks,
    )
    _call("what-if", actor, body, as_json=as_json)


@app.command()
def explain(
    actor: Actor,
    tick: Annotated[int | None, typer.Option(min=0, help="This tick, else the last.")] = None,
    event: Annotated[str, typer.Option(help="The tick that took this event.")] = "",
    entity: Annotated[str, typer.Option(help="A part of it, like b/ID of a town's bead.")] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Explain a tick's decisions."""
    body = ExplainRequest(tick=tick, event=event, entity=entity)
    _call("explain", actor, body, as_json=as_json)


def _call(mode: str, actor: str, body: msgspec.Struct, *, as_json: bool) -> Rehearsal:
    """Call one rehearsal and print it."""
    kind, slash, actor_id = actor.partition("/")
    if not slash:
        kind, actor_id = "instance", actor
    if not kind or not actor_id:
        fail(f"{actor!r}: want KIND/ID", fix="for example: instance/demo", code=2)
    plane = connect()
    if kind == "instance":
        actor_id = resolve(plane, actor_id, gone=True)
    elif kind == "town":
        actor_id = plane.call("towns.get", path={"id": actor_id}).id
    path = {"kind": kind, "id": actor_id}
    answer: Rehearsal = plane.call(f"rehearse.{mode}", path=path, body=body)
    if as_json:
        show_json(answer)
    else:
        _show(answer)
    return answer


def _show(answer: Rehearsal) -> None:
    """Print a rehearsal for people."""
    show(answer.summary or answer.mode, style="bold")
    for tick in answer.ticks:
        show(f"tick {tick.number} at {tick.at}")
        rows: list[tuple[str, str, str, str]] = [
            ("event", e.name or e.id, e.outcome, e.message) for e in tick.events
        ]
        rows += [("action", a.name, a.rule, a.conflict or a.reason) for a in tick.actions]
        rows += [("left alone", s.name, s.rule, s.reason) for s in tick.suppressed]
        rows += [("note", "", "", note) for note in tick.notes]
        show_table(_COLUMNS, rows, empty="  nothing to do", indent="  ")
    show_facts([("would change", change) for change in answer.changes])
    equal = "" if answer.bit_equal is None else str(answer.bit_equal).lower()
    facts = [("events folded", str(answer.events_folded or "")), ("state bit-equal", equal)]
    show_facts(facts)


def _policy(pairs: list[str]) -> dict[str, object]:
    """Return FIELD=VALUE texts as policy fields; values are JSON, or plain text."""
    fields: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            fail(f"--policy {pair!r}: want FIELD=VALUE", code=2)
        try:
            fields[key] = json_as(object, value)
        except msgspec.DecodeError:
            fields[key] = value
    return fields


def _events(path: Path) -> list[dict[str, object]]:
    try:
        return json_as(list[dict[str, object]], path.read_bytes())
    except OSError as error:
        fail(f"--events {path}: {error.strerror}")
    except msgspec.MsgspecError as error:
        fail(f"--events {path}: {error}", fix="want a JSON array of objects, each with its type")
