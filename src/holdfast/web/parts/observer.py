"""What the observer beside an instance's agent does, and why it does not."""

from __future__ import annotations

from holdfast.wire.api.instances import ObserverView
from holdfast.wire.observing import work_texts


def observer_words(observer: ObserverView | None) -> str:
    """Return why none works, nothing while one does or that is unknown."""
    if observer is None or observer.state == "running":
        return ""
    if observer.state == "off":
        return f"No observer runs beside its agent: {observer.reason}."
    if observer.state == "stalled":
        return f"Its observer runs, and does not do its work: {observer.reason}."
    return f"Its observer stopped, and is started again: {observer.reason}."


def observer_work(observer: ObserverView | None) -> tuple[str, ...]:
    """Return what it did last, one fact a text."""
    return () if observer is None else tuple(work_texts(observer.work))
