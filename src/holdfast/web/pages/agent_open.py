"""The page on the way to an agent's own: its script gives the order that opens it.

It is an order and not a redirect, because the session's cookie alone must not open an agent.
"""

from __future__ import annotations

from typing import Final

from holdfast.web.page import Context, Names, Page
from holdfast.wire.api.call import Call
from holdfast.wire.api.instances import InstanceDetail


async def load(context: Context, call: Call) -> Names:
    """Return the instance whose agent is opened; refuse (404) one that the reader cannot see."""
    found = await context.api.ask(call, "instance.get", InstanceDetail, path=call.path)
    return {"view": found.instance}


PAGE: Final = Page("agent-open", "agent_open.html", load, section="fleet")
