"""Routes of the doctor."""

from __future__ import annotations

from typing import Final

from holdfast.machine.controller.api.binder import Call, bind
from holdfast.machine.controller.api.context import Context
from holdfast.wire.controller import doctor as wire
from holdfast.wire.controller.doctor import DoctorAnswer, DoctorOrder, OkAnswer, StartedAnswer
from holdfast.wire.times import time_text


async def _start(context: Context, call: Call[DoctorOrder]) -> StartedAnswer:
    record = context.maintenance.doctor.start(fix=call.body.fix)
    started = time_text(record.started_at_ms)
    return StartedAnswer(ok=True, run_id=record.run_id, started_at=started)


async def _status(context: Context, call: Call[None]) -> DoctorAnswer:
    """Answer with the record; `?after=` returns the output from an earlier `nextOffset` on."""
    record = context.maintenance.doctor.record
    if record is None:
        return DoctorAnswer(has_run=False)
    chunk = context.maintenance.doctor.output.since(call.number("after") or 0)
    finished = record.finished_at_ms
    return DoctorAnswer(
        has_run=True,
        run_id=record.run_id,
        status=record.status,
        fix=record.fix,
        started_at=time_text(record.started_at_ms),
        finished_at=None if finished is None else time_text(finished),
        exit_code=record.exit_code,
        error=record.error or None,
        output=chunk.text,
        output_truncated=chunk.cut,
        next_offset=chunk.next,
    )


async def _cancel(context: Context, _call: Call[None]) -> OkAnswer:
    context.maintenance.doctor.cancel()
    return OkAnswer(ok=True)


DOCTOR: Final = (
    bind(wire.DOCTOR_START, _start),
    bind(wire.DOCTOR_STATUS, _status),
    bind(wire.DOCTOR_CANCEL, _cancel),
)
