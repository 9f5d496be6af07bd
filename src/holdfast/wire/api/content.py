"""Endpoints for people about observed nodes: contact, refused counts, stored content, keys.

A node is one place where an agent is observed; its consent is another subject's. Sealed content is
shown as sealed: the plane has no key for it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, get_args

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
from holdfast.wire.limits import (
    NODE_BODY_BYTES_MAX,
    NODE_PATH_MAX,
    NODE_SESSION_MAX,
    PAGE_ITEMS_MAX,
    SEARCH_TEXT_MAX,
    SECRET_TEXT_MAX,
    TEXT_MAX,
)

SENDERS_SHOWN_MAX: Final = 8

CALLS_MAX: Final = 64
"""Tool calls of one event that are shown."""

_Text = Annotated[str, Meta(max_length=1_000_000)]
_Path = Annotated[str, Meta(max_length=NODE_PATH_MAX)]

RefusedWhy = Literal["consent", "quota", "sender", "unused", "unreadable"]
"""Why nothing was stored: its class is not consented to, the node's quota is used up, another
program sends for the node, this plane has no use for it, or it could not be read."""

Role = Literal["user", "assistant", "tool", "system", "other"]
"""Who speaks in a turn."""


LogLevel = Literal["trace", "debug", "info", "warn", "error", "fatal"]
"""How bad a log line says that it is."""


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

    `online` is true while its heartbeats come. `sync_allowed` is what its client is told. With
    `second_sender` its owner has to choose who sends; with `sender_silent` that is so because the
    program that was chosen is silent while another is heard. `title` is what people call it: the
    name of its instance, or its own.
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
    second_sender: bool = False
    sender_silent: bool = False
    title: Label = ""


class SealedCount(Struct, frozen=True, kw_only=True):
    """Sealed bodies of a class that do not say what they are of.

    The plane cannot open them, nor tell repeats apart.
    """

    of: ContentClass
    rows: Counter
    bytes: Counter
    first_at: Time | None = None
    last_at: Time | None = None


class SenderView(Struct, frozen=True, kw_only=True):
    """One program that sends for a node: it is told by its name and its key.

    Of two, one `sends` and the content of the other is `refused` until the owner chooses.
    `undecided` says that the owner has not chosen since it came, or that whom the owner chose is
    silent while this one is heard.
    """

    id: Label
    program: Label
    version: Label
    key: Label
    first_at: Time
    heard_at: Time
    state: Literal["sends", "refused", "replaced"]
    undecided: bool = False


class SenderChoice(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choose the one sender of a node by its id; content of any other is refused."""

    sender: Annotated[str, Meta(min_length=1, max_length=TEXT_MAX)]


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
    sealed: Annotated[tuple[SealedCount, ...], Meta(max_length=len(CLASSES))] = ()
    senders: Annotated[tuple[SenderView, ...], Meta(max_length=SENDERS_SHOWN_MAX)] = ()
    sender_chosen_at: Time | None = None
    sender_chosen_by: Label = ""


class NodeList(Struct, frozen=True, kw_only=True):
    """Nodes by name."""

    items: Annotated[tuple[NodeView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class SessionView(Struct, frozen=True, kw_only=True):
    """One session; what its metadata says is empty where only its transcript is stored.

    `key` is the agent's own name of the session, and `parent` the key of the one that started it as
    a sub-agent's, empty for any other.
    """

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
    key: _Path = ""
    parent: _Path = ""


class SessionList(Struct, frozen=True, kw_only=True):
    """Sessions of a node, the latest first, and how much of it is sealed."""

    items: Annotated[tuple[SessionView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    sealed: Annotated[tuple[SealedCount, ...], Meta(max_length=len(CLASSES))] = ()
    next: Cursor = ""


class ToolCall(Struct, frozen=True, kw_only=True):
    """A tool call that an event makes or answers.

    `took_ms` is how long it took, as its answer says or by the times of both; None where the other
    one is not in the same page.
    """

    id: _Path
    name: Label
    is_answer: bool
    took_ms: Counter | None = None
    failed: bool = False


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
    calls: Annotated[tuple[ToolCall, ...], Meta(max_length=CALLS_MAX)] = ()


class TurnList(Struct, frozen=True, kw_only=True):
    """Events of a session, the earliest first."""

    items: Annotated[tuple[Turn, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class LogRow(Struct, frozen=True, kw_only=True):
    """One log line, or one sealed body of lines. `level` is empty for a line without one.

    `message` is what a line that is JSON says in words, empty where it says nothing so.
    """

    at: Time
    text: _Text
    sealed: bool
    cut: bool = False
    id: Label = ""
    level: LogLevel | Literal[""] = ""
    message: _Text = ""


class LogList(Struct, frozen=True, kw_only=True):
    """Log lines of a node, the latest first.

    A search looks at a bounded number of lines: `looked_to` is the time of the last one, and with
    `next` it goes on there, also where nothing was found.
    """

    items: Annotated[tuple[LogRow, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    looked_to: Time | None = None
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
    id: Label = ""


class MemoryVersions(Struct, frozen=True, kw_only=True):
    """Versions of a memory file, the latest first."""

    items: Annotated[tuple[MemoryVersion, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class CronJob(Struct, frozen=True, kw_only=True):
    """The last known state of one cron job, as of `at`; what it does not say is empty."""

    id: _Path
    name: Reason
    at: Time
    schedule: Reason = ""
    enabled: bool | None = None
    next_at: Time | None = None
    last_at: Time | None = None
    result: Label = ""
    error: Reason = ""
    took_ms: Counter | None = None


class CronList(Struct, frozen=True, kw_only=True):
    """Cron jobs of a node."""

    items: Annotated[tuple[CronJob, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class SealedRow(Struct, frozen=True, kw_only=True):
    """One sealed body as it is stored, for whoever has its key."""

    id: Label
    at: Time
    received_at: Time
    blob: Annotated[str, Meta(max_length=NODE_BODY_BYTES_MAX)]


class SealedList(Struct, frozen=True, kw_only=True):
    """Sealed bodies, the latest first."""

    items: Annotated[tuple[SealedRow, ...], Meta(max_length=PAGE_ITEMS_MAX)]
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
_NAMED: Final = Param(
    "name", rf"[^\x00-\x1f]{{1,{TEXT_MAX}}}",
    "Only nodes of this id or name, or whose instance has it.",
)  # fmt: skip
_WORDS: Final = Param("text", rf"[^\x00-\x1f]{{1,{SEARCH_TEXT_MAX}}}", "Only lines with this text.")
_LEVEL: Final = Param("level", "|".join(get_args(LogLevel)), "Only lines as bad as this or worse.")


def _of_node(name: str, path: str, response: Any, summary: str, *params: Param) -> Endpoint:
    return look(f"content.{name}", f"/api/nodes/{{id}}{path}", response, summary, *params)


CONTENT: Final = (
    look(
        "content.nodes", "/api/nodes", NodeList,
        "Observed nodes by name, with their contact and what was refused of them.",
        _NAMED, ACCOUNT, *PAGING,
    ),
    _of_node("node", "", NodeDetail, "One node, and what was refused and stored of it, by class."),
    _of_node("sessions", "/sessions", SessionList, "A node's sessions, the latest first.", *PAGING),
    _of_node(
        "turns", "/turns", TurnList, "What was said and done in one session.",
        _SESSION, _SEALED, *PAGING,
    ),
    _of_node(
        "logs", "/logs", LogList, "A node's log lines, the latest first.",
        _WORDS, _LEVEL, _SEALED, *PAGING,
    ),
    _of_node("memory", "/memory", MemoryList, "A node's memory files.", *PAGING),
    _of_node(
        "versions", "/memory/versions", MemoryVersions,
        "The versions of one memory file, the latest first.", _PATH, _SEALED, *PAGING,
    ),
    _of_node("cron", "/cron", CronList, "A node's cron jobs, with their last result.", *PAGING),
    _of_node(
        "sealed", "/sealed", SealedList,
        "Sealed bodies of a class or a session, as they are stored, the latest first.",
        Param("of", "|".join(CLASSES), "The class.", required=True), _SESSION, *PAGING,
    ),
    look(
        "content.export", "/api/nodes/{id}/export", None,
        "Everything that is stored of a node, a JSON object a line.",
        _CLASS, kind="stream", audited=True,
    ),
    order(
        "content.choose-sender", "/api/nodes/{id}/sender", SenderChoice, NodeDetail,
        "Choose which of two programs sends for a node; content of the other is refused.",
        statuses=(200, 404),
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
