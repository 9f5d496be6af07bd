"""One observed node: contact, what was refused, sessions, and one of them turn by turn."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.web.limits import SESSION_ITEMS, TURN_ITEMS
from holdfast.web.page import Context, Names, Page, paging
from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import Badge
from holdfast.wire.api.call import Call
from holdfast.wire.api.content import (
    NodeDetail,
    NodeView,
    RefusedCount,
    SessionList,
    SessionView,
    Turn,
    TurnList,
)

_UNITS: Final = ((1_000_000_000, "GB"), (1_000_000, "MB"), (1_000, "kB"))
_WHY: Final = {
    "consent": "not consented to",
    "quota": "the node's quota is used up",
    "unused": "this plane has no use for it",
    "unreadable": "it could not be read",
}


class NodeRow(NamedTuple):
    """One node."""

    href: str
    name: str
    account: str
    badge: Badge
    gate: Badge
    version: str
    refused: str
    stored: str
    heard: Moment | None


class RefusedRow(NamedTuple):
    """What was refused of one class, for one reason."""

    of: str
    why: str
    requests: str
    size: str
    last: Moment | None


class SessionRow(NamedTuple):
    """One session."""

    name: str
    title: str
    model: str
    events: str
    tokens: str
    last: Moment | None


class TurnRow(NamedTuple):
    """One event of a session."""

    id: str
    who: str
    tool: str
    text: str
    sealed: bool
    blob: str
    cut: bool
    at: Moment | None


def size_words(count: int) -> str:
    """Return bytes by their largest unit: `1.2 MB`."""
    for unit, name in _UNITS:
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} B"


def node_row(found: NodeView, *, now_ms: int) -> NodeRow:
    """Return one node; its gate is what its client is told."""
    granted = ", ".join(found.classes)
    return NodeRow(
        href=f"/nodes/{found.id}/sessions",
        name=found.name,
        account=found.account,
        badge=Badge("Online", "ok") if found.online else Badge("Silent", "off"),
        gate=Badge("Consented", "ok", granted)
        if found.sync_allowed
        else Badge("Waits for consent", "busy", "Nothing of its content is stored."),
        version=found.version,
        refused=size_words(found.refused_bytes),
        stored=size_words(found.stored_bytes),
        heard=moment(found.heard_at, now_ms),
    )


def refused_row(found: RefusedCount, *, now_ms: int) -> RefusedRow:
    """Return what was refused of one class."""
    return RefusedRow(
        of=found.of,
        why=_WHY[found.why],
        requests=f"{found.requests:,}",
        size=size_words(found.bytes),
        last=moment(found.last_at, now_ms),
    )


def session_row(found: SessionView, *, now_ms: int) -> SessionRow:
    """Return one session; without a title it goes by its name."""
    return SessionRow(
        name=found.name,
        title=found.title or found.name,
        model=found.model,
        events=f"{found.events:,}",
        tokens=f"{found.tokens:,}" if found.tokens else "",
        last=moment(found.last_at, now_ms),
    )


def turn_row(found: Turn, *, now_ms: int) -> TurnRow:
    """Return one event of a session."""
    return TurnRow(
        id=found.id,
        who=found.type if found.role == "other" and found.type else found.role,
        tool=found.tool,
        text=found.text,
        sealed=found.sealed,
        blob=found.blob,
        cut=found.cut,
        at=moment(found.at, now_ms),
    )


async def load(context: Context, call: Call) -> Names:
    """Return one node with its sessions, or with the turns of the session that is asked for."""
    path = {"id": call.path["id"]}
    found = await context.api.ask(call, "content.node", NodeDetail, path=path)
    session = call.query.get("session", "")
    names: Names = {
        "id": call.path["id"],
        "node": node_row(found.node, now_ms=call.now_ms),
        "facts": found.facts,
        "gaps": found.gaps_open,
        "refused": tuple(refused_row(one, now_ms=call.now_ms) for one in found.refused),
        "session": session,
        "turns": (),
        "has_sealed": False,
        "sessions": (),
        "sealed": (),
    }
    if session:
        query = {**paging(call, TURN_ITEMS), "session": session}
        said = await context.api.ask(call, "content.turns", TurnList, path=path, query=query)
        turns = tuple(turn_row(one, now_ms=call.now_ms) for one in said.items)
        has_sealed = any(turn.sealed for turn in turns)
        return {**names, "turns": turns, "has_sealed": has_sealed, "next": said.next}
    query = paging(call, SESSION_ITEMS)
    listed = await context.api.ask(call, "content.sessions", SessionList, path=path, query=query)
    return {
        **names,
        "sessions": tuple(session_row(one, now_ms=call.now_ms) for one in listed.items),
        "sealed": tuple((one.of, f"{one.rows:,}", size_words(one.bytes)) for one in listed.sealed),
        "next": listed.next,
    }


PAGE: Final = Page("node-sessions", "node_sessions.html", load, section="nodes")
