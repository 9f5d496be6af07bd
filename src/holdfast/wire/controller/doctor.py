"""The agent's own doctor: started, ended, and its last run with what it printed."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from holdfast.wire.api.endpoint import Counter, Label, Param, Reason, Time
from holdfast.wire.api.maintenance import OUTPUT_CHARS_MAX
from holdfast.wire.controller.endpoint import act, look, order, wanted

AFTER: Final = Param("after", r"[0-9]{1,12}", "the nextOffset of the answer before")


class DoctorOrder(Struct, frozen=True, kw_only=True):
    """Have the doctor look; `fix` lets it repair what it finds."""

    fix: Annotated[bool, wanted("true or false")] = True


class StartedAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """The run that was started."""

    ok: bool
    run_id: Label = ""
    started_at: Time = ""


class DoctorAnswer(Struct, frozen=True, kw_only=True, rename="camel"):
    """The record of the last run with its output; without one only what is not optional."""

    has_run: bool
    run_id: Label | UnsetType = UNSET
    status: Literal["running", "completed", "failed", "cancelled"] | None = None
    fix: bool | UnsetType = UNSET
    started_at: Time | UnsetType | None = UNSET
    finished_at: Time | UnsetType | None = UNSET
    exit_code: int | UnsetType | None = UNSET
    error: Reason | UnsetType | None = UNSET
    output: Annotated[str, Meta(max_length=OUTPUT_CHARS_MAX)] = ""
    output_truncated: bool | UnsetType = UNSET
    next_offset: Counter = 0


class OkAnswer(Struct, frozen=True, kw_only=True):
    """It was done."""

    ok: bool


DOCTOR_START: Final = order(
    "doctor/start", DoctorOrder, StartedAnswer, "Start a run.",
    capability="doctor.run", statuses=(200, 409), may_be_empty=True,
    codes=("openclaw_doctor_already_active", "openclaw_doctor_start_failed"),
)  # fmt: skip
DOCTOR_STATUS: Final = look(
    "doctor/status", DoctorAnswer, "The last run, with its output from position `after` on.",
    AFTER, capability="doctor.run",
)  # fmt: skip
DOCTOR_CANCEL: Final = act(
    "doctor/cancel", OkAnswer, "End the run that goes on.",
    capability="doctor.run", codes=("openclaw_doctor_no_active_run",),
)  # fmt: skip

DOCTOR: Final = (DOCTOR_START, DOCTOR_STATUS, DOCTOR_CANCEL)
