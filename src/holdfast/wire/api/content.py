"""Endpoints for people about observed nodes: contact, refused counts, stored content, keys.

A node is one place where an agent is observed; its consent is another subject's. Sealed content is
shown as sealed: the plane has no key for it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Raw, Struct

from holdfast.wire.api.endpoint import (
    ACCOUNT,
    PAGING,
    Counter,
    Cursor,
    Endpoint,
    Given,
    Id,
    Label,
    Param,
    Reason,
    Time,
    look,
    order,
)
from holdfast.wire.consent import CLASSES, ContentClass
from holdfast.wire.limits import NODE_PATH_MAX, NODE_SESSION_MAX, PAGE_ITEMS_MAX, SECRET_TEXT_MAX

_Text = Annotated[str, Meta(max_length=1_000_000)]
_Path = Annotated[str, Meta(max_length=NODE_PATH_MAX)]

RefusedWhy = Literal["consent", "quota", "unused", "unreadable"]
"""Why nothing was stored: its class is not consented to, the node's quota is used up, this plane
has no use for it, or it could not be read."""

Role = Literal["user", "assistant", "tool", "system", "other"]
"""Who speaks in a turn."""


class RefusedCount(Struct, frozen=True, kw_only=True):
    """What a node sent and the plane did not store: how many requests and bytes, of which class."""

    of: ContentClass
    why: RefusedWhy
    requests: Counter
    bytes: Counter
    first_at: Time
    last_at: Time


class StoredCount(Struct, frozen=True, kw_only=True):
    """What is stored of a node in one class."""

    of: ContentClass
    rows: Counter
    bytes: Counter


class NodeView(Struct, frozen=True, kw_only=True):
    """One observed node: its contact, and what its consent lets in.

    `online` is true while its heartbeats come. `sync_allowed` is what its client is told.
    """

    id: Id
    name: Label
    account: Label
    instance: Label
    online: bool
    heard_at: Time | None
    first_at: Time
    version: Label
    platform: Label
    sync_allowed: bool
    classes: Annotated[tuple[ContentClass, ...], Meta(max_length=len(CLASSES))]
    intent_at: Time | None
    refused_bytes: Counter
    stored_bytes: Counter


class Fact(Struct, frozen=True, kw_only=True):
    """One fact of a heartbeat that is kept."""

    name: Label
    value: Reason


class NodeDetail(Struct, frozen=True, kw_only=True):
    """One node with its counts; `quota_bytes` is how much of it is kept at most.

    `gaps_open` sessions are still to be fetched that changed while transcripts were refused.
    `intents_refused` counts the times that its own key alone asked for its owner's consent.
    """

    node: NodeView
    facts: Annotated[tuple[Fact, ...], Meta(max_length=32)]
    refused: Annotated[tuple[RefusedCount, ...], Meta(max_length=64)]
    stored: Annotated[tuple[StoredCount, ...], Meta(max_length=len(CLASSES))]
    quota_bytes: Counter
    gaps_open: Counter = 0
    intents_refused: Counter = 0


class NodeList(Struct, frozen=True, kw_only=True):
    """Nodes by name."""

    items: Annotated[tuple[NodeView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class SessionView(Struct, frozen=True, kw_only=True):
    """One session; what its metadata says is empty where only its transcript is stored."""

    name: _Path
    title: Reason
    model: Label
    channel: Label
    status: Label
    tokens: Counter
    cost: float
    events: Counter
    bytes: Counter
    first_at: Time
    last_at: Time


class SealedCount(Struct, frozen=True, kw_only=True):
    """Sealed bodies of a class: the plane cannot open them, nor tell repeats apart."""

    of: ContentClass
    rows: Counter
    bytes: Counter


class SessionList(Struct, frozen=True, kw_only=True):
    """Sessions of a node, the latest first, and how much of it is sealed."""

    items: Annotated[tuple[SessionView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    sealed: Annotated[tuple[SealedCount, ...], Meta(max_length=len(CLASSES))] = ()
    next: Cursor = ""


class Turn(Struct, frozen=True, kw_only=True):
    """One event of a session. A sealed one has no text; `blob` is what opens in the browser."""

    id: Label
    at: Time
    received_at: Time
    role: Role
    type: Label
    text: _Text
    tool: Label
    sealed: bool
    blob: _Text = ""
    cut: bool = False


class TurnList(Struct, frozen=True, kw_only=True):
    """Events of a session, the earliest first."""

    items: Annotated[tuple[Turn, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class LogRow(Struct, frozen=True, kw_only=True):
    """One log line, or one sealed body of lines."""

    at: Time
    text: _Text
    sealed: bool
    cut: bool = False


class LogList(Struct, frozen=True, kw_only=True):
    """Log lines of a node, the latest first."""

    items: Annotated[tuple[LogRow, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class MemoryFile(Struct, frozen=True, kw_only=True):
    """One memory file; `path` is empty for sealed bodies, which name none."""

    path: _Path
    versions: Counter
    bytes: Counter
    last_at: Time


class MemoryList(Struct, frozen=True, kw_only=True):
    """Memory files of a node."""

    items: Annotated[tuple[MemoryFile, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class MemoryVersion(Struct, frozen=True, kw_only=True):
    """One version of a memory file."""

    at: Time
    content: _Text
    sealed: bool
    cut: bool = False


class MemoryVersions(Struct, frozen=True, kw_only=True):
    """Versions of a memory file, the latest first."""

    items: Annotated[tuple[MemoryVersion, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class ExportedRow(Struct, frozen=True, kw_only=True):
    """One line of an export: `blob` is a sealed body as it was sent, `body` one in the clear.

    That is the JSON that was sent; of a log line, the same value with its keys sorted.
    """

    of: ContentClass
    name: _Path
    at: Time
    received_at: Time
    body: Raw | None = None
    blob: str | None = None


class NodeKeyCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a key for an observer elsewhere; who connects with it has its owner's consent."""

    name: Given
    account: Annotated[str, Meta(max_length=63)] = ""


class NodeKeyView(Struct, frozen=True, kw_only=True):
    """One node key without its secret. `source` says who registered it; `node` is its only node."""

    id: Id
    name: Label
    account: Label
    node: Label
    instance: Label
    source: Label
    created_at: Time
    created_by: Label
    last_used_at: Time | None = None
    revoked_at: Time | None = None


class NodeKeyCreated(Struct, frozen=True, kw_only=True):
    """A new key and its secret, which is shown here and never again."""

    key: Annotated[str, Meta(min_length=1, max_length=SECRET_TEXT_MAX)]
    view: NodeKeyView


class NodeKeyList(Struct, frozen=True, kw_only=True):
    """Node keys, newest first, revoked ones too."""

    items: Annotated[tuple[NodeKeyView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


_SESSION: Final = Param("session", rf"[^\x00-\x1f]{{1,{NODE_SESSION_MAX}}}", "The session.")
_PATH: Final = Param("path", rf"[^\x00-\x1f]{{1,{NODE_PATH_MAX}}}", "The file.")
_SEALED: Final = Param("sealed", r"true|false", "The sealed bodies, which do not say what of.")
_CLASS: Final = Param("of", "|".join(CLASSES), "Only this class.")


def _of_node(name: str, path: str, response: Any, summary: str, *params: Param) -> Endpoint:
    return look(f"content.{name}", f"/api/nodes/{{id}}{path}", response, summary, *params)


CONTENT: Final = (
    look(
        "content.nodes", "/api/nodes", NodeList,
        "Observed nodes by name, with their contact and what was refused of them.",
        ACCOUNT, *PAGING,
    ),
    _of_node("node", "", NodeDetail, "One node, and what was refused and stored of it, by class."),
    _of_node("sessions", "/sessions", SessionList, "A node's sessions, the latest first.", *PAGING),
    _of_node(
        "turns", "/turns", TurnList, "What was said and done in one session.",
        _SESSION, _SEALED, *PAGING,
    ),
    _of_node("logs", "/logs", LogList, "A node's log lines, the latest first.", _SEALED, *PAGING),
    _of_node("memory", "/memory", MemoryList, "A node's memory files.", *PAGING),
    _of_node(
        "versions", "/memory/versions", MemoryVersions,
        "The versions of one memory file, the latest first.", _PATH, _SEALED, *PAGING,
    ),
    look(
        "content.export", "/api/nodes/{id}/export", None,
        "Everything that is stored of a node, a JSON object a line.",
        _CLASS, kind="stream", audited=True,
    ),
    look(
        "node-key.list", "/api/node-keys", NodeKeyList,
        "Keys of observed nodes, without their secrets.", ACCOUNT, *PAGING,
    ),
    order(
        "node-key.create", "/api/node-keys", NodeKeyCreate, NodeKeyCreated,
        "Make a key for an observer elsewhere; its secret is in this answer and nowhere else.",
        statuses=(201, 409),
    ),
    order(
        "node-key.revoke", "/api/node-keys/{id}", None, NodeKeyView,
        "Revoke a node's key; it stops working at once.", method="DELETE",
    ),
)  # fmt: skip
