"""Why no observer runs beside an instance's agent."""

from __future__ import annotations

from holdfast.wire.api.instances import ObserverView


def observer_words(observer: ObserverView | None) -> str:
    """Return why none runs, nothing while one does or that is unknown."""
    if observer is None or observer.state == "running":
        return ""
    if observer.state == "off":
        return f"No observer runs beside its agent: {observer.reason}."
    return f"Its observer stopped, and is started again: {observer.reason}."
