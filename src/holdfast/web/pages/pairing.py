"""The page of the inbox: the pairing requests of the whole fleet."""

from __future__ import annotations

from typing import Final

from holdfast.letters import topics
from holdfast.web.api import Missing
from holdfast.web.limits import INBOX_ITEMS, LOOK_S, NAMES_MAX, RECENT_SHOWN
from holdfast.web.live_page import Redrawn
from holdfast.web.page import Cache, Context, Names, Page
from holdfast.web.parts.inbox import history, inbox
from holdfast.wire.api.call import Call
from holdfast.wire.api.instances import InstanceDetail
from holdfast.wire.api.pairing import PairingInbox


class InstanceNames(Cache[str, str]):
    """Names of instances by id, for the notes of decisions: a name is kept for life."""

    most = NAMES_MAX


async def load(context: Context, call: Call) -> Names:
    """Return the inbox, with what was decided where something changed lately."""
    query = {"limit": str(INBOX_ITEMS)}
    found = await context.api.ask(call, "pairing.inbox", PairingInbox, query=query)
    names = context.cache(InstanceNames)
    for each in found.items:
        names.keep(each.instance, each.instance_name)
    recent = context.hub.recent(call.principal)
    histories = {}
    for instance in dict.fromkeys((*recent, *list(found.counts)[:RECENT_SHOWN])):
        entries = await history(context, call, instance)
        if not isinstance(entries, Missing):
            histories[instance] = (await _name(context, call, instance), entries)
    return {"inbox": inbox(found, histories, now_ms=call.now_ms)}


async def _name(context: Context, call: Call, instance: str) -> str:
    """Return an instance's name, or its id if the name cannot be read."""
    names = context.cache(InstanceNames)
    kept = names.get(instance)
    if kept is not None:
        return kept
    path = {"id": instance}
    found = await context.api.attempt(call, "instance.get", InstanceDetail, path=path)
    if isinstance(found, Missing):
        return instance
    return names.keep(instance, found.instance.name)


def _look_s(names: Names, now_ms: int) -> float:
    """Return the time to the next look: until the first request expires, which is no change."""
    ends_ms = names["inbox"].ends_ms()
    return LOOK_S if ends_ms is None else min(LOOK_S, max(0.01, (ends_ms - now_ms) / 1_000))


PAGE: Final = Page(
    "pairing",
    "pairing.html",
    load,
    live=Redrawn(frozenset({topics.PAIRING}), elements=("inbox", "inbox-said"), look_s=_look_s),
)
