"""`holdfast brain-key`: the keys that authenticate brains."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from holdfast.cli.connection import connect
from holdfast.cli.naming import pick
from holdfast.cli.output import JSON_OPTION, ago, say, show, show_json, show_list
from holdfast.cli.tables import Column
from holdfast.wire.api.brains import BrainKeyCreate

_COLUMNS: Final = (
    Column("id"),
    Column("name", least=12),
    Column("brain", least=12),
    Column("account", drop=2),
    Column("made", drop=3),
    Column("last used", drop=1),
    Column("state"),
)

app = typer.Typer(no_args_is_help=True, help="Brain keys: make, list, revoke.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    brain: Annotated[
        str, typer.Option(help="The only brain it authenticates; created if absent.")
    ] = "",
    account: Annotated[str, typer.Option(help="Whose brains; operators only.")] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Make a brain key. It is printed once and cannot be shown again."""
    made = connect().call(
        "brain-key.create", body=BrainKeyCreate(name=name, brain=brain, account=account)
    )
    if as_json:
        show_json(made)
        return
    whose = f"the brain {made.view.brain_name}" if brain else f"every brain of {made.view.account}"
    say(f"This key of {whose} is shown once; keep it safe:")
    show(made.key)


@app.command("list")
def list_(as_json: bool = JSON_OPTION) -> None:
    """List brain keys, without their secrets."""
    answer = connect().call("brain-key.list")
    rows = (
        (
            key.id,
            key.name,
            key.brain_name or "all",
            key.account,
            ago(key.created_at),
            ago(key.last_used_at),
            "damaged" if key.damaged else "revoked" if key.revoked_at else "in use",
        )
        for key in answer.items
    )
    show_list(answer, _COLUMNS, rows, empty="No brain keys.", as_json=as_json)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, or how it begins.")],
    as_json: bool = JSON_OPTION,
) -> None:
    """Revoke a brain key; it stops working at once, and what it could not send waits there."""
    plane = connect()
    listed = [key.id for key in plane.call("brain-key.list").items]
    key_id = pick(key_id, listed, what="brain key", where="holdfast brain-key list")
    answer = plane.call("brain-key.revoke", path={"id": key_id})
    if as_json:
        show_json(answer)
    else:
        say(f"Revoked {answer.name}")
