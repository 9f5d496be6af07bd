"""A controller's start and its agent's recovery, as the last check-in reports them. Pure.

They are in no event: they are read in addition to the state, and only if they are of the
incarnation in the state.
"""

from __future__ import annotations

from typing import Final

import msgspec

from holdfast.letters.machine import LastContact
from holdfast.wire.api.instances import (
    Climb,
    Fact,
    InstanceView,
    ObserverView,
    StartPhase,
    StartView,
)
from holdfast.wire.confinement import Confinement, read_confinement
from holdfast.wire.controller.checkin import MachineStatus
from holdfast.wire.limits import REASON_MAX
from holdfast.wire.observing import work_texts
from holdfast.wire.times import time_text

_SHOWN: Final = frozenset({"starting", "running", "restarting", "recovering"})


def status_of(view: InstanceView, last: LastContact | None) -> MachineStatus | None:
    """Return what the instance's present machine reported last, or None where that is unknown."""
    if last is None or view.status not in _SHOWN:
        return None
    is_other = last.epoch and view.epoch and last.epoch != view.epoch
    return None if is_other else last.status


def start_view(view: InstanceView, last: LastContact | None) -> StartView | None:
    """Return the start of the present machine, or None where it is unknown."""
    status = status_of(view, last)
    if last is None or status is None or status.start is None:
        return None
    start, again_ms = status.start, status.start.again_in_ms
    return StartView(
        phases=msgspec.convert(start.phases, tuple[StartPhase, ...], from_attributes=True),
        told_at=time_text(last.status_ms),
        again_at=time_text(last.status_ms + again_ms) if again_ms else None,
    )


def climbs_view(view: InstanceView, last: LastContact | None) -> tuple[Climb, ...]:
    """Return the rungs that the present machine tried last, the latest last."""
    status = status_of(view, last)
    return tuple(
        Climb(
            rung=climb.rung, at=time_text(climb.at_ms), reason=climb.reason, done=climb.done,
            detail=climb.detail,
        )
        for climb in (() if status is None else status.climbs)
    )  # fmt: skip


def confinement_of(status: MachineStatus | None) -> Confinement:
    """Return what confines an agent, as its machine reported it."""
    return "unknown" if status is None else read_confinement(status.confinement)


def observer_view(status: MachineStatus | None) -> ObserverView | None:
    """Return how the observer beside the agent does, None where that is unknown."""
    if status is None or not status.observer:
        return None
    return ObserverView(
        state=status.observer, reason=status.observer_reason, work=status.observer_work
    )


def observer_words(observer: ObserverView | None) -> str:
    """Return what an observer that should run does, or why it does not; nothing if it is off."""
    if observer is None or observer.state == "off":
        return ""
    head = ""
    if observer.state == "failing":
        head = f"started again, because {observer.reason}"
    elif observer.state == "stalled":
        head = f"it runs and does not do its work: {observer.reason}"
    return "; ".join(filter(None, (head, *work_texts(observer.work))))[:REASON_MAX]


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
            return f"Put its keys and settings right, then: holdfast instance restart {name}"
    return ""
