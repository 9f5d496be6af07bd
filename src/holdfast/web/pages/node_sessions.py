"""One observed node: contact, what was refused, sessions, and one of them turn by turn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from holdfast.letters import topics
from holdfast.web.limits import LOOK_S, REDRAW_S, SESSION_ITEMS, TURN_ITEMS
from holdfast.web.live_page import Redrawn
from holdfast.web.page import Context, Names, Page, paging
from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.observed import observed
from holdfast.web.parts.start import took_words
from holdfast.wire.api.call import Call
from holdfast.wire.api.content import (
    RefusedCount,
    SessionList,
    SessionView,
    ToolCall,
    Turn,
    TurnList,
)
from holdfast.wire.observing import bytes_text

_DEPTH_MAX: Final = 4
"""Levels of sub-agents that are set in."""
_WHY: Final = {
    "consent": "not consented to",
    "quota": "the node's quota is used up",
    "sender": "another program sends for this node",
    "unused": "this plane has no use for it",
    "unreadable": "it could not be read",
}


class RefusedRow(NamedTuple):
    """What was refused of one class, for one reason."""

    of: str
    why: str
    requests: str
    size: str
    last: Moment | None


class SessionRow(NamedTuple):
    """One session; `depth` is how many started each other as sub-agents up to it."""

    name: str
    depth: int
    parent: str
    title: str
    model: str
    events: str
    tokens: str
    last: Moment | None


class CallRow(NamedTuple):
    """A tool call that an event makes or answers."""

    name: str
    is_answer: bool
    took: str
    failed: bool


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
    calls: tuple[CallRow, ...]


def refused_row(found: RefusedCount, *, now_ms: int) -> RefusedRow:
    """Return what was refused of one class."""
    return RefusedRow(
        of=found.of,
        why=_WHY[found.why],
        requests=f"{found.requests:,}",
        size=bytes_text(found.bytes),
        last=moment(found.last_at, now_ms),
    )


def session_row(found: SessionView, depth: int, *, now_ms: int) -> SessionRow:
    """Return one session; without a title it goes by its name."""
    return SessionRow(
        name=found.name,
        depth=min(depth, _DEPTH_MAX),
        parent=found.parent,
        title=found.title or found.name,
        model=found.model,
        events=f"{found.events:,}",
        tokens=f"{found.tokens:,}" if found.tokens else "",
        last=moment(found.last_at, now_ms),
    )


def as_tree(found: Sequence[SessionView]) -> Iterator[tuple[SessionView, int]]:
    """Yield sessions, each before the sub-agents that it started, with its depth.

    One whose starter is not among them stands by itself, and so does one of a circle.
    """
    keys = {one.key for one in found if one.key}
    children: dict[str, list[SessionView]] = {}
    for one in found:
        children.setdefault(one.parent if one.parent in keys else "", []).append(one)
    seen: set[str] = set()

    def below(starter: str, depth: int) -> Iterator[tuple[SessionView, int]]:
        for one in children.get(starter, ()):
            if one.name not in seen:
                seen.add(one.name)
                yield one, depth
                if one.key:
                    yield from below(one.key, depth + 1)

    yield from below("", 0)
    yield from ((one, 0) for one in found if one.name not in seen)


def call_row(found: ToolCall) -> CallRow:
    """Return a tool call with how long it took, as far as that is known."""
    return CallRow(
        name=found.name or "tool",
        is_answer=found.is_answer,
        took="" if found.took_ms is None else took_words(found.took_ms),
        failed=found.failed,
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
        calls=tuple(map(call_row, found.calls)),
    )


async def load(context: Context, call: Call) -> Names:
    """Return one node with its sessions, or with the turns of the session that is asked for."""
    path = {"id": call.path["id"]}
    session = call.query.get("session", "")
    found, names = await observed(context, call, "transcripts" if session else "metadata")
    names |= {
        "facts": found.facts,
        "refused": tuple(refused_row(one, now_ms=call.now_ms) for one in found.refused),
        "session": session,
        "turns": (),
        "has_sealed": False,
        "sessions": (),
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
        "sessions": tuple(
            session_row(one, depth, now_ms=call.now_ms) for one, depth in as_tree(listed.items)
        ),
        "next": listed.next,
    }


PAGE: Final = Page(
    "node-sessions",
    "node_sessions.html",
    load,
    section="nodes",
    live=Redrawn(
        frozenset({topics.CONTENT, topics.NODE}),
        ("node-facts", "node-body"),
        look_s=LOOK_S,
        rest_s=REDRAW_S,
        own=True,
    ),
)
