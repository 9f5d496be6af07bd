"""What people call the machines of instances: the names of all instances, in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final, Protocol

from holdfast.instances.definition import KIND
from holdfast.wire.api.call import Call, Handler, Refusal, Reply
from holdfast.wire.api.endpoint import Endpoint
from holdfast.wire.api.instances import InstanceView

_ABOUT_ONE: Final = ("/api/instances/{id}", "/instances/{id}")
_NAMED_MAX: Final = 5
_NAMES: Final = frozenset({"owner", "operator"})
"""Scopes of callers who know instances by name; machines, which call often, do not."""


class Follows(Protocol):
    """What tells of each instance that is read or changed."""

    def listen(self, saw: Callable[[str, InstanceView | None], None]) -> None:
        """Call `saw` with each instance that is read or changed."""
        ...


class InstanceNames:
    """The names by ids, and back; a name is unique in its account only.

    In the first seconds of a plane, while rows are read, some are missing.
    """

    def __init__(self, fleet: Follows) -> None:
        """Follow the fleet."""
        self._names: dict[str, tuple[str, str]] = {}
        self._ids: dict[str, dict[str, None]] = {}
        fleet.listen(self._saw)

    def __call__(self, instance: str) -> str:
        """Return the name of an instance; empty for one that is not known, or gone."""
        return self._names.get(instance, ("", ""))[1]

    def seen_by(self, instance: str, account: str | None) -> str:
        """Return the name of an instance of the account, or of any for None; else nothing."""
        owner, name = self._names.get(instance, ("", ""))
        return name if account in {None, owner} else ""

    def find(self, given: str, account: str | None) -> str:
        """Return the id of the instance of this id or name; what was given if there is none.

        Only the account's, or all for None; refuse (400) a name that several accounts have.
        """
        known = self._names.get(given)
        if known is not None and account in {None, known[0]}:
            return given
        ids = [one for one in self._ids.get(given, ()) if account in {None, self._names[one][0]}]
        if len(ids) > 1:
            text = f"{len(ids)} accounts have an instance called {given}"
            fix = f"use its id: {', '.join(ids[:_NAMED_MAX])}"
            raise Refusal(400, "ambiguous_name", text, field="id", fix=fix)
        return ids[0] if ids else given

    def resolve(self, row: Endpoint, call: Call) -> tuple[Call, str]:
        """Return the call with ids where names stood, and the name of the instance in its path."""
        if row.scope not in _NAMES:
            return call, ""
        account, path, query = call.principal.account, dict(call.path), dict(call.query)
        in_path = row.path.startswith(_ABOUT_ONE) or path.get("kind") == KIND
        if in_path:
            path["id"] = self.find(path["id"], account)
        # A page shows what was typed, and asks endpoints that are resolved too.
        if row.kind == "json" and query.get("instance"):
            query["instance"] = self.find(query["instance"], account)
        known = self._names.get(path["id"]) if in_path else None
        is_theirs = known is not None and account in {None, known[0]}
        return replace(call, path=path, query=query), known[1] if known and is_theirs else ""

    def _saw(self, instance: str, view: InstanceView | None) -> None:
        known = self._names.pop(instance, None)
        if known is not None:
            self._ids[known[1]].pop(instance, None)
            if not self._ids[known[1]]:
                del self._ids[known[1]]
        if view is not None:
            self._names[instance] = view.account, view.name
            self._ids.setdefault(view.name, {})[instance] = None


def by_name(
    handlers: Mapping[str, Handler], rows: Iterable[Endpoint], names: InstanceNames
) -> dict[str, Handler]:
    """Return the handlers, which take the name of an instance where its id stands.

    For pages, which ask them without the edge.
    """
    return dict(handlers) | {
        row.name: partial(_resolved, handlers[row.name], row, names)
        for row in rows
        if row.name in handlers
    }


async def _resolved(handler: Handler, row: Endpoint, names: InstanceNames, call: Call) -> Reply:
    return await handler(names.resolve(row, call)[0])
