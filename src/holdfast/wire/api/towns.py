"""Endpoints about towns: agents that work through beads in rigs.

A bead's text is not here: `content` is the id of a text that whoever slings it keeps. 404 is a town
that does not exist or is not visible. Why a bead waits is asked of `rehearse.explain`, with the
entity `b/` and its id.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from holdfast.wire.api.endpoint import (
    ACCOUNT,
    ID_PATTERN,
    PAGING,
    Counter,
    Cursor,
    Given,
    Id,
    Label,
    Param,
    Time,
    look,
)
from holdfast.wire.api.operations import followed
from holdfast.wire.limits import PAGE_ITEMS_MAX

GATES_MAX: Final = 16
BLOCKERS_MAX: Final = 32

BeadStatus = Literal["open", "in_progress", "in_review", "closed", "failed"]


class TownCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A town to make; `account` is for operators. It reviews what its agents make by default."""

    name: Given
    account: Label = ""
    code_review: bool = True
    agents_max: Annotated[int, Meta(ge=1, le=1_000)] = 50


class TownView(Struct, frozen=True, kw_only=True):
    """A town. `breaker` says whether dispatching is cut off, `draining` whether its host goes."""

    id: Id
    account: Label
    name: Label
    created_at: Time
    closed: bool
    draining: bool
    breaker: Literal["closed", "open", "half_open"]
    exhausted: bool
    code_review: bool
    agents_max: Counter


class TownList(Struct, frozen=True, kw_only=True):
    """Towns by id."""

    items: Annotated[tuple[TownView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


class RigAdd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A repository to work on, or what is set for one that is there; `gates` name its checks."""

    name: Given
    branch: Annotated[str, Meta(min_length=1, max_length=200)] = "main"
    gates: Annotated[tuple[Given, ...], Meta(max_length=GATES_MAX)] = ()


class BeadSling(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An issue to be done; 0 is the most urgent priority. It waits for those in `blocked_by`."""

    rig: Given
    content: Label = ""
    priority: Annotated[int, Meta(ge=0, le=3)] = 2
    blocked_by: Annotated[tuple[Id, ...], Meta(max_length=BLOCKERS_MAX)] = ()


class BeadView(Struct, frozen=True, kw_only=True):
    """A bead as it was committed last."""

    id: Id
    type: Label
    status: BeadStatus
    rig: Label
    priority: Counter
    content: Label
    assignee: Label
    attempts: Counter
    blockers: Counter
    convoy: Label
    source: Label
    failure: Label
    created_at: Time
    updated_at: Time


class BeadList(Struct, frozen=True, kw_only=True):
    """Beads of a town by id, with those that ended."""

    items: Annotated[tuple[BeadView, ...], Meta(max_length=PAGE_ITEMS_MAX)]
    next: Cursor = ""


_ONE: Final = "/api/towns/{id}"
_BEAD: Final = Param("bead", ID_PATTERN, "The id of the bead.", required=True)

TOWNS: Final = (
    look("towns.list", "/api/towns", TownList, "Towns.", *PAGING, ACCOUNT),
    followed("towns.create", "/api/towns", TownCreate, TownView, "Make a town."),
    look("towns.get", _ONE, TownView, "A town, and what keeps it from starting agents."),
    followed(
        "towns.rig", f"{_ONE}/rigs", RigAdd, TownView, "Add a repository, or change what is set."
    ),
    followed("towns.sling", f"{_ONE}/beads", BeadSling, BeadView, "Give a town an issue to do."),
    look("towns.beads", f"{_ONE}/beads", BeadList, "Beads of a town.", *PAGING),
    look("towns.bead", f"{_ONE}/beads/{{bead}}", BeadView, "One bead of a town.", _BEAD),
)
