"""Endpoints about the plane itself: health, description, operations, quarantine, rehearsals.

Only `/health`, the proof and the OpenAPI document are public, and none says what runs here.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import (
    ID_PATTERN,
    PAGING,
    Counter,
    Cursor,
    Label,
    Param,
    Reason,
    look,
    order,
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
    """Whether the plane serves; `starting` until its stores are open.

    `degraded` serves, and something needs a person: the doctor says what. `failed` is about to end,
    because a part that it cannot do without has.
    """

    status: Literal["ok", "starting", "degraded", "failed", "stopping"]
    version: Label


class PlaneProof(Struct, frozen=True, kw_only=True):
    """The answer to a challenge, by the key of this plane's home (`plane.key`)."""

    proof: Label


class KeysRotate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seal with a new key; with `next` of the previous answer as `after`, continue there."""

    after: Cursor = ""


class KeysRotated(Struct, frozen=True, kw_only=True):
    """The progress: `made` is true if this call made `key`, `next` is empty at the end.

    `resealed` counts sealed texts, `busy` instances that did not take them in time: call it again.
    """

    key: Label
    made: bool
    resealed: Counter
    busy: Counter
    next: Cursor = ""


class AgentVersion(Struct, frozen=True, kw_only=True):
    """One version of an agent: whether it is here, who uses it; `default`: new instances get it."""

    version: Label
    installed: bool
    default: bool
    instances: Counter


class AgentView(Struct, frozen=True, kw_only=True):
    """One agent that can be run: bundled ones always, others once installed.

    `version` is the one that new instances get; each instance keeps the version it was given.
    """

    name: Label
    summary: Reason
    bundled: bool
    installed: bool
    version: Label = ""
    versions: Annotated[tuple[AgentVersion, ...], Meta(max_length=PAGE_ITEMS_MAX)] = ()
    fix: Reason = ""


class AgentList(Struct, frozen=True, kw_only=True):
    """Every agent the plane has a profile of, by name."""

    items: Annotated[tuple[AgentView, ...], Meta(max_length=PAGE_ITEMS_MAX)]


class DoctorCheck(Struct, frozen=True, kw_only=True):
    """One check of the doctor; `fix` is what to do if the result is not `ok`."""

    name: Label
    result: Literal["ok", "warning", "failed"]
    message: Reason
    fix: Reason = ""


class DoctorReport(Struct, frozen=True, kw_only=True):
    """What the doctor found; `ok` when nothing failed."""

    ok: bool
    checks: Annotated[tuple[DoctorCheck, ...], Meta(max_length=PAGE_ITEMS_MAX)]


NONCE_PATTERN: Final = r"[0-9a-f]{32,64}"
"""A challenge: 128 bits or more, as hexadecimal digits."""

_ACTOR: Final = Param("actor", rf"[a-z][a-z0-9-]{{0,31}}/{ID_PATTERN}", "Only this actor's.")
_REHEARSE: Final = "/api/rehearse/{kind}/{id}"
_rehearse: Final = partial(
    order, scope="operator", statuses=(200, 409, 503), mutates=False, audited=True
)
"""The row of a rehearsal; it changes nothing and is audited all the same."""

PLANE: Final = (
    look(
        "plane.health", "/health", Health,
        "Whether the plane serves.", scope="public", statuses=(200, 503),
    ),
    look(
        "plane.prove", "/api/proof", PlaneProof,
        "Proof that this plane has the key of its home, before a token is sent to it.",
        Param("nonce", NONCE_PATTERN, "What is to be answered: random.", required=True),
        scope="public",
    ),
    order(
        "keys.rotate", "/api/keys/rotate", KeysRotate, KeysRotated,
        "Seal every stored secret under a new key, or go on with what is left.", scope="operator",
    ),
    look(
        "plane.openapi", "/api/openapi.json", None,
        "This table as OpenAPI 3.1.", scope="public", kind="asset",
    ),
    look("plane.docs", "/api/docs", None, "This table as a page to read.", kind="page"),
    look(
        "plane.metrics", "/metrics", None,
        "Figures in the Prometheus text format.", scope="operator", kind="asset",
    ),
    look(
        "plane.doctor", "/api/doctor", DoctorReport,
        "Look at stores, disks, keys and agents, and say what to do.", scope="operator",
    ),
    look("agent.list", "/api/agents", AgentList, "The agents that can be run here."),
    look(
        "operation.list", "/api/operations", OperationList,
        "Orders and what became of them, newest first.",
        *PAGING, Param("instance", ID_PATTERN, "Only this instance's, by id or name."),
    ),
    look(
        "operation.get", "/api/operations/{event}", Operation,
        "Follow one order from event to action to effect to outcome.",
    ),
    look(
        "quarantine.list", "/api/quarantine", QuarantineList,
        "Events whose fold raised.", *PAGING, _ACTOR, scope="operator",
    ),
    order(
        "quarantine.retry", "/api/quarantine/{event}/retry", QuarantineOrder, QuarantineAnswer,
        "Give the event to its actor again.", scope="operator", statuses=(200, 409),
    ),
    order(
        "quarantine.drop", "/api/quarantine/{event}/drop", QuarantineOrder, QuarantineAnswer,
        "Leave the event out for good.", scope="operator", statuses=(200, 409),
    ),
    _rehearse(
        "rehearse.dry-run", f"{_REHEARSE}/dry-run", DryRunRequest, Rehearsal,
        "What the next ticks would do.",
    ),
    _rehearse(
        "rehearse.replay", f"{_REHEARSE}/replay", ReplayRequest, Rehearsal,
        "Fold and decide the log again, and compare.",
    ),
    _rehearse(
        "rehearse.what-if", f"{_REHEARSE}/what-if", WhatIfRequest, Rehearsal,
        "The same under another policy or with other events.",
    ),
    _rehearse(
        "rehearse.explain", f"{_REHEARSE}/explain", ExplainRequest, Rehearsal,
        "Why a tick decided what it decided.",
    ),
)  # fmt: skip
