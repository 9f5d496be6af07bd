"""Nodes, all and one: what may leave each of them, who said so, and the receipts."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.letters import topics
from holdfast.web.api import Missing, unless_missing
from holdfast.web.limits import LOOK_S, NODES_LISTED, RECEIPTS_SHOWN, REDRAW_S
from holdfast.web.live_page import Redrawn
from holdfast.web.page import Context, Names, Page, paging
from holdfast.web.parts.moments import Moment, moment, parse_ms
from holdfast.web.parts.observer import observer_words
from holdfast.web.parts.words import Badge
from holdfast.wire.api.call import Call
from holdfast.wire.api.consent import (
    ConsentClass,
    ConsentDetail,
    ConsentEntry,
    ConsentHistory,
    ConsentList,
    ConsentReceipt,
    ConsentState,
    NodeConsent,
    ReceiptList,
)
from holdfast.wire.api.content import NodeDetail
from holdfast.wire.api.instances import InstanceDetail
from holdfast.wire.consent import ContentClass, counted
from holdfast.wire.limits import VIEW_STEP_MS

_STATES: Final[dict[ConsentState, Badge]] = {
    "waiting": Badge("Waiting for a yes", "off", "Nothing may leave it."),
    "sending": Badge("May send", "ok"),
    "refused": Badge("Refused", "off", "It was said no, or everything has expired."),
    "closed": Badge("Closed", "off", "Its instance was destroyed."),
}
_CLASSES: Final = {
    "pending": Badge("not decided", "off", "Nothing of it may leave."),
    "granted": Badge("being signed", "busy", "Granted; a gate opens by the signature."),
    "revoked": Badge("revoked", "off"),
    "expired": Badge("expired", "off"),
}
_IN_FORCE: Final = Badge("may leave", "ok")
_ACTS: Final = {
    "granted": Badge("granted", "ok"),
    "revoked": Badge("revoked", "off"),
    "deleted": Badge("deleted", "warn"),
    "previewed": Badge("previewed", "busy"),
    "registered": Badge("registered", "off"),
    "intent": Badge("looked at", "off"),
    "expired": Badge("expired", "off"),
    "number": Badge("restored", "warn"),
    "restored": Badge("restored", "warn"),
    "renewed": Badge("signed anew", "ok"),
    "closed": Badge("closed", "off"),
    "damaged": Badge("damaged", "bad"),
}
_SINCE: Final = "since"
_REFUSED: Final = Badge("refused", "warn")


class NodeRow(NamedTuple):
    """One node in the list."""

    id: str
    title: str
    account: str
    instance: str
    badge: Badge
    classes: str
    looked_at: Moment | None
    registered: Moment | None


class ClassRow(NamedTuple):
    """One class of content on a node's page."""

    name: ContentClass
    title: str
    contains: str
    badge: Badge
    is_granted: bool
    at: Moment | None
    by: str
    credential: str
    until: Moment | None
    since: Moment | None
    older: str
    reason: str


class Line(NamedTuple):
    """A receipt, or an entry of the history."""

    number: str
    badge: Badge
    at: Moment | None
    classes: str
    by: str
    credential: str
    address: str
    text: str


def node_row(found: NodeConsent, *, now_ms: int) -> NodeRow:
    """Return a node for the list."""
    return NodeRow(
        id=found.id,
        title=found.title or found.name,
        account=found.account,
        instance=found.instance,
        badge=_STATES[found.state],
        classes=", ".join(found.classes),
        looked_at=moment(found.looked_at, now_ms),
        registered=moment(found.registered_at, now_ms),
    )


def class_row(found: ConsentClass, *, now_ms: int) -> ClassRow:
    """Return a class; only what may leave now is shown as such."""
    is_granted = found.status == "granted"
    older = _older(found)
    return ClassRow(
        name=found.name,
        title=found.name.capitalize(),
        contains=found.contains,
        badge=_IN_FORCE if found.in_force else _CLASSES[found.status],
        is_granted=is_granted,
        at=moment(found.at, now_ms),
        by=found.by,
        credential=found.credential,
        until=moment(found.until, now_ms),
        since=moment(found.backfill_from, now_ms) if is_granted and older == _SINCE else None,
        older="" if older == _SINCE or not is_granted else older,
        reason=found.reason,
    )


def _older(found: ConsentClass) -> str:
    """Return what a grant says of the time before it."""
    if found.backfill_from is None or not parse_ms(found.backfill_from):
        return "with all older content"
    return "no older content" if found.backfill_from == found.at else _SINCE


def receipt_line(found: ConsentReceipt, *, now_ms: int) -> Line:
    """Return a receipt."""
    return Line(
        number=str(found.number),
        badge=_ACTS[found.act],
        at=moment(found.at, now_ms),
        classes=", ".join(found.classes),
        by=found.by,
        credential=found.credential,
        address="",
        text=found.reason or counted(found.deleted),
    )


def entry_line(found: ConsentEntry, *, now_ms: int) -> Line:
    """Return an entry of the history; one that was refused says why."""
    return Line(
        number="",
        badge=_REFUSED if found.refused else _ACTS[found.what],
        at=moment(found.at, now_ms),
        classes=", ".join(found.classes),
        by=found.by,
        credential=found.credential,
        address=found.address,
        text=found.refused or found.message,
    )


async def load(context: Context, call: Call) -> Names:
    """Return the nodes, and how many of all were ever looked at."""
    query = paging(call, NODES_LISTED)
    found = await context.api.ask(call, "consent.list", ConsentList, query=query)
    rows = [node_row(each, now_ms=call.now_ms) for each in found.items]
    never = found.total - found.looked_at
    return {
        "rows": sorted(rows, key=lambda row: (row.title, row.id)),
        "total": found.total,
        "granted": found.granted,
        "never": never,
        "share": f"{never / found.total:.0%}" if found.total else "",
        "next": found.next,
    }


async def load_node(context: Context, call: Call) -> Names:
    """Return a node with its classes, receipts and history."""
    path = {"id": call.path["id"]}
    found = await context.api.ask(call, "consent.get", ConsentDetail, path=path)
    limited = {"limit": str(RECEIPTS_SHOWN)}
    receipts = await context.api.attempt(
        call, "consent.receipts", ReceiptList, path=path, query=limited
    )
    history = await context.api.attempt(
        call, "consent.history", ConsentHistory, path=path, query=limited
    )
    now_ms = call.now_ms
    viewed_ms = parse_ms(found.last_view_at) if found.last_view_at else 0
    return {
        "id": found.node.id,
        "row": node_row(found.node, now_ms=now_ms),
        "classes": [class_row(each, now_ms=now_ms) for each in found.classes],
        "why": found.why,
        "text_version": found.text_version,
        "first": moment(found.first_intent_at, now_ms),
        "first_by": found.first_intent_by,
        "number": found.number,
        "deleting": found.deleting,
        "trouble": found.trouble,
        **await _contact(context, call, path),
        "observer": await _observer(context, call, found.node.instance),
        "is_closed": found.node.state == "closed",
        "tells_look": found.node.state != "closed" and now_ms - viewed_ms >= VIEW_STEP_MS,
        "receipts": unless_missing(
            receipts, lambda page: [receipt_line(each, now_ms=now_ms) for each in page.items]
        ),
        "history": unless_missing(
            history, lambda page: [entry_line(each, now_ms=now_ms) for each in page.entries]
        ),
    }


async def _contact(context: Context, call: Call, path: dict[str, str]) -> Names:
    """Return when a node was heard, and whether its owner has to choose who sends for it."""
    found = await context.api.attempt(call, "content.node", NodeDetail, path=path)
    if isinstance(found, Missing):
        return {"heard": None, "second_sender": False, "sender_silent": False}
    return {
        "heard": moment(found.node.heard_at, call.now_ms),
        "second_sender": found.node.second_sender,
        "sender_silent": found.node.sender_silent,
    }


async def _observer(context: Context, call: Call, instance: str) -> str:
    """Return why no observer runs for a node of an instance; nothing of one that is gone."""
    if not instance:
        return ""
    found = await context.api.attempt(call, "instance.get", InstanceDetail, path={"id": instance})
    return "" if isinstance(found, Missing) else observer_words(found.observer)


_TOPICS: Final = frozenset({topics.NODE})

PAGE: Final = Page(
    "nodes",
    "nodes.html",
    load,
    live=Redrawn(_TOPICS, ("nodes-counts", "nodes"), look_s=LOOK_S, rest_s=REDRAW_S),
)
ONE: Final = Page(
    "node",
    "node.html",
    load_node,
    section="nodes",
    live=Redrawn(
        _TOPICS,
        ("node-head", "node-why", "node-classes", "node-receipts", "node-history"),
        look_s=LOOK_S,
        own=True,
    ),
)
