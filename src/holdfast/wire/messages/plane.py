"""Messages about the plane itself: health, agents that can be run, and the doctor's report.

Health is public, so it says nothing about what runs here.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from holdfast.wire.limits import PAGE_ITEMS_MAX
from holdfast.wire.messages.fields import Label, Reason


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
