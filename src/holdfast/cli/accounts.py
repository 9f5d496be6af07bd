"""`holdfast account`: who owns instances. Operators only; most planes need none but `local`."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from holdfast.cli.connection import connect
from holdfast.cli.output import JSON_OPTION, ago, say, show_json, show_list
from holdfast.cli.tables import Column
from holdfast.wire.api.accounts import AccountCreate

app = typer.Typer(no_args_is_help=True, help="Accounts, which own instances: make and list.")

_COLUMNS: Final = (Column("name"), Column("made"))


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Its name, for good.")], as_json: bool = JSON_OPTION
) -> None:
    """Make an account, so that tokens and instances can belong to it."""
    made = connect().call("account.create", body=AccountCreate(name=name))
    if as_json:
        show_json(made)
    else:
        say(f"Made {made.name}. A token for it: holdfast token create --account {made.name}")


@app.command("list")
def list_(as_json: bool = JSON_OPTION) -> None:
    """List accounts."""
    answer = connect().call("account.list")
    show_list(
        answer,
        _COLUMNS,
        ((a.name, ago(a.created_at)) for a in answer.items),
        empty="No accounts.",
        as_json=as_json,
    )
