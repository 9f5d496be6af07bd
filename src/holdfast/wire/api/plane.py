"""Endpoints about the plane itself: health, description, operations, quarantine, rehearsals.

Only `/health` and the OpenAPI document are public, and neither says what runs here.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import (
    EVENT,
    ID,
    ID_PATTERN,
    KIND,
    PAGING,
    Endpoint,
    Label,
    Param,
    Reason,
)
from holdfast.wire.api.operations import (
    Operation,
    OperationList,
    QuarantineAnswer,
    QuarantineList,
    QuarantineOrder,
)
from holdfast.wire.api.rehearsals import (
    DryRunRequest,
    ExplainRequest,
    Rehearsal,
    ReplayRequest,
    WhatIfRequest,
)
from holdfast.wire.limits import PAGE_ITEMS_MAX


class Health(Struct, frozen=True, kw_only=True):
    """Whether the plane serves; `starting` until its stores are open."""

    status: Literal["ok", "starting", "degraded", "stopping"]
    version: Label


class AgentView(Struct, frozen=True, kw_only=True):
    """One agent that can be run: bundled ones always, others once installed."""

    name: Label
    summary: Reason
    bundled: bool
    installed: bool
    version: Label = ""
    fix: Reason = ""


class AgentList(Struct, frozen=True, kw_only=True):
    """Every agent the plane has a profile of, by name."""

    items: Annotated[tuple[AgentView, ...], Meta(max_length=PAGE_ITEMS_MAX)]


class DoctorCheck(Struct, frozen=True, kw_only=True):
    """One thing the doctor looked at; `fix` says what to do where it is not well."""

    name: Label
    result: Literal["ok", "warning", "failed"]
    message: Reason
    fix: Reason = ""


class DoctorReport(Struct, frozen=True, kw_only=True):
    """What the doctor found; `ok` when nothing failed."""

    ok: bool
    checks: Annotated[tuple[DoctorCheck, ...], Meta(max_length=PAGE_ITEMS_MAX)]


def _rehearse(mode: str, request: Any, summary: str) -> Endpoint:
    """Return the row of one kind of rehearsal; it changes nothing and is audited all the same."""
    return Endpoint(
        name=f"rehearse.{mode}",
        method="POST",
        path=f"/api/rehearse/{{kind}}/{{id}}/{mode}",
        summary=summary,
        scope="operator",
        request=request,
        response=Rehearsal,
        params=(KIND, ID),
        statuses=(200, 409, 503),
        audited=True,
    )


def _decide(name: str, verb: str, summary: str) -> Endpoint:
    """Return the row of a decision about one quarantined event."""
    return Endpoint(
        name=name,
        method="POST",
        path=f"/api/quarantine/{{event}}/{verb}",
        summary=summary,
        scope="operator",
        request=QuarantineOrder,
        response=QuarantineAnswer,
        params=(EVENT,),
        statuses=(200, 409),
        mutates=True,
    )


PLANE: Final = (
    Endpoint(
        name="plane.health",
        method="GET",
        path="/health",
        summary="Whether the plane serves.",
        scope="public",
        response=Health,
        statuses=(200, 503),
    ),
    Endpoint(
        name="plane.openapi",
        method="GET",
        path="/api/openapi.json",
        summary="This table as OpenAPI 3.1.",
        scope="public",
        kind="asset",
    ),
    Endpoint(
        name="plane.docs",
        method="GET",
        path="/api/docs",
        summary="This table as a page to read.",
        scope="owner",
        kind="page",
    ),
    Endpoint(
        name="plane.metrics",
        method="GET",
        path="/metrics",
        summary="Figures in the Prometheus text format.",
        scope="operator",
        kind="asset",
    ),
    Endpoint(
        name="plane.doctor",
        method="GET",
        path="/api/doctor",
        summary="Look at stores, disks, keys and agents, and say what to do.",
        scope="operator",
        response=DoctorReport,
    ),
    Endpoint(
        name="agent.list",
        method="GET",
        path="/api/agents",
        summary="The agents that can be run here.",
        scope="owner",
        response=AgentList,
    ),
    Endpoint(
        name="operation.list",
        method="GET",
        path="/api/operations",
        summary="Orders and what became of them, newest first.",
        scope="owner",
        response=OperationList,
        params=(*PAGING, Param("instance", ID_PATTERN, "Only this instance's.")),
    ),
    Endpoint(
        name="operation.get",
        method="GET",
        path="/api/operations/{event}",
        summary="Follow one order from event to action to effect to outcome.",
        scope="owner",
        response=Operation,
        params=(EVENT,),
    ),
    Endpoint(
        name="quarantine.list",
        method="GET",
        path="/api/quarantine",
        summary="Events whose fold raised.",
        scope="operator",
        response=QuarantineList,
        params=PAGING,
    ),
    _decide("quarantine.retry", "retry", "Give the event to its actor again."),
    _decide("quarantine.drop", "drop", "Leave the event out for good."),
    _rehearse("dry-run", DryRunRequest, "What the next ticks would do."),
    _rehearse("replay", ReplayRequest, "Fold and decide the log again, and compare."),
    _rehearse("what-if", WhatIfRequest, "The same under another policy or with other events."),
    _rehearse("explain", ExplainRequest, "Why a tick decided what it decided."),
)
