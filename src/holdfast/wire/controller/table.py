"""The controller's whole endpoint table: every control route, checked when it is imported."""

from __future__ import annotations

from typing import Any, Final

from holdfast.wire.api.rows import check
from holdfast.wire.controller.agent import GATEWAY
from holdfast.wire.controller.config import CONFIG
from holdfast.wire.controller.doctor import DOCTOR
from holdfast.wire.controller.endpoint import ControllerEndpoint
from holdfast.wire.controller.files import FILE_CAPABILITIES, FILES
from holdfast.wire.controller.machine import MACHINE, PROXY
from holdfast.wire.controller.observing import OBSERVING
from holdfast.wire.controller.pairing import PAIRING
from holdfast.wire.controller.work import WORK

ROUTES: Final[tuple[ControllerEndpoint[Any, Any], ...]] = (
    *MACHINE, *GATEWAY, *CONFIG, *PAIRING, *PROXY, *DOCTOR, *FILES, *OBSERVING, *WORK,
)  # fmt: skip
"""Every route, below either prefix."""

check(ROUTES)

CAPABILITIES: Final = tuple(
    sorted(
        {row.capability for row in ROUTES if row.capability}
        | FILE_CAPABILITIES
        | {"controller.directive"}
    )
)
"""What a controller with all of them can do, by the names of compat/controller.md and our own."""
