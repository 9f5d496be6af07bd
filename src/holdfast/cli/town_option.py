"""What commands about towns share: which town is meant, completion, and answers not taken yet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final

import typer

from holdfast.cli.connection import Connection, connect
from holdfast.cli.output import EXIT_MISSING, EXIT_PENDING, EXIT_USAGE, fail, say, show_json
from holdfast.wire.api.operations import Pending
from holdfast.wire.api.towns import TownList, TownView

VARIABLE: Final = "HOLDFAST_TOWN"
_NAMED_MAX: Final = 5


def _complete(endpoint: str, *, of_town: bool) -> Callable[[typer.Context, str], list[str]]:
    """Return what completes names in a shell: those of a list, none where it cannot be read."""

    def complete(context: typer.Context, begun: str) -> list[str]:
        try:
            plane = connect()
            path = {}
            if of_town:
                path = {"id": town_of(plane, str(context.params.get("town") or ""))}
            page = plane.call(endpoint, path=path, query={"limit": "500"})
        except (Exception, SystemExit):  # noqa: BLE001  a shell completes nothing then
            return []
        found = (getattr(one, "name", "") or one.id for one in page.items)
        return [name for name in found if name.startswith(begun)]

    return complete


complete_town: Final = _complete("towns.list", of_town=False)
complete_rig: Final = _complete("towns.rigs", of_town=True)
complete_agent: Final = _complete("towns.agents", of_town=True)
complete_bead: Final = _complete("towns.beads", of_town=True)
complete_convoy: Final = _complete("towns.convoys", of_town=True)

Town = Annotated[
    str,
    typer.Option(
        "--town", "-t", envvar=VARIABLE, autocompletion=complete_town,
        help="The town's id or name; needless where there is one town.",
    ),
]  # fmt: skip
TownName = Annotated[
    str,
    typer.Argument(
        metavar="[TOWN]", envvar=VARIABLE, autocompletion=complete_town,
        help="The town's id or name; needless where there is one town.",
    ),
]  # fmt: skip
Bead = Annotated[
    str, typer.Argument(autocompletion=complete_bead, help="The bead's id, or how it begins.")
]
Rig = Annotated[str, typer.Argument(autocompletion=complete_rig, help="The rig's name.")]
Agent = Annotated[
    str, typer.Argument(autocompletion=complete_agent, help="The agent's id or name.")
]
Convoy = Annotated[
    str, typer.Argument(autocompletion=complete_convoy, help="The convoy's id, or how it begins.")
]


def town_of(plane: Connection, given: str) -> str:
    """Return the town that is meant: the one that was named, or the only one; else exit."""
    if given:
        return given
    found: TownList = plane.call("towns.list", query={"limit": "500"})
    live = [one for one in found.items if not one.closed]
    if len(live) == 1:
        return live[0].id
    if not live:
        return fail("there is no town", fix="holdfast town create NAME", code=EXIT_MISSING)
    names = ", ".join(one.name for one in live[:_NAMED_MAX])
    return fail(
        f"there are {len(live)} towns",
        fix=f"name one: --town NAME, or {VARIABLE}; of {names}",
        code=EXIT_USAGE,
    )


def taken(answer: Any, *, as_json: bool) -> Any:
    """Return an answer, after printing it where JSON is asked for; exit where it is not taken."""
    if as_json:
        show_json(answer)
    if isinstance(answer, Pending):
        if not as_json:
            say(f"Accepted, not taken yet: holdfast operation show {answer.operation}")
        raise typer.Exit(EXIT_PENDING)
    return answer


def state_of(town: TownView) -> str:
    """Return what keeps a town from handing out work, or that nothing does."""
    if town.closed:
        return "closed"
    held = [
        "draining" if town.draining else "",
        "" if town.breaker == "closed" else f"breaker {town.breaker.replace('_', ' ')}",
        "budget used up" if town.exhausted else "",
    ]
    return ", ".join(one for one in held if one) or "ok"
