"""How a machine's controller comes up and recovers its agent, as its check-ins tell it. Pure.

It is telemetry, and in no event: it is read beside the state, and only where it is of the
incarnation that the state knows.
"""

from __future__ import annotations

from typing import Final

from msgspec import structs

from holdfast.instances.ports import Reported
from holdfast.wire.api.instances import Climb, Fact, InstanceView, StartPhase, StartView
from holdfast.wire.confinement import Confinement
from holdfast.wire.limits import REASON_MAX
from holdfast.wire.times import time_text

_SHOWN: Final = frozenset({"starting", "running", "restarting", "recovering"})


def start_view(view: InstanceView, told: Reported | None) -> StartView | None:
    """Return the start of the machine that the instance has now, or None where it is not told."""
    if told is None or told.start is None or view.status not in _SHOWN:
        return None
    if not _is_of(view, told):
        return None
    start, again_ms = told.start, told.start.again_in_ms
    return StartView(
        phases=tuple(StartPhase(**structs.asdict(phase)) for phase in start.phases),
        told_at=time_text(told.start_ms),
        again_at=time_text(told.start_ms + again_ms) if again_ms else None,
    )


def climbs_view(view: InstanceView, told: Reported | None) -> tuple[Climb, ...]:
    """Return the rungs that the machine of now tried last, the latest last."""
    if told is None or view.status not in _SHOWN or not _is_of(view, told):
        return ()
    return tuple(
        Climb(
            rung=climb.rung, at=time_text(climb.at_ms), reason=climb.reason, done=climb.done,
            detail=climb.detail,
        )
        for climb in told.climbs
    )  # fmt: skip


def confinement_of(view: InstanceView, told: Reported) -> Confinement:
    """Return what confines the agent of the machine of now, as far as it has told."""
    return told.confinement if view.status in _SHOWN and _is_of(view, told) else "unknown"


def _is_of(view: InstanceView, told: Reported) -> bool:
    """Return whether the incarnation that is known has told this."""
    return not (told.epoch and view.epoch and told.epoch != view.epoch)


def start_fact(start: StartView | None) -> Fact | None:
    """Return the phase that a start is in or failed in, or None where there is nothing to say."""
    for phase in () if start is None else start.phases:
        if phase.state == "running":
            text = f"its controller is in the phase {phase.name} of its start"
            limit = f", which may take {phase.deadline_ms / 1_000:g} s" if phase.deadline_ms else ""
            return Fact(code="start.running", text=text + limit)
        if phase.state == "failed":
            text = f"its controller's start failed in the phase {phase.name}: {phase.reason}"
            assert start is not None, "it has phases"
            return Fact(code="start.failed", text=text[:REASON_MAX], at=start.told_at)
    return None


def start_fix(start: StartView | None, name: str) -> str:
    """Return what a person can do about a start that failed, or nothing."""
    for phase in () if start is None else start.phases:
        if phase.state != "failed":
            continue
        if not phase.critical:
            return f"Look at its log, then: holdfast instance retry {name}"
        if start is not None and start.again_at is None:
            return f"BeginRepair its keys and settings, then: holdfast instance restart {name}"
    return ""
