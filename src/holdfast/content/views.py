"""What people are shown of nodes and their content, made of stored rows. Pure.

Bodies are what clients sent, and other versions of them send other forms: what cannot be read is
shown as it is, never an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, get_args

import msgspec
from msgspec import Raw

from holdfast.content import gate, limits
from holdfast.content.accept import count_of, loads, text
from holdfast.content.records import (
    FILE,
    SESSION,
    ItemRow,
    Node,
    NodeKey,
    SessionRow,
    Stored,
    StreamRow,
)
from holdfast.content.senders import Sender, Senders
from holdfast.content.tool_calls import read_calls
from holdfast.wire.api.content import (
    ExportedRow,
    Fact,
    MemoryFile,
    MemoryVersion,
    NodeDetail,
    NodeKeyView,
    NodeView,
    RefusedCount,
    Role,
    SealedCount,
    SealedRow,
    SenderView,
    SessionView,
    StoredCount,
    ToolCall,
    Turn,
)
from holdfast.wire.consent import CLASSES, ContentClass, Standing
from holdfast.wire.limits import COUNTER_MAX, NODE_PATH_MAX, REASON_MAX
from holdfast.wire.times import time_text

_ROLES: Final[dict[str, Role]] = {
    **{role: role for role in get_args(Role)},
    "toolResult": "tool",
    "tool_result": "tool",
    "toolCall": "tool",
    "human": "user",
    "developer": "system",
}
_INNER: Final = ("message", "payload")
"""Where an event has its message: OpenClaw's and Claude Code's, and Codex's."""
_SUBAGENT: Final = ":subagent:"
_PARTS_MAX: Final = 1_000
"""Parts of one message that are read."""


def node_view(node: Node, standing: Standing, now_ms: int, *, title: str) -> NodeView:
    """Return one node as in lists; `title` is what people call it."""
    return NodeView(
        id=node.id,
        name=node.name,
        account=node.account,
        instance=node.instance,
        online=node.heard_ms > 0 and now_ms - node.heard_ms <= limits.ONLINE_MS,
        heard_at=time_text(node.heard_ms) if node.heard_ms else None,
        first_at=time_text(node.first_ms),
        version=node.version,
        platform=node.platform,
        sync_allowed=gate.sync_allowed(standing),
        classes=tuple(of for of in CLASSES if of in standing.classes),
        intent_at=time_text(standing.intent_ms) if standing.intent_ms else None,
        refused_bytes=sum(one.bytes for one in node.refused.values()),
        stored_bytes=max(0, node.stored_bytes),
        second_sender=bool(node.senders.undecided(now_ms)),
        sender_silent=node.senders.is_chosen_silent(now_ms),
        title=title,
    )


def node_detail(
    node: Node,
    standing: Standing,
    stored: Sequence[Stored],
    *,
    quota: int,
    gaps: int,
    now_ms: int,
    title: str,
) -> NodeDetail:
    """Return one node with its counts."""
    rows: dict[ContentClass, list[int]] = {}
    for one in stored:
        counts = rows.setdefault(one.of, [0, 0])
        counts[0] += one.rows
        counts[1] += one.size
    return NodeDetail(
        node=node_view(node, standing, now_ms, title=title),
        facts=tuple(Fact(name=name, value=value) for name, value in sorted(node.facts.items())),
        refused=tuple(
            RefusedCount(
                of=of,
                why=why,
                requests=one.requests,
                bytes=one.bytes,
                first_at=time_text(one.first_ms),
                last_at=time_text(one.last_ms),
            )
            for (of, why), one in sorted(node.refused.items())
        ),
        stored=tuple(
            StoredCount(of=of, rows=rows[of][0], bytes=rows[of][1]) for of in CLASSES if of in rows
        ),
        quota_bytes=quota,
        gaps_open=gaps,
        intents_refused=node.intents_refused,
        sealed=sealed_counts(stored),
        senders=tuple(_sender_view(node.senders, one, now_ms) for one in node.senders.known),
        sender_chosen_at=time_text(node.senders.chosen_ms) if node.senders.chosen_ms else None,
        sender_chosen_by=node.senders.chosen_by,
    )


def _sender_view(senders: Senders, one: Sender, now_ms: int) -> SenderView:
    return SenderView(
        id=one.id,
        program=one.program,
        version=one.version,
        key=one.key,
        first_at=time_text(one.first_ms),
        heard_at=time_text(one.heard_ms),
        state="sends" if one.id == senders.current else "refused" if one.waits_ms else "replaced",
        undecided=one in senders.undecided(now_ms),
    )


def key_view(key: NodeKey) -> NodeKeyView:
    """Return one key without its secret."""
    return NodeKeyView(
        id=key.id,
        name=key.name,
        account=key.account,
        node=key.node,
        instance=key.instance,
        source=key.source,
        created_at=time_text(key.created_ms),
        created_by=key.created_by,
        last_used_at=None if key.last_used_ms is None else time_text(key.last_used_ms),
        revoked_at=None if key.revoked_ms is None else time_text(key.revoked_ms),
    )


def session_view(row: SessionRow) -> SessionView:
    """Return one session with what its metadata says."""
    found = loads(row.about)
    about: dict[str, Any] = found if isinstance(found, dict) else {}
    return SessionView(
        name=row.name.removeprefix(SESSION)[:NODE_PATH_MAX],
        title=text(about.get("display_name"), REASON_MAX),
        model=text(about.get("model")),
        channel=text(about.get("channel")),
        status=text(about.get("status")),
        tokens=count_of(about.get("total_tokens")) or 0,
        cost=_cost(about.get("total_cost")),
        events=row.events,
        bytes=row.size,
        first_at=time_text(row.first_ms),
        last_at=time_text(row.last_ms),
        key=text(about.get("session_key"), NODE_PATH_MAX),
        parent=_parent_of(about),
    )


def _parent_of(about: Mapping[str, Any]) -> str:
    """Return the key of the session that started this one; empty for one that a person began.

    Where its agent does not say which, OpenClaw's key does: `agent:main:subagent:ID` was started by
    the agent's main session, and one more `:subagent:ID` by the sub-agent of that name.
    """
    for name in ("spawned_by", "spawnedBy", "parent_session_key", "parent_key"):
        named = text(about.get(name), NODE_PATH_MAX)
        if named:
            return named
    head, found, _ = text(about.get("session_key"), NODE_PATH_MAX).rpartition(_SUBAGENT)
    if not found:
        return ""
    return head if _SUBAGENT in head or head.count(":") > 1 else f"{head}:main"


def sealed_counts(stored: Iterable[Stored]) -> tuple[SealedCount, ...]:
    """Return how much of each class is sealed."""
    return tuple(
        SealedCount(
            of=one.of,
            rows=one.rows,
            bytes=one.size,
            first_at=time_text(one.first_ms),
            last_at=time_text(one.last_ms),
        )
        for one in stored
        if one.sealed
    )


def turn(row: ItemRow) -> Turn:
    """Return one event of a session as a turn: who, what, and by which tool."""
    if row.sealed:
        blob = row.body.decode()
        return _turn(row, role="other", of="", blob=blob[: limits.ROW_BYTES_MAX])
    found = loads(row.body)
    if not isinstance(found, dict):
        return _turn(row, role="other", of="", said=row.body.decode(errors="replace"))
    inner = next((one for one in map(found.get, _INNER) if isinstance(one, dict)), found)
    role = _ROLES.get(text(inner.get("role") or found.get("type")), "other")
    said, tool = _said(inner.get("content", inner.get("text")))
    tool = tool or text(inner.get("toolName") or inner.get("tool_name"))
    if not said and not tool:
        said = msgspec.json.encode(found).decode()
    of = text(found.get("type"))
    return _turn(row, role=role, of=of, said=said, tool=tool, calls=read_calls(inner))


def _turn(
    row: ItemRow,
    *,
    role: Role,
    of: str,
    said: str = "",
    tool: str = "",
    blob: str = "",
    calls: tuple[ToolCall, ...] = (),
) -> Turn:
    return Turn(
        id=f"i{row.no}",
        at=time_text(row.at_ms),
        received_at=time_text(row.received_ms),
        role=role,
        type=of,
        text=said[: limits.SHOWN_MAX],
        tool=tool,
        sealed=row.sealed,
        blob=blob[:_BLOB_SHOWN],
        cut=len(said) > limits.SHOWN_MAX or len(blob) > _BLOB_SHOWN,
        calls=calls,
    )


_BLOB_SHOWN: Final = 1_000_000
"""Characters of a sealed body in a page: one that is cut opens from an export alone."""


def _said(content: object) -> tuple[str, str]:
    """Return the text of a message's content, and the tool that it calls or answers."""
    if isinstance(content, str):
        return content, ""
    if not isinstance(content, list):
        return "", ""
    parts: list[str] = []
    tool = ""
    for part in content[:_PARTS_MAX]:
        if isinstance(part, str):
            parts.append(part)
        elif isinstance(part, dict):
            tool = tool or text(part.get("name") or part.get("toolName"))
            parts.append(_part(part))
    return "\n".join(part for part in parts if part), tool


def _part(part: dict[str, Any]) -> str:
    """Return one part of a message as text: what is said, or a call's arguments as JSON."""
    for name in ("text", "thinking"):
        if isinstance(part.get(name), str):
            return str(part[name])
    for name in ("arguments", "input", "content"):
        if part.get(name) is not None:
            found = part[name]
            return found if isinstance(found, str) else msgspec.json.encode(found).decode()
    return ""


def memory_file(row: StreamRow) -> MemoryFile:
    """Return one memory file; sealed bodies have no path."""
    path = row.name.removeprefix(FILE) if row.name.startswith(FILE) else ""
    return MemoryFile(
        path=path[:NODE_PATH_MAX],
        versions=row.rows,
        bytes=row.size,
        last_at=time_text(row.last_ms),
    )


def memory_version(row: ItemRow) -> MemoryVersion:
    """Return one version of a memory file."""
    found = None if row.sealed else loads(row.body)
    content = found if isinstance(found, str) else row.body.decode(errors="replace")
    shown = content[: limits.SHOWN_MAX]
    return MemoryVersion(
        at=time_text(row.at_ms),
        content=shown,
        sealed=row.sealed,
        cut=len(content) > len(shown),
        id=f"i{row.no}",
    )


def sealed_row(row: ItemRow) -> SealedRow:
    """Return one sealed body as it is stored."""
    return SealedRow(
        id=f"i{row.no}",
        at=time_text(row.at_ms),
        received_at=time_text(row.received_ms),
        blob=row.body.decode(),
    )


def exported(stream: StreamRow, row: ItemRow) -> bytes:
    """Return one line of an export."""
    is_json = not row.sealed
    return (
        msgspec.json.encode(
            ExportedRow(
                of=stream.of,
                name=stream.name[:NODE_PATH_MAX],
                at=time_text(row.at_ms),
                received_at=time_text(row.received_ms),
                body=Raw(row.body) if is_json else None,
                blob=None if is_json else row.body.decode(),
            )
        )
        + b"\n"
    )


def _cost(value: object) -> float:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < COUNTER_MAX:
        return float(value)
    return 0.0
