"""What is known of a cron job: its schedule, its next run, and how the last one ended. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from holdfast.content.accept import SECONDS_MAX, count_of, loads, text
from holdfast.content.records import CRON, AboutRow
from holdfast.wire.api.content import CronJob
from holdfast.wire.limits import NODE_PATH_MAX, REASON_MAX
from holdfast.wire.times import parse_time, time_text


def cron_job(row: AboutRow) -> CronJob:
    """Return one job with what its client said of it last."""
    found = loads(row.body)
    data = _fields(_fields(found).get("data"))
    state = _fields(data.get("state"))
    enabled = data.get("enabled")
    return CronJob(
        id=row.name.removeprefix(CRON)[:NODE_PATH_MAX],
        name=text(data.get("name"), REASON_MAX),
        at=time_text(row.received_ms),
        schedule=_schedule(data),
        enabled=enabled if isinstance(enabled, bool) else None,
        next_at=_time(state, "nextRunAtMs", "nextRunAt", "next_run_at"),
        last_at=_time(state, "lastRunAtMs", "lastRunAt", "last_run_at"),
        result=text(_first(state, "lastStatus", "lastRunStatus", "last_status")),
        error=text(_first(state, "lastError", "last_error"), REASON_MAX),
        took_ms=count_of(_first(state, "lastDurationMs", "last_duration_ms")),
    )


def _fields(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(state: Mapping[str, Any], *names: str) -> object:
    return next((state[name] for name in names if state.get(name) is not None), None)


def _schedule(data: Mapping[str, Any]) -> str:
    """Return when it runs, as its agent writes it; a schedule that is not text, by its parts."""
    given = data.get("expr") or data.get("schedule")
    if isinstance(given, dict):
        parts = (given.get(name) for name in ("kind", "expr", "everyMs", "at", "tz"))
        return " ".join(said for part in parts if (said := text(part)))[:REASON_MAX]
    return text(given, REASON_MAX)


def _time(state: Mapping[str, Any], *names: str) -> str | None:
    value = _first(state, *names)
    at_ms = parse_time(value) or count_of(value)
    if not at_ms:
        return None
    return time_text(at_ms * 1_000 if at_ms < SECONDS_MAX else at_ms)
