"""`holdfast person`: who may sign in. Operators only."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from holdfast.cli.connection import connect
from holdfast.cli.output import JSON_OPTION, ago, fail, say, show_json, show_list
from holdfast.cli.tables import Column
from holdfast.wire.api.accounts import PersonCreate

app = typer.Typer(no_args_is_help=True, help="Who may sign in: add and list.")

_COLUMNS: Final = (
    Column("name"),
    Column("scope"),
    Column("account"),
    Column("password", drop=2),
    Column("made", drop=1),
)


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Their name, for good.")],
    scope: Annotated[str, typer.Option(help="owner or operator.")] = "owner",
    account: Annotated[str, typer.Option(help="Whose things an owner sees.")] = "local",
    as_json: bool = JSON_OPTION,
) -> None:
    """Add a person, who signs in by a link first."""
    if scope not in {"owner", "operator"}:
        fail(f"--scope {scope!r}: want owner or operator", code=2)
    body = PersonCreate(
        name=name,
        scope="operator" if scope == "operator" else "owner",
        account=account if scope == "owner" else "",
    )
    made = connect().call("person.create", body=body)
    if as_json:
        show_json(made)
    else:
        say(f"Added {made.name}. A link to sign in: holdfast link {made.name}")


@app.command("list")
def list_(as_json: bool = JSON_OPTION) -> None:
    """List everybody who may sign in."""
    answer = connect().call("person.list")
    rows = (
        (p.name, p.scope, p.account or "all", "set" if p.has_password else "", ago(p.created_at))
        for p in answer.items
    )
    show_list(answer, _COLUMNS, rows, empty="Nobody yet.", as_json=as_json)
