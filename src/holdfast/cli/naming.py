"""References to things: by id, by name, or by the beginning of the id.

A prefix is accepted only while it is unambiguous; otherwise it is refused with the candidates.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from uuid import UUID

from holdfast.cli.connection import Connection
from holdfast.cli.output import EXIT_MISSING, fail
from holdfast.wire.api.content import NodeList, NodeView
from holdfast.wire.api.instances import InstanceList

SHORTEST: Final = 4
"""Minimum characters of a prefix."""
_NAMED_MAX: Final = 5
_NODES: Final = "holdfast nodes list"


def pick(given: str, known: Iterable[str], *, what: str, where: str) -> str:
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
    return fail(f"no {what} has the id {given!r}", fix=fix, code=EXIT_MISSING)


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


def observed_nodes(plane: Connection, query: dict[str, str]) -> tuple[NodeView, ...]:
    """Return every node that a query asks for."""
    found: list[NodeView] = []
    after = ""
    while True:
        paged = {**query, "limit": "500"} | ({"after": after} if after else {})
        page: NodeList = plane.call("content.nodes", query=paged)
        found += page.items
        after = page.next
        if not after:
            return tuple(found)


def resolve_node(plane: Connection, name: str) -> str:
    """Return the id of a node by its id or how it begins, its name, or its instance's."""
    named: NodeList = plane.call("content.nodes", query={"name": name, "limit": "6"})
    if len(named.items) == 1:
        return named.items[0].id
    if named.items:
        ids = ", ".join(one.id for one in named.items)
        fail(f"more than one node is called {name!r}", fix=f"use an id: {ids}")
    if name.startswith("nd_"):
        return pick(name, (one.id for one in observed_nodes(plane, {})), what="node", where=_NODES)
    return fail(f"no node is called {name!r}", fix=f"{_NODES} shows them", code=EXIT_MISSING)


def _is_id(text: str) -> bool:
    """Return whether a text has the form of an instance's id."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
