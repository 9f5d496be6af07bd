"""`holdfast token`: API tokens, made on the machine itself whether the plane runs or not."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from holdfast.cli.connection import connect, settings_or_fail
from holdfast.cli.naming import pick
from holdfast.cli.output import JSON_OPTION, ago, fail, say, show, show_json, show_list
from holdfast.cli.tables import Column
from holdfast.wire.api.accounts import TokenCreated
from holdfast.wire.api.call import Refusal

_COLUMNS: Final = (
    Column("id"),
    Column("name", least=16),
    Column("scope"),
    Column("account", drop=2),
    Column("made", drop=3),
    Column("last used", drop=1),
    Column("state"),
    Column("expires", drop=1),
)

app = typer.Typer(no_args_is_help=True, help="API tokens: make, list, revoke.")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")] = "cli",
    scope: Annotated[str, typer.Option(help="owner or operator.")] = "owner",
    account: Annotated[str, typer.Option(help="Whose things an owner's token sees.")] = "",
    days: Annotated[int, typer.Option(min=0, help="Days until it expires; 0 is never.")] = 0,
    as_json: bool = JSON_OPTION,
) -> None:
    """Make a token. It is printed once and cannot be shown again."""
    if scope not in {"owner", "operator"}:
        fail(f"--scope {scope!r}: want owner or operator", code=2)
    made = _make(name, scope, account, days)
    if as_json:
        show_json(made)
        return
    say("This token is shown once; keep it safe:")
    show(made.token)


@app.command("list")
def list_(as_json: bool = JSON_OPTION) -> None:
    """List tokens, without their secrets."""
    answer = connect().call("token.list")
    rows = (
        (
            t.id,
            t.name,
            t.scope,
            t.account or "all",
            ago(t.created_at),
            ago(t.last_used_at),
            "damaged" if t.damaged else "revoked" if t.revoked_at else "in use",
            ago(t.expires_at) if t.expires_at else "",
        )
        for t in answer.items
    )
    show_list(answer, _COLUMNS, rows, empty="No tokens.", as_json=as_json)


@app.command()
def revoke(
    token_id: Annotated[
        str, typer.Argument(metavar="ID", help="The token's id, or how it begins.")
    ],
    as_json: bool = JSON_OPTION,
) -> None:
    """Revoke a token; it stops working within 5 s everywhere."""
    plane = connect()
    listed = [t.id for t in plane.call("token.list").items]
    token_id = pick(token_id, listed, what="token", where="holdfast token list")
    answer = plane.call("token.revoke", path={"id": token_id})
    if as_json:
        show_json(answer)
    else:
        say(f"Revoked {answer.name}")


def _make(name: str, scope: str, account: str, days: int) -> TokenCreated:
    """Create a token in the store of this machine."""
    # A slow import, needed here only.
    import asyncio  # noqa: PLC0415

    from holdfast.accounts.directory import LOCAL_ACCOUNT  # noqa: PLC0415
    from holdfast.accounts.views import token_view  # noqa: PLC0415
    from holdfast.plane.wiring.local_admin import make_token, open_directory  # noqa: PLC0415

    async def make() -> TokenCreated:
        async with open_directory(settings_or_fail()) as directory:
            secret, token = await make_token(
                directory,
                name,
                scope="operator" if scope == "operator" else "owner",
                account=None if scope == "operator" else account or LOCAL_ACCOUNT,
                life_s=days * 86_400 or None,
            )
            return TokenCreated(token=secret, view=token_view(token))

    try:
        return asyncio.run(make())
    except Refusal as refusal:
        fail(refusal.problem.message, fix=refusal.problem.fix)
    except OSError as error:
        fail(f"the data folder cannot be used: {error}", fix="set HOLDFAST_HOME to one you own")
