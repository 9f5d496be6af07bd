"""`holdfast quarantine` and `holdfast operation`: failed events, and orders traced."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from holdfast.cli.connection import Connection, connect
from holdfast.cli.naming import pick, resolve
from holdfast.cli.output import (
    JSON_OPTION,
    ago,
    say,
    short_ids,
    show,
    show_facts,
    show_json,
    show_list,
    show_table,
)
from holdfast.cli.tables import Column
from holdfast.wire.api.operations import QuarantineOrder
from holdfast.wire.limits import PAGE_ITEMS_MAX

_EVENT_CHARS: Final = 24
"""Length of an event's id; a shorter text is a prefix."""
_QUARANTINE: Final = (
    Column("event"),
    Column("what", drop=2),
    Column("when", drop=1),
    Column("actor", drop=3),
    Column("error", least=24),
)
_OPERATIONS: Final = (
    Column("event"),
    Column("when"),
    Column("what"),
    Column("outcome"),
    Column("done"),
    Column("actor", drop=1, least=14),
    Column("by", drop=2, least=12),
)
_STEPS: Final = (
    Column("step"),
    Column("what"),
    Column("state"),
    Column("rule", drop=1),
    Column("why", drop=2, least=20),
)

app = typer.Typer(no_args_is_help=True, help="Events whose fold raised: list, retry, drop.")
operations = typer.Typer(no_args_is_help=True, help="Orders, and what became of them.")

Event = Annotated[str, typer.Argument(help="The event's id, or how it begins.")]
Why = Annotated[str, typer.Option("--reason", help="Goes into the log.")]


@app.command("list")
def list_(as_json: bool = JSON_OPTION) -> None:
    """List events in quarantine."""
    answer = connect().every("quarantine.list")
    short = short_ids(q.event for q in answer.items)
    rows = ((short[q.event], q.name, ago(q.at), q.actor, q.error) for q in answer.items)
    show_list(answer, _QUARANTINE, rows, empty="Nothing in quarantine.", as_json=as_json)


@app.command()
def retry(event: Event, reason: Why = "", as_json: bool = JSON_OPTION) -> None:
    """Give an event to its actor again, as a new arrival."""
    _decide("retry", event, reason, as_json=as_json)


@app.command()
def drop(event: Event, reason: Why = "", as_json: bool = JSON_OPTION) -> None:
    """Leave an event out for good."""
    _decide("drop", event, reason, as_json=as_json)


@operations.command("list")
def list_operations(
    instance: Annotated[str, typer.Option(help="Only this instance's, by id or name.")] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """List orders, newest first."""
    plane = connect()
    query = {"instance": resolve(plane, instance) if instance else "", "limit": "100"}
    answer = plane.call("operation.list", query=query)
    short = short_ids(o.event for o in answer.items)
    rows = (
        (
            short[o.event],
            ago(o.accepted_at),
            o.name,
            o.outcome,
            "yes" if o.done else "no",
            o.actor_name or o.actor,
            o.by,
        )
        for o in answer.items
    )
    show_list(answer, _OPERATIONS, rows, empty="No orders yet.", as_json=as_json)


@operations.command("show")
def show_(event: Event, as_json: bool = JSON_OPTION) -> None:
    """Follow one order from event to action to effect to outcome."""
    plane = connect()
    answer = plane.call("operation.get", path={"event": _operation(plane, event)})
    if as_json:
        show_json(answer)
        return
    show_facts(
        [
            ("event", answer.event),
            ("actor", answer.actor),
            ("what", answer.name),
            ("outcome", answer.outcome),
            ("message", answer.message),
            ("done", "yes" if answer.done else "no"),
        ]
    )
    rows = ((s.kind, s.name, s.state, s.rule, s.message or s.reason) for s in answer.steps)
    show("")
    show_table(_STEPS, rows, empty="It led to nothing.")


def _decide(verb: str, event: str, reason: str, *, as_json: bool) -> None:
    body = QuarantineOrder(reason=reason)
    plane = connect()
    if len(event) < _EVENT_CHARS:
        listed = [q.event for q in plane.every("quarantine.list").items]
        event = pick(event, listed, what="event in quarantine", where="holdfast quarantine list")
    answer = plane.call(f"quarantine.{verb}", path={"event": event}, body=body)
    if as_json:
        show_json(answer)
    else:
        say(f"{answer.event}: {answer.result}")


def _operation(plane: Connection, event: str) -> str:
    """Return the whole id of an order given by its prefix."""
    if len(event) >= _EVENT_CHARS:
        return event
    query = {"limit": str(PAGE_ITEMS_MAX)}
    listed = [o.event for o in plane.call("operation.list", query=query).items]
    return pick(
        event, listed, what=f"order of the newest {PAGE_ITEMS_MAX}", where="holdfast operation list"
    )
