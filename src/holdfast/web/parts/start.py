"""How a machine's controller comes up: its phases, the one that failed, what can be done. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import Badge
from holdfast.wire.api.instances import InstanceDetail, StartPhase, StartView

_PHASES: Final = {
    "decrypting": "Opens its keys",
    "directories": "Makes its folders",
    "runtime-config": "Reads its settings",
    "upgrade": "Changes the agent's version",
    "onboard": "Makes the agent's first files",
    "device-pairing": "Mends the pairing of the agent's own client",
    "doctor": "Has the agent's doctor look",
    "gateway-start": "Starts the agent",
}
_STATES: Final = {
    "ahead": Badge("to come", "off"),
    "running": Badge("under way", "busy"),
    "done": Badge("done", "ok"),
    "failed": Badge("failed", "bad"),
    "repaired": Badge("made good", "ok", "Its agent became ready all the same."),
    "skipped": Badge("not needed", "off"),
}


class PhaseLine(NamedTuple):
    """One phase as a line; `time` says how long it took, or what it may take."""

    key: str
    title: str
    badge: Badge
    time: str
    reason: str


class Start(NamedTuple):
    """The panel; `is_quiet` when all of it is done."""

    badge: Badge
    lines: tuple[PhaseLine, ...]
    summary: str
    told: Moment | None
    again: Moment | None
    fix: str
    can_retry: bool
    is_quiet: bool


def start(detail: InstanceDetail, *, now_ms: int) -> Start | None:
    """Return the panel, or None for a machine that has not reported."""
    view = detail.start
    if view is None or not view.phases or detail.instance.desired != "running":
        return None
    failed = next((phase for phase in view.phases if phase.state == "failed"), None)
    is_running = any(phase.state == "running" for phase in view.phases)
    took_ms = sum(phase.took_ms for phase in view.phases)
    return Start(
        badge=_STATES["failed" if failed else "running" if is_running else "done"],
        lines=tuple(_line(phase) for phase in view.phases),
        summary=f"It took {took_words(took_ms)}.",
        told=moment(view.told_at, now_ms),
        again=moment(view.again_at, now_ms),
        fix=_fix(failed, view),
        can_retry=failed is not None and not failed.critical,
        is_quiet=not (failed or is_running),
    )


def phase_words(view: StartView | None) -> str:
    """Return the phase that a start is in, or failed in and why; nothing where neither is so."""
    for phase in view.phases if view is not None else ():
        title = _PHASES.get(phase.name, phase.name)
        if phase.state == "failed":
            return f"Its start failed at “{title}”: {phase.reason or 'no reason was reported'}."
        if phase.state == "running":
            return f"It is at “{title}” of its start."
    return ""


def _line(phase: StartPhase) -> PhaseLine:
    limit = f"at most {phase.deadline_ms / 1_000:g} s" if phase.deadline_ms else ""
    took = took_words(phase.took_ms)
    times = {"ahead": limit, "skipped": "", "running": f"{took} of {limit}" if limit else took}
    return PhaseLine(
        key=phase.name,
        title=_PHASES.get(phase.name, phase.name),
        badge=_STATES.get(phase.state, Badge(phase.state, "off")),
        time=times.get(phase.state, took),
        reason=phase.reason,
    )


def _fix(failed: StartPhase | None, view: StartView) -> str:
    """Return what a person can do, or nothing."""
    if failed is None:
        return ""
    if not failed.critical:
        return "Look at its log, put right what it names, then go on from here."
    if view.again_at is not None:
        return ""
    return "Put its keys and settings right, then restart it: this phase is not tried again."


def took_words(took_ms: int) -> str:
    """Return a duration as a person reads it: `under 0.1 s`, `1.2 s`, `75 s`."""
    if took_ms < 100:  # noqa: PLR2004  a tenth of a second
        return "under 0.1 s"
    return f"{took_ms / 1_000:.1f} s" if took_ms < 10_000 else f"{took_ms // 1_000} s"  # noqa: PLR2004
