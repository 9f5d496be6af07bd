"""`holdfast instance channels` and `secrets`: which tokens are set, never a token."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli.arguments import parse_pairs, read_secrets
from holdfast.cli.connection import connect
from holdfast.cli.naming import Name, resolve
from holdfast.cli.output import EXIT_PENDING, JSON_OPTION, say, show, show_facts, show_json
from holdfast.wire.api.operations import Pending
from holdfast.wire.api.secrets import SecretList, SecretsPatch


def channels(name: Name, as_json: bool = JSON_OPTION) -> None:
    """Show which channels have their tokens, and what each takes."""
    plane = connect()
    found: SecretList = plane.call("instance.secrets", path={"id": resolve(plane, name)})
    if as_json:
        show_json(found.groups)
        return
    show_facts(
        (field.key, f"{group.label}: {'set' if field.is_set else 'not set'}")
        for group in found.groups
        for field in group.fields
    )
    _hint(found)


def secrets(
    name: Name,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="KEY=- reads from standard input, KEY=@FILE from a file; repeatable. KEY is a"
            " channel's field (telegramBotToken) or a variable (MY_API_KEY).",
        ),
    ] = None,
    unset: Annotated[list[str] | None, typer.Option(help="KEY, to be removed; repeatable.")] = None,
    path: Annotated[
        list[str] | None,
        typer.Option(
            help="VARIABLE=PLACE: where the agent's configuration refers to it; an empty place"
            " takes it back."
        ),
    ] = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Show which secrets are set, or set and remove them."""
    plane = connect()
    where = {"id": resolve(plane, name)}
    places = parse_pairs(path or (), option="--path")
    body = SecretsPatch(
        secrets={**read_secrets(set_ or (), option="--set"), **dict.fromkeys(unset or ())},
        config_paths={key: value or None for key, value in places.items()},
    )
    if body.secrets or body.config_paths:
        answer = plane.call("instance.set-secrets", path=where, body=body)
    else:
        answer = plane.call("instance.secrets", path=where)
    if as_json:
        show_json(answer)
    if isinstance(answer, Pending):
        if not as_json:
            say(f"Accepted, not taken yet: holdfast operation show {answer.operation}")
        raise typer.Exit(EXIT_PENDING)
    if not as_json:
        _show(answer)


def _show(found: SecretList) -> None:
    """Print the names of what is set."""
    fields = (field for group in found.groups for field in group.fields if field.is_set)
    show_facts(
        [(field.key, f"(set, as {field.variable})") for field in fields]
        + [
            (one.name, f"(set, at {one.config_path})" if one.config_path else "(set)")
            for one in found.custom
        ]
    )
    if not found.configured:
        show("No secrets are set.")
    _hint(found)


def _hint(found: SecretList) -> None:
    if found.restart_needed:
        say("Changed since its launch: holdfast instance restart applies the changes.")
