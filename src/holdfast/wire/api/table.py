"""The whole table: every route of the plane, hot ones first.

Importing it checks it, so that a row that could never be reached fails the first test and not the
first user.
"""

from __future__ import annotations

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
from holdfast.wire.api.rows import check
from holdfast.wire.api.town_board import TOWN_BOARD
from holdfast.wire.api.town_debug import TOWN_DEBUG
from holdfast.wire.api.town_tools import TOWN_TOOLS
from holdfast.wire.api.town_work import TOWN_WORK
from holdfast.wire.api.towns import TOWNS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from holdfast.wire.api.endpoint import Endpoint

ENDPOINTS: Final[tuple[Endpoint, ...]] = check(
    (
        *CONTROLLER, *CLAWMETRY, *GRADATA, *INSTANCES, *CARE, *PAIRING, *CONSENT, *BRAINS,
        *CONTENT, *BROWSER_KEYS, *COSTS, *BUDGETS, *TOWNS, *TOWN_WORK, *TOWN_BOARD, *TOWN_TOOLS,
        *TOWN_DEBUG, *PLANE, *ACCOUNTS, *PAGES,
    )
)  # fmt: skip

by_name: Final[Mapping[str, Endpoint]] = MappingProxyType({row.name: row for row in ENDPOINTS})
"""Every row by its name."""
