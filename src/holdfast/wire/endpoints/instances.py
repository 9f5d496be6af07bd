"""Endpoints about instances: list, make, order, change, look into.

An order answers 200 with the instance as it stands after the event was taken, 409 with the
refusal, or 202 with the operation to follow.
"""

from __future__ import annotations

from typing import Any, Final

from holdfast.wire.endpoints.params import ACCOUNT, AFTER, ID, LIMIT, PAGING
from holdfast.wire.endpoints.row import Endpoint, Method, Param
from holdfast.wire.limits import BODY_BYTES_MAX, INSTANCE_BODY_BYTES_MAX
from holdfast.wire.messages.fields import ID_PATTERN
from holdfast.wire.messages.instances import (
    BulkAnswer,
    BulkOrder,
    ChartSet,
    Explanation,
    InstanceCreate,
    InstanceDestroy,
    InstanceDetail,
    InstanceList,
    InstanceOrder,
    InstancePatch,
    InstanceRotation,
    InstanceView,
    LogTail,
    Timeline,
)
from holdfast.wire.messages.operations import Pending

_ONE: Final = "/api/instances/{id}"
_WINDOW: Final = Param("window", r"15m|1h|6h|24h|7d", "How far back (default 1h).")


def _order(
    name: str,
    path: str,
    request: Any,
    summary: str,
    *,
    method: Method = "POST",
    body_bytes_max: int = BODY_BYTES_MAX,
) -> Endpoint:
    """Return the row of an order to one instance."""
    return Endpoint(
        name=name,
        method=method,
        path=path,
        summary=summary,
        scope="owner",
        request=request,
        response=InstanceView,
        pending=Pending,
        params=(ID,),
        statuses=(200, 202, 409),
        body_bytes_max=body_bytes_max,
        mutates=True,
    )


def _look(
    name: str, path: str, response: Any, summary: str, params: tuple[Param, ...] = ()
) -> Endpoint:
    """Return the row of a question about instances."""
    return Endpoint(
        name=name,
        method="GET",
        path=path,
        summary=summary,
        scope="owner",
        response=response,
        params=params,
    )


INSTANCES: Final = (
    _look(
        "instance.list",
        "/api/instances",
        InstanceList,
        "List instances: filter, sort and page.",
        (
            *PAGING,
            ACCOUNT,
            Param("status", r"[a-z]{1,32}(,[a-z]{1,32}){0,15}", "Only these statuses."),
            Param("agent", r"[a-z0-9-]{1,63}", "Only this agent."),
            Param("attention", r"true|false", "Only those that need a person, or only others."),
            Param("text", r"[ -~]{1,64}", "Only where the name or id contains this."),
            Param(
                "sort",
                r"-?(name|status|agent|created|restarts|contact|load)",
                "Order by this; a hyphen in front turns it round (default name).",
            ),
        ),
    ),
    Endpoint(
        name="instance.create",
        method="POST",
        path="/api/instances",
        summary="Make an instance, and start it unless told otherwise.",
        scope="owner",
        request=InstanceCreate,
        response=InstanceView,
        pending=Pending,
        statuses=(201, 202, 409),
        body_bytes_max=INSTANCE_BODY_BYTES_MAX,
        mutates=True,
    ),
    Endpoint(
        name="instance.bulk-start",
        method="POST",
        path="/api/instances/bulk/start",
        summary="Start many instances; each is answered for itself.",
        scope="owner",
        request=BulkOrder,
        response=BulkAnswer,
        mutates=True,
    ),
    Endpoint(
        name="instance.bulk-stop",
        method="POST",
        path="/api/instances/bulk/stop",
        summary="Stop many instances; each is answered for itself.",
        scope="owner",
        request=BulkOrder,
        response=BulkAnswer,
        mutates=True,
    ),
    _look(
        "instance.fleet-charts",
        "/api/charts",
        ChartSet,
        "The charts of the whole visible fleet.",
        (_WINDOW, ACCOUNT),
    ),
    _look("instance.get", _ONE, InstanceDetail, "Show one instance.", (ID,)),
    _order("instance.start", f"{_ONE}/start", InstanceOrder, "Want it running."),
    _order("instance.stop", f"{_ONE}/stop", InstanceOrder, "Want it stopped."),
    _order("instance.restart", f"{_ONE}/restart", InstanceOrder, "Restart its agent."),
    _order(
        "instance.rotate-secrets",
        f"{_ONE}/rotate-secrets",
        InstanceRotation,
        "Replace its tokens and its API key; those before stay good for a while.",
    ),
    _order(
        "instance.ladder-stop",
        f"{_ONE}/ladder/stop",
        InstanceOrder,
        "Stop the recovery of its agent where it is; restarts go on.",
    ),
    _order(
        "instance.ladder-retry",
        f"{_ONE}/ladder/retry",
        InstanceOrder,
        "Let the recovery of its agent begin anew, at once.",
    ),
    _order(
        "instance.destroy",
        f"{_ONE}/destroy",
        InstanceDestroy,
        "Destroy it and its data, for good; the name must be typed as confirmation.",
    ),
    _order(
        "instance.patch",
        _ONE,
        InstancePatch,
        "Change its environment and secrets.",
        method="PATCH",
        body_bytes_max=INSTANCE_BODY_BYTES_MAX,
    ),
    _look(
        "instance.logs",
        f"{_ONE}/logs",
        LogTail,
        "The last lines its agent and controller printed.",
        (
            ID,
            Param("lines", r"[1-9][0-9]{0,2}|1000", "How many, 1 to 1000 (default 200)."),
            Param("stream", r"stdout|stderr|controller", "Only this stream."),
            AFTER,
        ),
    ),
    _look(
        "instance.timeline",
        f"{_ONE}/timeline",
        Timeline,
        "What happened, what was decided and what came of it, newest first.",
        (ID, LIMIT, AFTER, Param("cause", ID_PATTERN, "Only what this event led to.")),
    ),
    _look("instance.charts", f"{_ONE}/charts", ChartSet, "Its charts.", (ID, _WINDOW)),
    _look(
        "instance.explain",
        f"{_ONE}/explain",
        Explanation,
        "Why it is not running, or that it is, and what comes next.",
        (ID,),
    ),
)
