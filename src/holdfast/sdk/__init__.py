"""Brain: lets an agent record corrections locally and have them on the dashboard.

    from holdfast.sdk import Brain

    with Brain("brain") as brain:
        brain.correct(draft="Utilize the tool.", final="Use the tool.")

Standard library only, and it does not import wire: a contract test compares the two. It must never
raise into, or slow, the agent that uses it. Exports are loaded on first use.
"""

from __future__ import annotations

# Not from typing: loading that alone would take longer than everything here.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any

    from holdfast.outbox.database import UnavailableError
    from holdfast.outbox.ports import DeadLetter
    from holdfast.outbox.receipts import Flushed
    from holdfast.sdk.async_brain import AsyncBrain
    from holdfast.sdk.brain import Brain
    from holdfast.sdk.lessons import Lesson
    from holdfast.sdk.record import Event
    from holdfast.sdk.results import Correction, Recorded, SessionEnd, Synced

__all__ = [
    "AsyncBrain",
    "Brain",
    "Correction",
    "DeadLetter",
    "Event",
    "Flushed",
    "Lesson",
    "Recorded",
    "SessionEnd",
    "Synced",
    "UnavailableError",
]

_HOMES = {
    "AsyncBrain": "holdfast.sdk.async_brain",
    "Brain": "holdfast.sdk.brain",
    "Lesson": "holdfast.sdk.lessons",
    "Event": "holdfast.sdk.record",
    "DeadLetter": "holdfast.outbox.ports",
    "Flushed": "holdfast.outbox.receipts",
    "UnavailableError": "holdfast.outbox.database",
}


def __getattr__(name: str) -> Any:
    """Load an export on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    value = getattr(import_module(_HOMES.get(name, "holdfast.sdk.results")), name)
    globals()[name] = value
    return value
