"""What holds for the rows of every endpoint table, the plane's and the controller's.

Apart from the tables, so that a controller, or a tool that calls the plane, loads no more messages
than its own.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from holdfast.wire.api.endpoint import Endpoint

_PENDING: Final = 202
_REFUSED: Final = 400
_HOLE: Final = re.compile(r"\{([a-z_]+)\}")


def path_names(path: str) -> tuple[str, ...]:
    """Return the names of the parameters in a path, in order."""
    return tuple(_HOLE.findall(path))


def filled(path: str, given: Mapping[str, str]) -> str:
    """Return a path with its parameters filled in."""
    return _HOLE.sub(lambda hole: given[hole[1]], path)


def shape(path: str) -> str:
    """Return the path with nameless holes: two rows of one shape and method would collide."""
    return _HOLE.sub("{}", path)


def check(rows: Iterable[Endpoint]) -> tuple[Endpoint, ...]:
    """Return the rows, hot ones first; raise ValueError naming the first row that is wrong."""
    listed = sorted(rows, key=lambda row: not row.hot)
    names: set[str] = set()
    routes: set[tuple[str, str]] = set()
    for row in listed:
        route = (row.method, shape(row.path))
        if row.name in names or route in routes:
            message = f"endpoint {row.name} ({row.method} {row.path}): name or route is taken"
            raise ValueError(message)
        _check_row(row)
        names.add(row.name)
        routes.add(route)
    return tuple(listed)


def _check_row(row: Endpoint) -> None:
    """Raise ValueError where a row contradicts itself."""
    declared = {param.name: param for param in row.params}
    for param in row.params:
        re.compile(param.pattern)
    undeclared = [name for name in path_names(row.path) if name not in declared]
    complaints = {
        f"declares no parameter {undeclared}": bool(undeclared),
        "must begin with a slash": not row.path.startswith("/"),
        "is hot, so its path must be exact": row.hot and "{" in row.path,
        "takes a body with GET": row.request is not None and row.method == "GET",
        "changes something with GET": row.mutates and row.method == "GET",
        "names a parameter twice": len(declared) != len(row.params),
        "has no summary": not row.summary,
        "has no status of success": not any(status < _REFUSED for status in row.statuses),
        "answers 202 without a type": (_PENDING in row.statuses) != (row.pending is not None),
    }
    for complaint, is_wrong in complaints.items():
        if is_wrong:
            message = f"endpoint {row.name} ({row.method} {row.path}): {complaint}"
            raise ValueError(message)
