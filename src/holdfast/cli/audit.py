"""`holdfast audit`: who did what, and whether the record of it is whole."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from holdfast.cli.connection import connect
from holdfast.cli.output import (
    EXIT_FAILED,
    JSON_OPTION,
    ago,
    fail,
    say,
    show_facts,
    show_json,
    show_list,
)
from holdfast.cli.tables import Column

app = typer.Typer(no_args_is_help=True, help="Who did what: list, and check that it is whole.")

_COLUMNS: Final = (
    Column("when"),
    Column("who", least=12),
    Column("what"),
    Column("answer"),
    Column("instance", drop=1),
    Column("path", drop=3, least=20),
    Column("from", drop=2),
)


@app.command("list")
def list_(
    who: Annotated[str, typer.Option(help="Only what this person or token did.")] = "",
    instance: Annotated[
        str, typer.Option(help="Only what was about this instance, by id or name, gone ones too.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many calls.")] = 40,
    as_json: bool = JSON_OPTION,
) -> None:
    """List the calls that changed something, and rehearsals, newest first."""
    query = {"who": who, "instance": instance, "limit": str(limit)}
    answer = connect().call("audit.list", query=query)
    rows = (
        (
            ago(one.at),
            one.who or one.how,
            one.endpoint,
            str(one.status or "not known"),
            one.target_name,
            one.target,
            one.peer,
        )
        for one in answer.items
    )
    empty = "Nothing matches." if who or instance else "Nothing audited yet."
    show_list(answer, _COLUMNS, rows, empty=empty, as_json=as_json)
    if answer.next and not as_json:
        say(f"There is more: --limit {min(500, limit * 2)}, or the page /audit")


@app.command()
def verify(as_json: bool = JSON_OPTION) -> None:
    """Check the chain of the audit from its first row; operators only."""
    found = connect().call("audit.verify")
    if as_json:
        show_json(found)
    elif found.ok:
        show_facts([("rows", f"{found.rows}, whole"), ("last hash", found.head)])
    if not found.ok:
        if not as_json:
            fail(f"the audit is not whole: {found.reason}", fix="see docs/audit.md")
        raise typer.Exit(EXIT_FAILED)
