"""The way from an instance to its node: what is being waited for until there is one."""

from __future__ import annotations

from typing import Final

from holdfast.letters import topics
from holdfast.web.limits import LOOK_S, REDRAW_S
from holdfast.web.live_page import Redrawn
from holdfast.web.page import Context, Names, Page
from holdfast.web.parts.observer import observer_words
from holdfast.web.parts.words import STATUSES
from holdfast.wire.api.call import Call
from holdfast.wire.api.consent import ConsentList
from holdfast.wire.api.instances import InstanceDetail, Status

_WAITS: Final[dict[Status, str]] = {
    "provisioned": "It has never been started. Its machine registers within a minute of its start.",
    "stopped": "It is stopped. Its machine registers within a minute of its next start.",
    "starting": "Its machine is starting, and registers within a minute.",
    "restarting": "Its machine is restarting, and registers within a minute.",
    "running": "It runs, and its observer has not registered yet.",
}
_ENDED: Final[dict[Status, str]] = {
    "destroying": "It is being destroyed, and nothing ever left it.",
    "destroyed": "It was destroyed, and nothing ever left it.",
}
_OTHERWISE: Final = "Its machine registers within a minute of its next start."


async def load(context: Context, call: Call) -> Names:
    """Return the instance, and its node or what is being waited for."""
    path = {"id": call.path["id"]}
    found = await context.api.ask(call, "instance.get", InstanceDetail, path=path)
    query = {"instance": call.path["id"]}
    nodes = await context.api.ask(call, "consent.list", ConsentList, query=query)
    view = found.instance
    ended = _ENDED.get(view.status, "")
    return {
        "id": view.id,
        "name": view.name,
        "node": nodes.items[0].id if nodes.items else "",
        "badge_of": STATUSES[view.status],
        "ended": ended,
        "waits": "" if ended else _WAITS.get(view.status, _OTHERWISE),
        "observer": observer_words(found.observer),
    }


PAGE: Final = Page(
    "observability",
    "observability.html",
    load,
    section="fleet",
    live=Redrawn(
        frozenset({topics.NODE, topics.INSTANCE}),
        ("observability",),
        look_s=LOOK_S,
        rest_s=REDRAW_S,
    ),
)
