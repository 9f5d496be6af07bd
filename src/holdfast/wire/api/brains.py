"""Endpoints about brains, for people and pages: corrections, lessons, keys, alerts."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import (
    ACCOUNT,
    ID_PATTERN,
    PAGING,
    Counter,
    Cursor,
    Empty,
    Given,
    Id,
    Label,
    Param,
    Reason,
    Time,
    look,
    order,
)
from holdfast.wire.api.instances import ChartSet
from holdfast.wire.limits import (
    CONTENT_MAX,
    CONTEXT_MAX,
    EVENT_IDS_SHOWN_MAX,
    GAPS_MAX,
    PAGE_ITEMS_MAX,
    PREVIEW_MAX,
    REASON_MAX,
    SEARCH_TEXT_MAX,
    SECRET_TEXT_MAX,
)

Route = Literal["ingest", "single", "sync", "push", "correct"]
"""How a correction came: our batch, or a route of the gradata SDK."""
AlertCode = Literal["backlog", "silent", "refusals"]
Preview = Annotated[str, Meta(max_length=PREVIEW_MAX)]
Content = Annotated[str, Meta(max_length=CONTENT_MAX)]


class CorrectionView(Struct, frozen=True, kw_only=True):
    """One correction in a list; `cut` says that a text is longer than shown.

    `count` is how often it was made in its session (without one: on its day), `recurrences` in
    how many other sessions the same correction was made.
    """

    id: Id
    brain: Id
    brain_name: Label
    session: Label | None
    category: Label
    severity: Label
    draft: Preview
    final: Preview
    cut: bool
    count: Counter
    recurrences: Counter
    summary: Reason
    edit_distance: float | None
    routes: Annotated[tuple[Route, ...], Meta(max_length=5)]
    at: Time
    received_at: Time
    damaged: Reason = ""


class CorrectionDetail(Struct, frozen=True, kw_only=True):
    """One correction with all that is known of it; `context` is JSON as it was sent, or empty.

    `truncated` says that a text was cut on its way here, and that the rest did not come.
    """

    view: CorrectionView
    draft: Content
    final: Content
    context: Annotated[str, Meta(max_length=CONTEXT_MAX)]
    classifications: Annotated[tuple[Label, ...], Meta(max_length=64)]
    content_hash: Label
    event_ids: Annotated[tuple[Label, ...], Meta(max_length=EVENT_IDS_SHOWN_MAX)]
    source: Label
    seq: Counter
    sdk: Label
    account: Label
    instance: Label | None
    truncated: bool = False


class CorrectionList(Struct, frozen=True, kw_only=True):
    """Corrections, those received last first."""

    items: Annotated[tuple[CorrectionView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class BrainAlert(Struct, frozen=True, kw_only=True):
    """What is wrong with a brain, and what to do; `value` is the figure that shows it."""

    brain: Id
    brain_name: Label
    code: AlertCode
    message: Reason
    fix: Reason
    value: Counter
    since: Time


class BrainAlertList(Struct, frozen=True, kw_only=True):
    """What is wrong now, longest first."""

    items: Annotated[tuple[BrainAlert, ...], Meta(max_length=PAGE_ITEMS_MAX)]


class BrainView(Struct, frozen=True, kw_only=True):
    """One brain in a list.

    `pending` rows and their `oldest_ms` are what its senders said last; `missing` counts the
    numbers that its sources used and that did not arrive.
    """

    id: Id
    name: Label
    account: Label
    instance: Label | None
    created_at: Time
    heard_at: Time | None
    sdk: Label
    accepted: Counter
    deduplicated: Counter
    refused: Counter
    pending: Counter
    oldest_ms: Counter
    missing: Counter
    alerts: Annotated[tuple[BrainAlert, ...], Meta(max_length=8)] = ()
    damaged: Reason = ""


class BrainList(Struct, frozen=True, kw_only=True):
    """Brains by name."""

    items: Annotated[tuple[BrainView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class SdkCounts(Struct, frozen=True, kw_only=True):
    """What one version of an SDK sent for a brain."""

    sdk: Label
    accepted: Counter
    deduplicated: Counter
    refused: Counter
    first_at: Time
    last_at: Time


class GapRange(Struct, frozen=True, kw_only=True):
    """Numbers that a source used and that did not arrive, both ends included."""

    first: Counter
    last: Counter


class SourceView(Struct, frozen=True, kw_only=True):
    """One sender of a brain: up to `high_water` nothing is missing, up to `newest` the gaps are.

    `forgotten` counts ranges that are not kept because there were too many.
    """

    name: Label
    sdk: Label
    high_water: Counter
    newest: Counter
    gaps: Annotated[tuple[GapRange, ...], Meta(max_length=GAPS_MAX)]
    forgotten: Counter
    depth: Counter
    oldest_ms: Counter
    heard_at: Time


class BrainDetail(Struct, frozen=True, kw_only=True):
    """One brain with its senders; `aliases` are ids that its senders call it by."""

    view: BrainView
    versions: Annotated[tuple[SdkCounts, ...], Meta(max_length=65)]
    sources: Annotated[tuple[SourceView, ...], Meta(max_length=262)]
    aliases: Annotated[tuple[Label, ...], Meta(max_length=64)]


class BrainCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a brain, of an account and, where it belongs to one, of an instance."""

    name: Annotated[str, Meta(min_length=1, max_length=128)]
    account: Annotated[str, Meta(max_length=63)] = ""
    instance: Annotated[str, Meta(max_length=128)] = ""


class BrainKeyCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Make a brain key: for one brain, or for all of an account where `brain` is empty.

    A key without a brain makes the brains that its senders name.
    """

    name: Given
    account: Annotated[str, Meta(max_length=63)] = ""
    brain: Annotated[str, Meta(max_length=128)] = ""


class BrainKeyView(Struct, frozen=True, kw_only=True):
    """One brain key without its secret; `last_used_at` is accurate to about a minute."""

    id: Id
    name: Label
    account: Label
    brain: Label | None
    brain_name: Label | None
    created_at: Time
    created_by: Label
    last_used_at: Time | None = None
    revoked_at: Time | None = None
    damaged: Reason = ""


class BrainKeyCreated(Struct, frozen=True, kw_only=True):
    """A new key and its secret, which is shown here and never again."""

    key: Annotated[str, Meta(min_length=1, max_length=SECRET_TEXT_MAX)]
    view: BrainKeyView


class BrainKeyList(Struct, frozen=True, kw_only=True):
    """Brain keys, newest first, revoked ones too."""

    items: Annotated[tuple[BrainKeyView, ...], Meta(max_length=PAGE_ITEMS_MAX)]


class LessonView(Struct, frozen=True, kw_only=True):
    """What a brain learned from its corrections; `decision` is what a person said about it.

    `taken` says that the brain has the decision; false where there is none.
    """

    id: Id
    brain: Id
    brain_name: Label
    lesson_id: Label
    category: Label
    text: Annotated[str, Meta(max_length=REASON_MAX * 8)]
    state: Label
    confidence: float
    fires: Counter
    corrections: Counter
    scope: Label
    decision: Literal["", "approved", "rejected"]
    decided_by: Label
    decided_at: Time | None
    updated_at: Time
    taken: bool = False
    damaged: Reason = ""


class LessonList(Struct, frozen=True, kw_only=True):
    """Lessons, those changed last first."""

    items: Annotated[tuple[LessonView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


_WORD: Final = r"[^\x00-\x1f]{1,128}"
_BRAIN: Final = Param("brain", ID_PATTERN, "Only this brain's, by its id.")
_CATEGORY: Final = Param("category", _WORD, "Only this category; case does not matter.")
_SEVERITY: Final = Param("severity", _WORD, "Only this severity.")
_SESSION: Final = Param("session", _WORD, "Only this session's.")
_TEXT: Final = Param(
    "text",
    rf"[^\x00-\x1f]{{1,{SEARCH_TEXT_MAX}}}",
    "Only those with all of these words in draft, final or summary; the last may be a beginning.",
)
_STATE: Final = Param("state", r"[A-Za-z-]{1,32}", "Only lessons in this state.")
_DECISION: Final = Param("decision", r"none|approved|rejected", "Only lessons so decided.")
_SPAN: Final = Param("window", r"24h|7d|30d", "How far back (default 7d): 24 h by the hour.")

BRAINS: Final = (
    look(
        "correction.list", "/api/corrections", CorrectionList,
        "Corrections, those received last first; filters narrow, `text` searches.",
        _BRAIN, _CATEGORY, _SEVERITY, _SESSION, _TEXT, ACCOUNT, *PAGING,
    ),
    look(
        "correction.get", "/api/corrections/{id}", CorrectionDetail,
        "One correction with its whole texts and where it came from.",
    ),
    look(
        "brain.list", "/api/brains", BrainList,
        "Brains by name, with what they sent, what waits there and what is wrong.",
        ACCOUNT, *PAGING,
    ),
    order(
        "brain.create", "/api/brains", BrainCreate, BrainView, "Make a brain.", statuses=(201, 409),
    ),
    look(
        "brain.get", "/api/brains/{id}", BrainDetail,
        "One brain: counts for each SDK version, senders, and what is missing of each.",
    ),
    look(
        "brain.trend", "/api/brains/{id}/trend", ChartSet,
        "How many corrections a brain made and how severe they were.", _SPAN,
    ),
    look(
        "brain.alerts", "/api/brain-alerts", BrainAlertList,
        "What is wrong with brains now: a long queue, silence with rows waiting, refusals.",
        _BRAIN, ACCOUNT,
    ),
    look(
        "lesson.list", "/api/lessons", LessonList,
        "What brains learned, those changed last first.",
        _BRAIN, _STATE, _DECISION, ACCOUNT, *PAGING,
    ),
    order("lesson.approve", "/api/lessons/{id}/approve", Empty, LessonView, "Approve a lesson."),
    order("lesson.reject", "/api/lessons/{id}/reject", Empty, LessonView, "Reject a lesson."),
    look(
        "brain-key.list", "/api/brain-keys", BrainKeyList,
        "Brain keys, without their secrets.", ACCOUNT,
    ),
    order(
        "brain-key.create", "/api/brain-keys", BrainKeyCreate, BrainKeyCreated,
        "Make a brain key; its secret is in this answer and nowhere else.", statuses=(201, 409),
    ),
    order(
        "brain-key.revoke", "/api/brain-keys/{id}", None, BrainKeyView,
        "Revoke a brain key; it stops working at once.", method="DELETE",
    ),
)  # fmt: skip
