"""Endpoints that controllers call: the check-in and the long poll.

The edge only carries the credentials through: the order of a check-in's answers is given
(compat/check-in.md), so its handler looks at both credentials itself. A check-in is telemetry, not
an order by a person, which is why it is not a `mutates` row.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from holdfast.wire.api.endpoint import Param, look, order
from holdfast.wire.controller.checkin import CheckIn, Name
from holdfast.wire.controller.directive import Directive
from holdfast.wire.limits import CHECKIN_BODY_BYTES_MAX

INTENT_PATH: Final = "/api/controller/intent"


class MachineIntent(Struct, frozen=True, kw_only=True, rename="camel"):
    """A caller of the controller wants to see the node of its machine."""

    sandbox_id: Name


class MachineIntentAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """It is known; `already_started` says that it was before."""

    ok: bool
    already_started: bool


CONTROLLER: Final = (
    order(
        "controller.checkin", "/api/controller/checkin", CheckIn, Directive,
        "Report a machine's state; answered by a directive where the sender can read one.",
        scope="machine", statuses=(200, 204, 503), body_bytes_max=CHECKIN_BODY_BYTES_MAX,
        mutates=False, hot=True,
    ),
    look(
        "controller.wake", "/api/controller/wake", Directive,
        "Wait for a directive newer than the one known; 204 when none came in time.",
        Param("sandbox", r"[A-Za-z0-9_-]{1,128}", "The machine's sandbox id.", required=True),
        Param("revision", r"[0-9]{1,16}", "The revision already known."),
        Param("wait_s", r"[0-9]{1,2}", "How long to wait, at most 30 s."),
        scope="machine", statuses=(200, 204, 503), hot=True,
    ),
    order(
        "controller.intent", INTENT_PATH, MachineIntent, MachineIntentAnswer,
        "Pass on that whoever holds the controller's token wants to see the machine's node.",
        scope="machine", statuses=(200, 404, 409, 503), mutates=False,
    ),
)  # fmt: skip
