"""Endpoints that observers of agents call: ours, and the ClawMetry daemon as it calls its cloud.

What is matched is in docs/compat/clawmetry.md. The daemon closes its gate on a 429, repeats on a
503 in the loop that must hear of a change, and takes each 2xx answer to a POST that has
`sync_allowed` as news of its gate: so an observer with a key gets neither status, and each 2xx
answer about one node has that field. Bodies
are megabytes and most are sealed: what is large stays undecoded (`Raw`) until it is let in.
What is sent here is not an order by a person, which is why none is a `mutates` row.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Raw, Struct, field

from holdfast.wire.api.endpoint import Counter, Label, Param, Reason, look, order
from holdfast.wire.api.ingest import nothing
from holdfast.wire.consent import SignedDocument
from holdfast.wire.limits import (
    NODE_BODY_BYTES_MAX,
    NODE_NAME_MAX,
    NODE_SESSION_MAX,
    PENDING_QUERIES_MAX,
    SUCCESSORS_MAX,
)

_Opaque = Any
_Key = Annotated[str, Meta(max_length=8_192)]
_Url = Annotated[str, Meta(max_length=2_048)]

GateReason = Literal["intent_pending", "intent_started"]
"""Why the gate is closed or open: it waits for the owner, or the owner said yes."""


class RegisterRequest(Struct, frozen=True, kw_only=True):
    """An observer without an account asks for a key.

    A machine of this plane also sends the credentials of a check-in, and its `sandbox`.
    """

    hostname: _Opaque = None
    machine_id: _Opaque = None
    source: _Opaque = None
    sandbox: _Opaque = None


class RegisterAnswer(Struct, frozen=True, kw_only=True):
    """The key of a new observer, shown once. `plane_key` verifies grants of consent."""

    ok: bool
    api_key: Label
    node_id: Annotated[str, Meta(max_length=NODE_NAME_MAX)]
    dashboard_id: Label
    dashboard_url: _Url
    plan: Literal["free"] = "free"
    node: Label = ""
    plane_key: _Key = ""


class AuthRequest(Struct, frozen=True, kw_only=True):
    """An observer connects with a key that it was given."""

    hostname: _Opaque = None
    existing_node_id: _Opaque = None


MAY_CHANGE: Final = frozenset({"not_consented", "quota_full", "second_sender"})
"""Why nothing of a body is kept now, though it may be later: it is worth sending again."""


class NodeAnswer(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of a request, and the node's gate, which every answer repeats.

    `accepted` is 0 where a body was read and nothing of it is kept, although the answer is `ok`;
    `error` says why: one of `MAY_CHANGE`, or one that sending it again does not change.
    """

    ok: bool
    sync_allowed: bool
    reason: GateReason
    accepted: Literal[0, 1] = 1
    error: Label = ""
    message: Reason = ""


class AuthAnswer(Struct, frozen=True, kw_only=True):
    """The key is right. `e2e` has the client make a key of its own and seal with it."""

    ok: bool
    valid: bool
    node_id: Annotated[str, Meta(max_length=NODE_NAME_MAX)]
    sync_allowed: bool
    reason: GateReason
    plan: Literal["free"] = "free"
    e2e: bool = True
    node: Label = ""
    plane_key: _Key = ""


class Heartbeat(Struct, frozen=True, kw_only=True):
    """A sign of life. Only what is declared here is read, and less of it is kept.

    `seen_number` is the number of the newest signed document that the node has. `queue` and
    `client` are our observer's: how many uploads wait, by class, and its name.
    """

    node_id: _Opaque = None
    platform: _Opaque = None
    version: _Opaque = None
    e2e: _Opaque = None
    seen_number: _Opaque = None
    ts: _Opaque = None
    queue: _Opaque = None
    client: _Opaque = None
    local_store_size_mb: _Opaque = None
    tool_calls_today: _Opaque = None
    exec_calls_today: _Opaque = None
    browser_actions_today: _Opaque = None
    unique_tools_today: _Opaque = None
    messages_today: _Opaque = None
    node_meta: Raw = field(default_factory=nothing)
    cache_pushes: Raw = field(default_factory=nothing)


class TranscriptArgs(Struct, frozen=True, kw_only=True):
    """Which session is asked for, and how many of its events at most."""

    session_id: Annotated[str, Meta(max_length=NODE_SESSION_MAX)]
    limit: Counter = 5_000


class PendingQuery(Struct, frozen=True, kw_only=True):
    """A question to the node, answered by a POST to /ingest/cache with its `id`."""

    id: Label
    cache_key: Annotated[str, Meta(max_length=NODE_SESSION_MAX + 32)]
    args: TranscriptArgs
    shape: Literal["transcript"] = "transcript"


class HeartbeatAnswer(Struct, frozen=True, kw_only=True):
    """The gate, whether somebody looks at the node, and what is asked of it.

    `grant` is the signed grant that is in force, for observers that verify it. `keys` are the
    successors of the plane's signing keys, oldest first, for nodes that pinned an earlier one.
    """

    ok: bool
    sync_allowed: bool
    reason: GateReason
    viewer_active: bool
    plan: Literal["free"] = "free"
    pending_queries: Annotated[tuple[PendingQuery, ...], Meta(max_length=PENDING_QUERIES_MAX)] = ()
    grant: SignedDocument | None = None
    keys: Annotated[tuple[SignedDocument, ...], Meta(max_length=SUCCESSORS_MAX)] = ()
    node: Label = ""
    preview: SignedDocument | None = None


class WakeAnswer(Struct, frozen=True, kw_only=True):
    """Whether the node should send a heartbeat at once."""

    ok: bool
    work: bool
    viewer_active: bool
    sync_allowed: bool
    reason: GateReason
    assistant_actions: Annotated[tuple[Label, ...], Meta(max_length=0)] = ()


class Upload(Struct, frozen=True, kw_only=True):
    """Any upload: sealed, as its `blob`, or the fields of its route in the clear."""

    node_id: _Opaque = None
    blob: Raw = field(default_factory=nothing)
    session_file: _Opaque = None
    id: _Opaque = None
    events: Raw = field(default_factory=nothing)
    lines: Raw = field(default_factory=nothing)
    sessions: Raw = field(default_factory=nothing)
    memory_content: Raw = field(default_factory=nothing)
    snapshots: Raw = field(default_factory=nothing)


class IntentAnswer(Struct, frozen=True, kw_only=True):
    """The owner wants to see the nodes of this key; `already_started` if that was known."""

    ok: bool
    already_started: bool
    sync_allowed: bool
    reason: GateReason


class AccountAnswer(Struct, frozen=True, kw_only=True):
    """The account of a key. Every plan is free here, and no address is of a kind to be claimed."""

    ok: bool
    email: Label
    plan: Literal["free"] = "free"


class ClaimAnswer(Struct, frozen=True, kw_only=True):
    """Whether somebody took over the account: accounts of this plane have an owner already."""

    ok: bool
    claimed: bool


class PoliciesAnswer(Struct, frozen=True, kw_only=True):
    """Rules for approvals: there are none here."""

    ok: bool
    policies: Annotated[tuple[Label, ...], Meta(max_length=0)] = ()


class ApprovalAnswer(Struct, frozen=True, kw_only=True):
    """What was decided: nobody decides here, so the client's own rule for that applies."""

    ok: bool
    id: Label
    status: Literal["pending", "expired"]
    sync_allowed: bool
    reason: GateReason


class NodeProblem(Struct, frozen=True, kw_only=True):
    """A refusal in the words of both: ours, and those that the daemon reads.

    `sync_allowed` is false whatever the node's gate: nothing of the request was let in. Clients
    take it for news of the gate in a 2xx alone.
    """

    code: Label
    message: Reason
    ok: bool = False
    error: Label = ""
    sync_allowed: bool = False
    reason: GateReason = "intent_pending"
    field: Label = ""
    fix: Reason = ""
    operation: Label = ""


_NODE: Final = Param("node_id", r"[^\x00-\x1f]{1,128}", "The node's own name.")
_TOKEN: Final = Param("token", r"[!-~]{0,128}", "A key, as older clients send it; it is not read.")
_APPROVAL: Final = Param("id", r"[A-Za-z0-9_.:-]{1,128}", "The approval.", required=True)

_get: Final = partial(look, scope="node")
_post: Final = partial(
    order, scope="node", statuses=(200, 403, 409), body_bytes_max=NODE_BODY_BYTES_MAX,
    mutates=False,
)  # fmt: skip


def _upload(name: str, path: str, summary: str) -> Any:
    return _post(f"clawmetry.{name}", path, Upload, NodeAnswer, summary)


UPLOADS: Final = (
    _upload("events", "/ingest/events", "Lines of one session's transcript."),
    _upload("stream", "/ingest/stream", "New lines of the agent's log."),
    _upload("logs", "/ingest/logs", "Lines of the agent's log files."),
    _upload("sessions", "/ingest/sessions", "Titles, channels, models and times of sessions."),
    _upload("memory", "/ingest/memory", "Memory files, whole."),
    _upload("files", "/ingest/files", "Text files of the workspace, whole; our observer's alone."),
    _upload("ingest", "/api/ingest", "Definitions and states of cron jobs."),
    _upload("snapshot", "/ingest/system-snapshot", "The whole node at once: never kept."),
    _upload("autonomy", "/ingest/autonomy", "Numbers of a day: how often a person stepped in."),
    _upload("cache", "/ingest/cache", "The answer to a question of a heartbeat's answer."),
    _upload("shared-trace", "/ingest/shared-trace", "A session for an organisation: never kept."),
    _upload("assistant", "/ingest/assistant/exchange", "What an assistant said: never kept."),
    _upload("trial", "/ingest/trial-warning", "A trial is about to end: there are none here."),
    _upload("alert", "/api/cloud/alerts/dispatch", "An alert of a rule there: never kept."),
    _upload("evaluate", "/api/internal/evaluate-alerts", "Evaluate alerts: there are none here."),
)
"""Every route that content may come by."""

CLAWMETRY: Final = (
    _post(
        "clawmetry.heartbeat", "/ingest/heartbeat", Heartbeat, HeartbeatAnswer,
        "A sign of life of a node; the answer has its gate and what is asked of it.", hot=True,
    ),
    _get(
        "clawmetry.wake", "/ingest/wake", WakeAnswer,
        "Held until somebody looks at the node, or its consent changes; 404 where too many are.",
        _NODE, Param("wait", r"[0-9]{1,4}", "Seconds to hold it."),
        Param("assistant_epoch", r"[^\x00-\x1f]{0,256}", "Not read."),
        hot=True,
    ),
    *UPLOADS,
    order(
        "clawmetry.register", "/api/register", RegisterRequest, RegisterAnswer,
        "A new observer asks for a key; its node waits for its owner's consent.",
        scope="public", mutates=False, proves=True,
    ),
    _post(
        "clawmetry.auth", "/auth", AuthRequest, AuthAnswer,
        "An observer connects with its key and learns its node's name.",
    ),
    _post(
        "clawmetry.intent", "/api/cloud/intent-start", Upload, IntentAnswer,
        "The owner wants to see the nodes of this key; an instance's own key cannot say so.",
    ),
    _get(
        "clawmetry.account", "/api/cloud/account", AccountAnswer, "The account of a key.", _TOKEN
    ),
    _get(
        "clawmetry.claim", "/api/cloud/claim-status", ClaimAnswer,
        "Whether the account was taken over: never here.", _NODE, _TOKEN,
    ),
    _get("clawmetry.policies", "/api/cloud/policies", PoliciesAnswer, "Rules for approvals: none."),
    _post(
        "clawmetry.approval", "/api/approvals/request", Upload, ApprovalAnswer,
        "A tool call waits for approval: counted, and nobody decides here.",
    ),
    _get(
        "clawmetry.approved", "/api/approvals/{id}", ApprovalAnswer,
        "What was decided about a tool call.", _APPROVAL,
    ),
)  # fmt: skip
