"""`holdfast bulk`: the same order for many instances, each answered for itself."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from holdfast.cli.connection import connect
from holdfast.cli.naming import resolve
from holdfast.cli.output import EXIT_FAILED, EXIT_PENDING, JSON_OPTION, show_json, show_table
from holdfast.cli.tables import Column
from holdfast.wire.api.instances import BulkOrder

_ITEMS: Final = (Column("instance"), Column("result"), Column("why", least=20))

app = typer.Typer(no_args_is_help=True, help="The same order for many instances.")

Names = Annotated[list[str], typer.Argument(help="Instances, by name, id, or how an id begins.")]
Why = Annotated[str, typer.Option("--reason", help="Goes into the log.")]


@app.command()
def start(names: Names, reason: Why = "", as_json: bool = JSON_OPTION) -> None:
    """Start many instances."""
    _order("instance.bulk-start", names, reason, as_json=as_json)


@app.command()
def stop(names: Names, reason: Why = "", as_json: bool = JSON_OPTION) -> None:
    """Stop many instances; their data stay."""
    _order("instance.bulk-stop", names, reason, as_json=as_json)


def _order(endpoint: str, names: list[str], reason: str, *, as_json: bool) -> None:
    """Give the order; end with 1 if one was refused, else with 5 if one is not taken yet."""
    plane = connect()
    named: dict[str, str] = {resolve(plane, name): name for name in names}
    answer = plane.call(endpoint, body=BulkOrder(ids=tuple(named), reason=reason))
    if as_json:
        show_json(answer)
    else:
        rows = [(named[one.id], one.result, one.message) for one in answer.items]
        show_table(_ITEMS, rows, empty="No instances.")
    results = {one.result for one in answer.items}
    if results & {"refused", "missing"}:
        raise typer.Exit(EXIT_FAILED)
    if "pending" in results:
        raise typer.Exit(EXIT_PENDING)
