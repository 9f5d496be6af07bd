"""Routing from method and path to a row: a dictionary for exact paths, patterns for the rest.

Starlette scans its routes one by one, 15 µs for forty; a check-in is found here by one dictionary
look-up. Patterns are grouped by method and number of segments.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from holdfast.wire.api.call import Handler
from holdfast.wire.api.endpoint import Endpoint
from holdfast.wire.api.rows import path_names


@dataclass(frozen=True, slots=True)
class Route:
    """A row with its handler and precomputed data."""

    row: Endpoint
    handler: Handler
    decoder: msgspec.json.Decoder[Any] | None
    query: Mapping[str, re.Pattern[str]]
    required: frozenset[str]
    takes_any: bool
    pattern: re.Pattern[str] | None


class Found(NamedTuple):
    """The route of a request and the parameters in its path."""

    route: Route
    path: dict[str, str]


def _pattern(row: Endpoint) -> re.Pattern[str] | None:
    """Return the pattern of a path with parameters, or None without any."""
    names = path_names(row.path)
    if not names:
        return None
    patterns = {param.name: param.pattern for param in row.params}
    parts = re.split(r"\{([a-z_]+)\}", row.path)
    holes = [f"(?P<{name}>{patterns[name]})" for name in parts[1::2]]
    text = re.escape(parts[0])
    for hole, plain in zip(holes, parts[2::2], strict=True):
        text += hole + re.escape(plain)
    return re.compile(text)


def make_route(row: Endpoint, handler: Handler) -> Route:
    """Return the route of a row."""
    in_path = set(path_names(row.path))
    query = {p.name: re.compile(p.pattern) for p in row.params if p.name not in in_path}
    return Route(
        row=row,
        handler=handler,
        decoder=None if row.request is None else msgspec.json.Decoder(row.request),
        query=query,
        takes_any=row.request is not None and _message_takes_any(row.request),
        required=frozenset(p.name for p in row.params if p.required and p.name in query),
        pattern=_pattern(row),
    )


@cache  # a process that makes a plane again, as tests do, asks about the same messages
def _message_takes_any(message: type) -> bool:
    return _takes_any(inspect.type_info(message))


def _takes_any(kind: inspect.Type) -> bool:
    """Return whether JSON of any form, and so of any depth, fits somewhere in a type."""
    match kind:
        case inspect.AnyType():
            return True
        case inspect.StructType():
            return any(_takes_any(each.type) for each in kind.fields)
        case inspect.DictType():
            return _takes_any(kind.value_type)
        case inspect.UnionType():
            return any(map(_takes_any, kind.types))
        case inspect.VarTupleType() | inspect.ListType():
            return _takes_any(kind.item_type)
        case _:
            return False


class Routes:
    """Every route; raises ValueError for a missing handler or one without a row."""

    def __init__(self, table: Iterable[Endpoint], handlers: Mapping[str, Handler]) -> None:
        rows = tuple(table)
        names = {row.name for row in rows}
        missing, extra = sorted(names - set(handlers)), sorted(set(handlers) - names)
        if missing or extra:
            raise ValueError(f"endpoints without handler: {missing}; without row: {extra}")
        self._exact: dict[tuple[str, str], Found] = {}
        self._patterns: dict[str, list[Route]] = {}
        self._methods: dict[str, set[str]] = {}
        for row in rows:
            route = make_route(row, handlers[row.name])
            if route.pattern is None:
                self._exact[row.method, row.path] = Found(route, {})
                self._methods.setdefault(row.path, set()).add(row.method)
            else:
                self._patterns.setdefault(row.method, []).append(route)

    def find(self, method: str, path: str) -> Found | None:
        """Return the route of a method and path, and the parameters in the path."""
        exact = self._exact.get((method, path))
        if exact is not None:
            return exact
        for route in self._patterns.get(method, ()):
            match = route.pattern.fullmatch(path) if route.pattern is not None else None
            if match is not None:
                return Found(route, match.groupdict())
        return None

    def methods(self, path: str) -> list[str]:
        """Return the methods of a path, in order; none where there is no such path."""
        found = set(self._methods.get(path, ()))
        for method, routes in self._patterns.items():
            if any(r.pattern is not None and r.pattern.fullmatch(path) for r in routes):
                found.add(method)
        if "GET" in found:
            found.add("HEAD")
        return sorted(found | {"OPTIONS"}) if found else []
