"""Endpoints about brains, for people and pages: corrections, lessons, keys, alerts."""

from __future__ import annotations

from typing import Any, Final

from holdfast.wire.endpoints.params import ACCOUNT, ID, PAGING
from holdfast.wire.endpoints.row import Endpoint, Param
from holdfast.wire.limits import SEARCH_TEXT_MAX
from holdfast.wire.messages.brains import (
    BrainAlertList,
    BrainCreate,
    BrainDetail,
    BrainKeyCreate,
    BrainKeyCreated,
    BrainKeyList,
    BrainKeyView,
    BrainList,
    BrainView,
    CorrectionDetail,
    CorrectionList,
    LessonList,
    LessonView,
)
from holdfast.wire.messages.fields import ID_PATTERN, Empty
from holdfast.wire.messages.instances import ChartSet

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


def _look(
    name: str, path: str, response: Any, summary: str, params: tuple[Param, ...] = ()
) -> Endpoint:
    """Return the row of a question."""
    return Endpoint(
        name=name,
        method="GET",
        path=path,
        summary=summary,
        scope="owner",
        response=response,
        params=params,
    )


def _decide(name: str, path: str, summary: str) -> Endpoint:
    """Return the row of a person's decision about a lesson."""
    return Endpoint(
        name=name,
        method="POST",
        path=path,
        summary=summary,
        scope="owner",
        request=Empty,
        response=LessonView,
        params=(ID,),
        mutates=True,
    )


BRAINS: Final = (
    _look(
        "correction.list",
        "/api/corrections",
        CorrectionList,
        "Corrections, those received last first; filters narrow, `text` searches.",
        (_BRAIN, _CATEGORY, _SEVERITY, _SESSION, _TEXT, ACCOUNT, *PAGING),
    ),
    _look(
        "correction.get",
        "/api/corrections/{id}",
        CorrectionDetail,
        "One correction with its whole texts and where it came from.",
        (ID,),
    ),
    _look(
        "brain.list",
        "/api/brains",
        BrainList,
        "Brains by name, with what they sent, what waits there and what is wrong.",
        (ACCOUNT, *PAGING),
    ),
    Endpoint(
        name="brain.create",
        method="POST",
        path="/api/brains",
        summary="Make a brain.",
        scope="owner",
        request=BrainCreate,
        response=BrainView,
        statuses=(201, 409),
        mutates=True,
    ),
    _look(
        "brain.get",
        "/api/brains/{id}",
        BrainDetail,
        "One brain: counts for each SDK version, senders, and what is missing of each.",
        (ID,),
    ),
    _look(
        "brain.trend",
        "/api/brains/{id}/trend",
        ChartSet,
        "How many corrections a brain made and how severe they were.",
        (ID, _SPAN),
    ),
    _look(
        "brain.alerts",
        "/api/brain-alerts",
        BrainAlertList,
        "What is wrong with brains now: a long queue, silence with rows waiting, refusals.",
        (_BRAIN, ACCOUNT),
    ),
    _look(
        "lesson.list",
        "/api/lessons",
        LessonList,
        "What brains learned, those changed last first.",
        (_BRAIN, _STATE, _DECISION, ACCOUNT, *PAGING),
    ),
    _decide("lesson.approve", "/api/lessons/{id}/approve", "Approve a lesson."),
    _decide("lesson.reject", "/api/lessons/{id}/reject", "Reject a lesson."),
    _look(
        "brain-key.list",
        "/api/brain-keys",
        BrainKeyList,
        "Brain keys, without their secrets.",
        (ACCOUNT,),
    ),
    Endpoint(
        name="brain-key.create",
        method="POST",
        path="/api/brain-keys",
        summary="Make a brain key; its secret is in this answer and nowhere else.",
        scope="owner",
        request=BrainKeyCreate,
        response=BrainKeyCreated,
        statuses=(201, 409),
        mutates=True,
    ),
    Endpoint(
        name="brain-key.revoke",
        method="DELETE",
        path="/api/brain-keys/{id}",
        summary="Revoke a brain key; it stops working at once.",
        scope="owner",
        response=BrainKeyView,
        params=(ID,),
        mutates=True,
    ),
)
