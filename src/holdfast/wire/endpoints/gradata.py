"""Endpoints that brains call: our batch, and the routes of the gradata SDK as it speaks them.

A sender may throw a row away on most refusals, so these rows refuse little: the handlers take
what they can read, and say which rows they could not. The key tells whose brain it is; an id that
a sender made itself is a name within that account and nothing more. What they send is not an
order by a person, which is why none is a `mutates` row.
"""

from __future__ import annotations

from typing import Any, Final

from holdfast.wire.endpoints.row import Endpoint, Param
from holdfast.wire.limits import BODY_BYTES_MAX, INGEST_BODY_BYTES_MAX, SYNC_BODY_BYTES_MAX
from holdfast.wire.messages.brains import LessonList
from holdfast.wire.messages.ingest import (
    BrainStanding,
    ConnectAnswer,
    ConnectRequest,
    CorpusRequest,
    CorrectAnswer,
    CorrectRequest,
    IngestAnswer,
    IngestRequest,
    MetricsRequest,
    PushAnswer,
    PushRequest,
    RulesAnswer,
    RulesRequest,
    SyncAnswer,
    SyncRequest,
    Taken,
    VerdictsAnswer,
    VerdictsRequest,
    WhoAmI,
)

_BRAIN: Final = Param("id", r"[^/\x00-\x1f]{1,128}", "A brain's id or name.", required=True)
_BASE: Final = "/api/v1"


def _post(
    name: str,
    path: str,
    request: Any,
    response: Any,
    summary: str,
    *,
    body_bytes_max: int = SYNC_BODY_BYTES_MAX,
    hot: bool = False,
) -> Endpoint:
    """Return the row of something a brain sends."""
    return Endpoint(
        name=name,
        method="POST",
        path=_BASE + path,
        summary=summary,
        scope="brain",
        request=request,
        response=response,
        statuses=(200, 503),
        body_bytes_max=body_bytes_max,
        hot=hot,
    )


def _get(
    name: str, path: str, response: Any, summary: str, params: tuple[Param, ...] = ()
) -> Endpoint:
    """Return the row of something a brain asks."""
    return Endpoint(
        name=name,
        method="GET",
        path=_BASE + path,
        summary=summary,
        scope="brain",
        response=response,
        params=params,
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
        "ingest.batch",
        "/ingest",
        IngestRequest,
        IngestAnswer,
        "Take a batch of corrections, lessons and events; answered when it is on the disk.",
        body_bytes_max=INGEST_BODY_BYTES_MAX,
        hot=True,
    ),
    _post(
        "ingest.verdicts",
        "/verdicts",
        VerdictsRequest,
        VerdictsAnswer,
        "What people decided about a brain's lessons since it asked last; it names what it has.",
        body_bytes_max=BODY_BYTES_MAX,
        hot=True,
    ),
    _get("ingest.lessons", "/lessons", LessonList, "The brain's lessons and what people decided."),
    _post(
        "gradata.connect",
        "/brains/connect",
        ConnectRequest,
        ConnectAnswer,
        "A gradata brain says hello and learns its id here.",
    ),
    _post(
        "gradata.sync",
        "/sync",
        SyncRequest,
        SyncAnswer,
        "Take a gradata brain's events since its cursor.",
    ),
    _post(
        "gradata.push",
        "/events/push",
        PushRequest,
        PushAnswer,
        "Take a page of a gradata brain's events.",
    ),
    Endpoint(
        name="gradata.pull",
        method="GET",
        path=_BASE + "/events/pull",
        summary="Events for a gradata brain: not offered here (501), which its client expects.",
        scope="brain",
        response=Taken,
        params=_PULL,
        statuses=(200, 501),
    ),
    _post(
        "gradata.metrics",
        "/telemetry/metrics",
        MetricsRequest,
        Taken,
        "Hear that a gradata brain is alive.",
        body_bytes_max=BODY_BYTES_MAX,
    ),
    _post(
        "gradata.corpus",
        "/corpus/contribute",
        CorpusRequest,
        Taken,
        "Take patterns for a shared corpus; this plane has none and keeps nothing.",
    ),
    _post(
        "gradata.correct",
        "/brains/correct",
        CorrectRequest,
        CorrectAnswer,
        "Take one correction of a connected gradata 0.6.",
        body_bytes_max=INGEST_BODY_BYTES_MAX,
    ),
    _post(
        "gradata.rules",
        "/brains/rules",
        RulesRequest,
        RulesAnswer,
        "The rules a brain learned, as text for a prompt.",
        body_bytes_max=INGEST_BODY_BYTES_MAX,
    ),
    _post(
        "gradata.manifest",
        "/brains/sync",
        SyncRequest,
        SyncAnswer,
        "Hear a gradata 0.6 brain's manifest; events in it are taken as by /sync.",
    ),
    _get("gradata.whoami", "/auth/whoami", WhoAmI, "Whose key this is."),
    _get(
        "gradata.brain",
        "/brains/{id}",
        BrainStanding,
        "How a brain stands, for the SDK's doctor.",
        (_BRAIN,),
    ),
    _get(
        "gradata.analytics",
        "/brains/{id}/analytics",
        BrainStanding,
        "What a brain has sent, for the SDK's doctor.",
        (_BRAIN,),
    ),
    Endpoint(
        name="gradata.activation",
        method="POST",
        path="/telemetry/event",
        summary="An installation of the gradata SDK says that it is used; nothing is kept.",
        scope="public",
        pending=Taken,
        statuses=(202,),
    ),
)
