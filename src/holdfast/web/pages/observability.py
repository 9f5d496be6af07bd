"""The way from an instance to its node: what is being waited for until there is one."""

from __future__ import annotations

from typing import Final

from holdfast.letters import topics
from holdfast.web.api import Missing
from holdfast.web.limits import LOOK_S, REDRAW_S
from holdfast.web.live_page import Redrawn
from holdfast.web.page import Context, Names, Page
from holdfast.web.parts.observer import observer_words, observer_work
from holdfast.web.parts.start import phase_words
from holdfast.web.parts.words import status_badge
from holdfast.wire.api.call import Call
from holdfast.wire.api.consent import ConsentList
from holdfast.wire.api.content import NodeDetail
from holdfast.wire.api.costs import CostList
from holdfast.wire.api.instances import InstanceDetail, Status
from holdfast.wire.money import cost_notes, cost_text, tokens_of

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
_OFF: Final = "It registers once an observer runs: put right what is named above, and restart it."
_FAILING: Final = "It registers once its observer runs again, which is tried by itself."
_OTHERWISE: Final = "Its machine registers within a minute of its next start."


async def load(context: Context, call: Call) -> Names:
    """Return the instance, and its node or what is being waited for."""
    path = {"id": call.path["id"]}
    found = await context.api.ask(call, "instance.get", InstanceDetail, path=path)
    query = {"instance": call.path["id"]}
    nodes = await context.api.ask(call, "consent.list", ConsentList, query=query)
    view = found.instance
    node = nodes.items[0].id if nodes.items else ""
    ended = _ENDED.get(view.status, "")
    return {
        "id": view.id,
        "name": view.name,
        "node": node,
        "heard": await _heard(context, call, node) if node else "",
        "costs": await _costs(context, call, node) if node else "",
        "badge_of": status_badge(view),
        "ended": ended,
        "waits": "" if ended else waits_for(found),
        "observer": observer_words(found.observer),
        "work": observer_work(found.observer),
    }


def waits_for(found: InstanceDetail) -> str:
    """Return what has to happen until the machine of an instance registers."""
    status, observer = found.instance.status, found.observer
    if observer is not None and observer.state == "off":
        return _OFF
    if observer is not None and observer.state == "failing":
        return _FAILING
    phase = phase_words(found.start) if found.instance.desired == "running" else ""
    return " ".join(part for part in (_WAITS.get(status, _OTHERWISE), phase) if part)


async def _heard(context: Context, call: Call, node: str) -> str:
    """Return what is waited for until its agent is seen: its first heartbeat, or a yes."""
    found = await context.api.attempt(call, "content.node", NodeDetail, path={"id": node})
    if isinstance(found, Missing) or not found.node.heard_at:
        return "Its first heartbeat has not come yet: within a minute, while its observer runs."
    if not found.node.classes:
        return "Nothing leaves it before its owner says yes."
    return ""


async def _costs(context: Context, call: Call, node: str) -> str:
    """Return what the agent cost in the last 30 days, or why that is not known; empty for none."""
    query = {"by": "node", "node": node}
    found = await context.api.attempt(call, "costs.list", CostList, query=query)
    if isinstance(found, Missing):
        return ""
    if found.closed and not tokens_of(found.total):
        return "What it costs is not known: its owner has not let counters out."
    said = "; ".join((cost_text(found.total) or "nothing", *cost_notes(found.total)))
    return f"Cost of 30 days: {said}."


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
