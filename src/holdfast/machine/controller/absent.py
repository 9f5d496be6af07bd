"""Routes of the contract that belong to another product, answered as what they are: not offered.

The code tells a control plane that nothing is wrong with this controller and that a newer one
would not have them either. They announce no capability.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from holdfast.machine.controller.desk import Desk, Route
from holdfast.machine.controller.replies import problem

NOT_OFFERED: Final = "not_offered"

_PATHS: Final = (
    "config/tools-md/{rest:.*}",
    "config/agents",
    "config/agents/{rest:.*}",
    "files/import-openclaw-workspace",
    "bot-identity",
    "user-profile",
    "cli-run/{rest:.*}",
    "morning-briefing/{rest:.*}",
    "google-oauth/{rest:.*}",
    "hooks/{rest:.*}",
    "gmail-pubsub",
    "clawmetry-dashboard-url",
    "clawmetry-start-sync",
    "kilo-chat/{rest:.*}",
)


async def _refuse(_desk: Desk, _request: web.Request) -> web.Response:
    return problem(404, "This controller does not offer that", NOT_OFFERED)


ABSENT: Final = tuple(Route("*", path, _refuse) for path in _PATHS)
"""One row for each, whatever the method."""
