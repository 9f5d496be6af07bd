"""The routes about the doctor."""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from holdfast.machine.controller.api.context import Desk, Route
from holdfast.machine.controller.api.reply import answer, read_object, take_flag, wrong
from holdfast.wire.times import time_text

_POSITION: Final = re.compile(r"[0-9]{1,12}")


async def _start(desk: Desk, request: web.Request) -> web.Response:
    body = await read_object(request, empty_is="{}")
    record = desk.care.doctor.start(fix=take_flag(body, "fix", default=True))
    started = time_text(record.started_at_ms)
    return answer({"ok": True, "runId": record.run_id, "startedAt": started})


async def _status(desk: Desk, request: web.Request) -> web.Response:
    """Answer with the record; `?after=` asks for the output from `nextOffset` of before on."""
    after = request.query.get("after", "0")
    if not _POSITION.fullmatch(after):
        wrong("after", "want the nextOffset of the answer before")
    record = desk.care.doctor.record
    if record is None:
        return answer({"hasRun": False, "status": None, "output": "", "nextOffset": 0})
    chunk = desk.care.doctor.output.since(int(after))
    finished = record.finished_at_ms
    return answer(
        {
            "hasRun": True,
            "runId": record.run_id,
            "status": record.status,
            "fix": record.fix,
            "startedAt": time_text(record.started_at_ms),
            "finishedAt": None if finished is None else time_text(finished),
            "exitCode": record.exit_code,
            "error": record.error or None,
            "output": chunk.text,
            "outputTruncated": chunk.cut,
            "nextOffset": chunk.next,
        }
    )


async def _cancel(desk: Desk, _request: web.Request) -> web.Response:
    desk.care.doctor.cancel()
    return answer({"ok": True})


DOCTOR: Final = (
    Route("POST", "doctor/start", _start, "doctor.run"),
    Route("GET", "doctor/status", _status, "doctor.run"),
    Route("POST", "doctor/cancel", _cancel, "doctor.run"),
)
