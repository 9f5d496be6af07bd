"""The whole table: every route of the plane, hot ones first.

Importing it checks it, so that a row that could never be reached fails the first test and not the
first user.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from holdfast.wire.api.accounts import ACCOUNTS
from holdfast.wire.api.brains import BRAINS
from holdfast.wire.api.browser_keys import BROWSER_KEYS
from holdfast.wire.api.budgets import BUDGETS
from holdfast.wire.api.clawmetry import CLAWMETRY
from holdfast.wire.api.consent import CONSENT
from holdfast.wire.api.content import CONTENT
from holdfast.wire.api.controller import CONTROLLER
from holdfast.wire.api.costs import COSTS
from holdfast.wire.api.ingest import GRADATA
from holdfast.wire.api.instances import INSTANCES
from holdfast.wire.api.maintenance import CARE
from holdfast.wire.api.pages import PAGES
from holdfast.wire.api.pairing import PAIRING
from holdfast.wire.api.plane import PLANE
from holdfast.wire.api.towns import TOWNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from holdfast.wire.api.endpoint import Endpoint

_PENDING: Final = 202
_REFUSED: Final = 400
_HOLE: Final = re.compile(r"\{([a-z_]+)\}")


def path_names(path: str) -> tuple[str, ...]:
    """Return the names of the parameters in a path, in order."""
    return tuple(_HOLE.findall(path))


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


ENDPOINTS: Final[tuple[Endpoint, ...]] = check(
    (
        *CONTROLLER, *CLAWMETRY, *GRADATA, *INSTANCES, *CARE, *PAIRING, *CONSENT, *BRAINS,
        *CONTENT, *BROWSER_KEYS, *COSTS, *BUDGETS, *TOWNS, *PLANE, *ACCOUNTS, *PAGES,
    )
)  # fmt: skip

by_name: Final[Mapping[str, Endpoint]] = MappingProxyType({row.name: row for row in ENDPOINTS})
"""Every row by its name."""
