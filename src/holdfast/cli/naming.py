"""References to things: by id, by name, or by the beginning of the id.

A prefix is accepted only while it is unambiguous; otherwise it is refused with the candidates.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Final
from uuid import UUID

import typer

from holdfast.cli.connection import Connection
from holdfast.cli.output import EXIT_MISSING, fail
from holdfast.wire.api.consent import NodeConsent
from holdfast.wire.api.content import NodeList, NodeView
from holdfast.wire.api.instances import InstanceList

Name = Annotated[str, typer.Argument(help="Its id, its name, or how its id begins.")]
"""An instance, as a person names it."""

SHORTEST: Final = 4
"""Minimum characters of a prefix."""
_NAMED_MAX: Final = 5
NODE_ID: Final = "nd_"
"""How ids of nodes begin."""


def pick(given: str, known: Iterable[str], *, what: str, where: str, by: str = "id") -> str:
    """Return the one id that `given` is or begins; exit with an error if there is none."""
    ids = list(known)
    if given in ids:
        return given
    fits = [one for one in ids if len(given) >= SHORTEST and one.startswith(given)]
    if len(fits) == 1:
        return fits[0]
    if fits:
        return fail(
            f"{given!r} could be any of {', '.join(fits[:_NAMED_MAX])}", fix="give more of the id"
        )
    fix = f"{where} shows what there is"
    return fail(f"no {what} has the {by} {given!r}", fix=fix, code=EXIT_MISSING)


def resolve(plane: Connection, name: str, *, gone: bool = False) -> str:
    """Return the id of the instance of this id or name, or whose id begins so.

    Exit with an error if there is none; with `gone`, a whole id is accepted unchecked, because
    destroyed instances are not listed and can still be queried.
    """
    if _is_id(name) and gone:
        return name
    page: InstanceList = plane.call("instance.list", query={"text": name, "limit": "500"})
    exact = [item.id for item in page.items if name in {item.id, item.name}]
    if len(exact) > 1:
        fail(
            f"{len(exact)} accounts have an instance called {name}",
            fix=f"use its id: {', '.join(exact[:_NAMED_MAX])}",
        )
    if exact:
        return exact[0]
    begun = [item for item in page.items if len(name) >= SHORTEST and item.id.startswith(name)]
    if len(begun) == 1:
        return begun[0].id
    if begun:
        named = ", ".join(f"{item.id} ({item.name})" for item in begun[:_NAMED_MAX])
        return fail(f"{name!r} could be any of {named}", fix="give more of the id")
    close = ", ".join(item.name for item in page.items[:_NAMED_MAX])
    hint = f"did you mean {close}?" if close else "holdfast instance list shows what there is"
    return fail(f"no instance has the id or name {name!r}", fix=hint, code=EXIT_MISSING)


def resolve_node(plane: Connection, name: str) -> str:
    """Return the id of a node by its id or how it begins, its name, or its instance's."""
    found: NodeList = plane.call(
        "content.nodes", query={"name": name, "limit": str(_NAMED_MAX + 1)}
    )
    if not found.items and name.startswith(NODE_ID):
        found = plane.every("content.nodes")
    return pick_node(name, found.items, where="holdfast nodes list")


def pick_node(name: str, known: Sequence[NodeView | NodeConsent], *, where: str) -> str:
    """Return the id of the one node of this id, name or instance, or whose id begins so."""
    if any(one.id == name for one in known):
        return name
    named = [one.id for one in known if name in {one.title, one.name, one.instance}]
    if len(named) == 1:
        return named[0]
    if named:
        ids = ", ".join(named[:_NAMED_MAX])
        fail(f"more than one node is called {name!r}", fix=f"use an id: {ids}")
    return pick(name, (one.id for one in known), what="node", where=where, by="id or name")


def _is_id(text: str) -> bool:
    """Return whether a text has the form of an instance's id."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
