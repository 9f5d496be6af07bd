"""What was asked of an instance's machine: its configurations with verdicts, its doctor. Pure."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import Badge
from holdfast.wire.api.maintenance import ConfigVersion, ConfigVersions, DoctorRun

VERSIONS_SHOWN: Final = 12
OUTPUT_SHOWN: Final = 20_000
"""Characters of a doctor's output that a page shows, its end."""
_ETAG_SHOWN: Final = 12

_VERDICTS: Final = {
    "healthy": Badge("healthy", "ok", "The agent has stayed up with it."),
    "bad": Badge("bad", "bad", "The agent did not stay up with it; it is not offered again."),
    "unknown": Badge("not known", "off", "The agent has not run with it long enough."),
}
_RUNS: Final = {
    "running": Badge("looking", "busy"),
    "completed": Badge("done", "ok"),
    "failed": Badge("failed", "bad"),
    "cancelled": Badge("cancelled", "off"),
}


class VersionRow(NamedTuple):
    """One configuration that was in force; `restore` puts it back, None for the present one."""

    name: str
    badge: Badge
    reason: str
    origin: str
    at: Moment | None
    restore: dict[str, Any] | None


class Doctor(NamedTuple):
    """The last run of an agent's doctor; `is_cut` when its output is longer than shown."""

    badge: Badge
    at: Moment | None
    text: str
    output: str
    is_cut: bool
    is_running: bool


def versions(found: ConfigVersions, *, now_ms: int) -> tuple[VersionRow, ...]:
    """Return the configurations, the latest first; one known to be bad is not offered."""
    return tuple(
        _version(each, is_present=number == 0, now_ms=now_ms)
        for number, each in enumerate(found.versions[:VERSIONS_SHOWN])
    )


def _version(found: ConfigVersion, *, is_present: bool, now_ms: int) -> VersionRow:
    is_offered = not is_present and found.verdict != "bad"
    return VersionRow(
        name=found.etag[:_ETAG_SHOWN],
        badge=_VERDICTS[found.verdict],
        reason=found.reason,
        origin="in force" if is_present else found.origin,
        at=moment(found.at, now_ms),
        restore={"version": found.etag[:64]} if is_offered else None,
    )


def doctor(found: DoctorRun, *, now_ms: int) -> Doctor | None:
    """Return the last run, or None where there was none."""
    if not found.status:
        return None
    said = found.error or ("" if found.exit_code in {None, 0} else f"exit code {found.exit_code}")
    return Doctor(
        badge=_RUNS[found.status],
        at=moment(found.finished_at or found.started_at, now_ms),
        text=said,
        output=found.output[-OUTPUT_SHOWN:],
        is_cut=found.truncated or len(found.output) > OUTPUT_SHOWN,
        is_running=found.status == "running",
    )
