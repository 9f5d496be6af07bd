"""Endpoints that brains call: our batch, and the routes of the gradata SDK as it calls them.

A sender may throw a row away on most refusals, so these rows refuse little: the handlers take
what they can read, and say which rows they could not. The key says whose brain it is; an id that
a sender made itself is a name within that account and nothing more. What they send is not an
order by a person, which is why none is a `mutates` row.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Raw, Struct, field

from holdfast.wire.api.brains import LessonList
from holdfast.wire.api.endpoint import Counter, Label, Param, Reason, look, order
from holdfast.wire.limits import (
    BODY_BYTES_MAX,
    CONTENT_MAX,
    COUNTER_MAX,
    EVENT_ID_MAX,
    INGEST_BODY_BYTES_MAX,
    REASON_MAX,
    SYNC_BODY_BYTES_MAX,
    VERDICTS_MAX,
)

BATCH_VERSION: Final = 1
"""The version of our batch; a plane takes this one and the one before."""


_RowList = Annotated[list[Raw], Meta(max_length=100_000)]
_Opaque = Any
NULL: Final = Raw(b"null")
"""Any JSON, when none was sent."""


def nothing() -> Raw:
    """Return what stands for any JSON that was not sent."""
    return NULL


_Status = Annotated[int, Meta(ge=400, le=599)]
REFUSALS_MAX: Final = 2_000
"""Refused rows that an answer names; all of them are counted."""
_Refusals = Annotated[tuple["RefusedRow", ...], Meta(max_length=REFUSALS_MAX)]
_Watermark = Annotated[str, Meta(max_length=EVENT_ID_MAX)]
_Text = Annotated[str, Meta(max_length=CONTENT_MAX)]


class QueueState(Struct, frozen=True, kw_only=True):
    """How a sender's queue stood when the batch was made: rows waiting, age of the oldest."""

    depth: int = 0
    oldest_ms: int = 0


class IngestRequest(Struct, frozen=True, kw_only=True):
    """A batch of rows, or the gradata SDK's single correction, which has no `version`.

    A batch has `version`, `sdk` (program and version), `source` (which numbers its rows), `brain`
    (a name or an id of the sender's own), `queue` and `rows`. A row has `seq`, `kind`
    ("correction", "lesson" or "event"), `event_id`, `at_ms` and `payload`. The single form has
    `brain_id`, `correction` and `event_id`.
    """

    version: _Opaque = None
    sdk: _Opaque = None
    source: _Opaque = None
    brain: _Opaque = None
    queue: Raw = field(default_factory=nothing)
    rows: _RowList | None = None
    brain_id: _Opaque = None
    correction: Raw = field(default_factory=nothing)
    event_id: _Opaque = None


class RefusedRow(Struct, frozen=True, kw_only=True):
    """A row that is refused for good: sending it again changes nothing. `id` is its event id."""

    event_id: Label
    code: Label
    detail: Reason
    id: Label = ""
    status: _Status = 422


class IngestAnswer(Struct, frozen=True, kw_only=True):
    """What became of a batch, once it is on the disk.

    `deduplicated` counts rows that were known already, and is true or false for a single
    correction; `high_water` is the number up to which nothing of the source is missing.
    `verdicts` is the number of the newest decision about the brain's lessons: a brain that has
    another number requests the decisions.
    """

    accepted: Counter
    deduplicated: Counter | bool
    refused: _Refusals = ()
    high_water: Counter = 0
    verdicts: Counter = 0


class VerdictsRequest(Struct, frozen=True, kw_only=True):
    """A brain's request for the decisions about its lessons since its last one.

    `version` and `brain` are those of a batch. `known` is the number up to which it has them, and
    `of` the id of the brain that they were about, empty if it has none: numbers of another brain
    are not valid for this one.
    """

    version: _Opaque = None
    sdk: _Opaque = None
    brain: _Opaque = None
    of: _Opaque = None
    known: _Opaque = None


class Verdict(Struct, frozen=True, kw_only=True):
    """What a person decided about a lesson: `age_ms` ago, by the plane's clock.

    Category, text, confidence and corrections are those that the brain sent, for one that lost
    them.
    """

    number: Counter
    lesson_id: Label
    verdict: Literal["approved", "rejected"]
    by: Label
    age_ms: Counter
    category: Label
    text: Annotated[str, Meta(max_length=REASON_MAX * 8)]
    confidence: float
    corrections: Counter


class VerdictsAnswer(Struct, frozen=True, kw_only=True):
    """Decisions in their order, those first that are wanted first.

    `revision` is the number of the newest there is, `upto` the one that these lead to: while the
    two differ there is more. `brain` is the brain's id, empty for one that is not known here.
    """

    brain: Label
    revision: Counter
    upto: Counter
    items: Annotated[tuple[Verdict, ...], Meta(max_length=VERDICTS_MAX)] = ()


class ConnectRequest(Struct, frozen=True, kw_only=True):
    """A gradata brain says hello."""

    brain_name: _Opaque = None
    brain_id: _Opaque = None
    domain: _Opaque = None
    manifest: Raw = field(default_factory=nothing)


class ConnectAnswer(Struct, frozen=True, kw_only=True):
    """Which brain it is here."""

    brain_id: Label
    status: Label = "connected"


class SyncRequest(Struct, frozen=True, kw_only=True):
    """A gradata brain's events since its cursor; older clients send `corrections` instead."""

    brain_name: _Opaque = None
    brain_id: _Opaque = None
    manifest: Raw = field(default_factory=nothing)
    events: _RowList | None = None
    corrections: _RowList | None = None
    lessons: _RowList | None = None
    meta_rules: Raw = field(default_factory=nothing)
    cursor: _Opaque = None


class SyncAnswer(Struct, frozen=True, kw_only=True):
    """What became of a sync; `new_watermark` is the largest `created_at` as it was sent.

    `ingested_count` is what was sent less `refused`: rows that were known already count too.
    """

    status: Label
    ingested_count: Counter
    new_watermark: _Watermark
    deduplicated: Counter = 0
    corrections_synced: Counter = 0
    lessons_synced: Counter = 0
    events_synced: Counter = 0
    meta_rules_synced: Counter = 0
    refused: _Refusals = ()


class PushRequest(Struct, frozen=True, kw_only=True):
    """A page of a gradata brain's events."""

    brain_id: _Opaque = None
    device_id: _Opaque = None
    events: _RowList | None = None


class PushAnswer(Struct, frozen=True, kw_only=True):
    """What became of a page.

    `accepted` counts duplicates and `refused` rows too, and `rejected` is empty, or the client
    would stop for ever.
    """

    accepted: Counter
    rejected: _Refusals = ()
    deduplicated: Counter = 0
    refused: _Refusals = ()


class MetricsRequest(Struct, frozen=True, kw_only=True):
    """A gradata brain's own figures; they hold no content and nothing is kept of them."""

    brain_id: _Opaque = None
    session: _Opaque = None
    sent_at: _Opaque = None


class CorpusRequest(Struct, frozen=True, kw_only=True):
    """Patterns for a shared corpus, which this plane does not have: taken and dropped."""

    patterns: Raw = field(default_factory=nothing)


class CorrectRequest(Struct, frozen=True, kw_only=True):
    """A correction that a connected gradata 0.6 keeps nowhere but here."""

    brain_id: _Opaque = None
    draft: _Opaque = None
    final: _Opaque = None
    category: _Opaque = None
    context: Raw = field(default_factory=nothing)
    session: _Opaque = None
    applies_to: _Opaque = None


class CorrectedData(Struct, frozen=True, kw_only=True):
    """The correction inside `CorrectAnswer`, in the names of the SDK's own event."""

    draft_text: _Text
    final_text: _Text
    category: Label
    severity: Label
    edit_distance: float
    summary: Reason = ""


class CorrectAnswer(Struct, frozen=True, kw_only=True):
    """The stored correction in the form of the SDK's own event."""

    event_id: Label
    ts: Label
    type: Label
    source: Label
    session: Annotated[int, Meta(ge=-COUNTER_MAX, le=COUNTER_MAX)] | None
    data: CorrectedData
    tags: Annotated[tuple[Label, ...], Meta(max_length=64)] = ()
    deduplicated: bool = False
    diff: None = None
    classifications: Annotated[tuple[Label, ...], Meta(max_length=64)] = ()


class RulesRequest(Struct, frozen=True, kw_only=True):
    """What rules apply to a task."""

    brain_id: _Opaque = None
    task: _Opaque = None
    context: Raw = field(default_factory=nothing)


class RulesAnswer(Struct, frozen=True, kw_only=True):
    """Rules as text for a prompt."""

    rules_text: _Text


class Taken(Struct, frozen=True, kw_only=True):
    """It was taken."""

    status: Label = "ok"


class WhoAmI(Struct, frozen=True, kw_only=True):
    """Whose key this is."""

    account: Label
    key: Label
    brain_id: Label = ""


class BrainStanding(Struct, frozen=True, kw_only=True):
    """The standing of a brain, for the SDK's doctor."""

    brain_id: Label
    brain_name: Label
    sessions: Counter
    session_count: Counter
    corrections: Counter
    last_sync_at: Label | None = None
    status: Label = "connected"
    refused: Counter = 0


_BRAIN: Final = Param("id", r"[^/\x00-\x1f]{1,128}", "A brain's id or name.", required=True)

_get: Final = partial(look, scope="brain")
_post: Final = partial(
    order, scope="brain", statuses=(200, 503), body_bytes_max=SYNC_BODY_BYTES_MAX, mutates=False
)
_PULL: Final = (
    Param("brain_id", r"[^\x00-\x1f]{1,128}", "The brain's own id."),
    Param("device_id", r"[^\x00-\x1f]{1,128}", "The device's id."),
    Param("limit", r"[0-9]{1,4}", "How many at most."),
    Param("cursor", r"[^\x00-\x1f]{0,256}", "Where to go on."),
    Param("rebuild_from", r"[^\x00-\x1f]{0,256}", "Where to begin again."),
    Param("include_archived", r"[A-Za-z0-9]{0,8}", "Whether archived events count."),
)

GRADATA: Final = (
    _post(
        "ingest.batch", "/api/v1/ingest", IngestRequest, IngestAnswer,
        "Take a batch of corrections, lessons and events; answered when it is on the disk.",
        body_bytes_max=INGEST_BODY_BYTES_MAX, hot=True,
    ),
    _post(
        "ingest.verdicts", "/api/v1/verdicts", VerdictsRequest, VerdictsAnswer,
        "What people decided about a brain's lessons since it asked last; it names what it has.",
        body_bytes_max=BODY_BYTES_MAX, hot=True,
    ),
    _get(
        "ingest.lessons", "/api/v1/lessons", LessonList,
        "The brain's lessons and what people decided.",
    ),
    _post(
        "gradata.connect", "/api/v1/brains/connect", ConnectRequest, ConnectAnswer,
        "A gradata brain says hello and learns its id here.",
    ),
    _post(
        "gradata.sync", "/api/v1/sync", SyncRequest, SyncAnswer,
        "Take a gradata brain's events since its cursor.",
    ),
    _post(
        "gradata.push", "/api/v1/events/push", PushRequest, PushAnswer,
        "Take a page of a gradata brain's events.",
    ),
    _get(
        "gradata.pull", "/api/v1/events/pull", Taken,
        "Events for a gradata brain: not offered here (501), which its client expects.",
        *_PULL, statuses=(200, 501),
    ),
    _post(
        "gradata.metrics", "/api/v1/telemetry/metrics", MetricsRequest, Taken,
        "Take the sign of life of a gradata brain.", body_bytes_max=BODY_BYTES_MAX,
    ),
    _post(
        "gradata.corpus", "/api/v1/corpus/contribute", CorpusRequest, Taken,
        "Take patterns for a shared corpus; this plane has none and keeps nothing.",
    ),
    _post(
        "gradata.correct", "/api/v1/brains/correct", CorrectRequest, CorrectAnswer,
        "Take one correction of a connected gradata 0.6.", body_bytes_max=INGEST_BODY_BYTES_MAX,
    ),
    _post(
        "gradata.rules", "/api/v1/brains/rules", RulesRequest, RulesAnswer,
        "The rules a brain learned, as text for a prompt.", body_bytes_max=INGEST_BODY_BYTES_MAX,
    ),
    _post(
        "gradata.manifest", "/api/v1/brains/sync", SyncRequest, SyncAnswer,
        "Take a gradata 0.6 brain's manifest; events in it are taken as by /sync.",
    ),
    _get("gradata.whoami", "/api/v1/auth/whoami", WhoAmI, "Whose key this is."),
    _get(
        "gradata.brain", "/api/v1/brains/{id}", BrainStanding,
        "How a brain stands, for the SDK's doctor.", _BRAIN,
    ),
    _get(
        "gradata.analytics", "/api/v1/brains/{id}/analytics", BrainStanding,
        "What a brain has sent, for the SDK's doctor.", _BRAIN,
    ),
    order(
        "gradata.activation", "/telemetry/event", None, None,
        "An installation of the gradata SDK says that it is used; nothing is kept.",
        scope="public", pending=Taken, statuses=(202,), mutates=False,
    ),
)  # fmt: skip
