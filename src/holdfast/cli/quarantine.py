"""`holdfast quarantine` and `holdfast operation`: events that failed, and orders followed."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.connection import connect
from holdfast.cli.output import JSON_OPTION, ago, say, show_facts, show_json, show_table
from holdfast.wire.messages.operations import QuarantineOrder

app = typer.Typer(no_args_is_help=True, help="Events whose fold raised: list, retry, drop.")
operations = typer.Typer(no_args_is_help=True, help="Orders, and what became of them.")

Event = Annotated[str, typer.Argument(help="The event's id.")]
Why = Annotated[str, typer.Option("--reason", help="Goes into the log.")]


@app.command("list")
def list_(as_json: bool = JSON_OPTION) -> None:
    """List events in quarantine."""
    answer = connect().call("quarantine.list", query={"limit": "500"})
    if as_json:
        show_json(answer)
        return
    rows = ((q.event, q.actor, q.name, ago(q.at), q.error) for q in answer.items)
    show_table(("event", "actor", "what", "when", "error"), rows, empty="Nothing in quarantine.")


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
    instance: Annotated[str, typer.Option(help="Only this instance's, by id.")] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """List orders, newest first."""
    answer = connect().call("operation.list", query={"instance": instance, "limit": "100"})
    if as_json:
        show_json(answer)
        return
    rows = (
        (o.event, ago(o.accepted_at), o.actor, o.name, o.outcome, "yes" if o.done else "no", o.by)
        for o in answer.items
    )
    columns = ("event", "when", "actor", "what", "outcome", "done", "by")
    show_table(columns, rows, empty="No orders yet.")


@operations.command("show")
def show(event: Event, as_json: bool = JSON_OPTION) -> None:
    """Follow one order from event to action to effect to outcome."""
    answer = connect().call("operation.get", path={"event": event})
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
    show_table(("step", "what", "state", "rule", "why"), rows, empty="It led to nothing.")


def _decide(verb: str, event: str, reason: str, *, as_json: bool) -> None:
    """Decide about one event."""
    body = QuarantineOrder(reason=reason)
    answer = connect().call(f"quarantine.{verb}", path={"event": event}, body=body)
    if as_json:
        show_json(answer)
    else:
        say(f"{answer.event}: {answer.result}")
