"""What the observer says of itself to its controller: what it did last, and why it does not."""

from __future__ import annotations

from holdfast.kernel.clock import Clock
from holdfast.machine.observer import limits
from holdfast.machine.observer.gate_file import Gate
from holdfast.machine.observer.heartbeat import Heart
from holdfast.machine.observer.progress import Progress, State
from holdfast.machine.observer.registration import FILE, Registration
from holdfast.machine.observer.upload import Uploader
from holdfast.wire.controller.checkin import ObserverWork, UnreadSources
from holdfast.wire.limits import CLIMB_TEXT_MAX, UNREAD_MAX


def work_of(
    *,
    heart: Heart,
    registration: Registration,
    gate: Gate,
    progress: Progress,
    uploader: Uploader,
    clock: Clock,
) -> ObserverWork:
    """Return it as it is now. Nothing of it is content: counts, times and fixed texts."""
    state = progress.state()
    paused = gate.closed_because()
    if not paused and registration.identity is None:
        paused = f"content waits for {FILE}: {registration.problem or 'it is not there yet'}"
    return ObserverWork(
        heard=heart.heard_ms,
        looked=state.looked_ms,
        stuck=_stuck(heart, registration, state, clock)[:CLIMB_TEXT_MAX],
        paused=paused[:CLIMB_TEXT_MAX],
        waiting=sum(uploader.depth().values()),
        sources=state.sources,
        bytes=state.size,
        oversized=state.too_long,
        unread=tuple(
            UnreadSources(reason=each.reason[:CLIMB_TEXT_MAX], sources=each.sources)
            for each in state.troubles[:UNREAD_MAX]
        ),
    )


def _stuck(heart: Heart, registration: Registration, state: State, clock: Clock) -> str:
    if heart.unanswered:
        if registration.config is None:
            return f"it could not register: {registration.problem or registration.refused}"
        return f"heartbeats are not answered: {heart.unanswered}"
    if clock.steady_ms() - state.stepped_ms > limits.STUCK_MS:
        return f"reading has made no step for {limits.STUCK_MS // 60_000} minutes"
    return ""
