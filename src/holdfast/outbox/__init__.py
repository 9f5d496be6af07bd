"""The sender's durable queue: policy, queue and drain.

Everything that leaves a machine goes through it. Standard library only, because it runs inside
other people's programs. It must never block its caller or lose data silently.

    with open_outbox(folder, sender=HttpSender(target, clock=clock)) as outbox:
        with outbox.transaction() as tx:
            tx.execute("INSERT INTO corrections VALUES (?)", (text,))
            tx.enqueue("correction", event_id, {"draft": draft, "final": final})

Exports are loaded on first use, so importing the package costs nothing.
"""

from __future__ import annotations

# Not from typing: loading that alone would take longer than everything here.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, Final

    from holdfast.outbox.box import Outbox, open_outbox
    from holdfast.outbox.database import MEMORY, POWER, PROCESS, UnavailableError
    from holdfast.outbox.doctor import Stats, inspect
    from holdfast.outbox.http_sender import HttpSender, Target
    from holdfast.outbox.ports import (
        Answer,
        Answered,
        Batch,
        DeadLetter,
        Failed,
        Gate,
        Item,
        Notice,
        Refusal,
        Rejected,
        Sender,
        Throttled,
        TooLarge,
        Unauthorized,
        Unready,
    )
    from holdfast.outbox.receipts import OPEN, Flushed, Receipt
    from holdfast.outbox.transaction import DROPPED, DUPLICATE, STORED, Transaction

__all__ = [
    "DROPPED",
    "DUPLICATE",
    "MEMORY",
    "OPEN",
    "POWER",
    "PROCESS",
    "STORED",
    "Answer",
    "Answered",
    "Batch",
    "DeadLetter",
    "Failed",
    "Flushed",
    "Gate",
    "HttpSender",
    "Item",
    "Notice",
    "Outbox",
    "Receipt",
    "Refusal",
    "Rejected",
    "Sender",
    "Stats",
    "Target",
    "Throttled",
    "TooLarge",
    "Transaction",
    "Unauthorized",
    "UnavailableError",
    "Unready",
    "inspect",
    "open_outbox",
]

_BOX: Final = "holdfast.outbox.box"
_DATABASE: Final = "holdfast.outbox.database"
_TRANSACTION: Final = "holdfast.outbox.transaction"
_RECEIPTS: Final = "holdfast.outbox.receipts"
_PORTS: Final = "holdfast.outbox.ports"
_HOMES: Final = {
    "Outbox": _BOX,
    "open_outbox": _BOX,
    "MEMORY": _DATABASE,
    "PROCESS": _DATABASE,
    "POWER": _DATABASE,
    "UnavailableError": _DATABASE,
    "Stats": "holdfast.outbox.doctor",
    "inspect": "holdfast.outbox.doctor",
    "HttpSender": "holdfast.outbox.http_sender",
    "Target": "holdfast.outbox.http_sender",
    "DROPPED": _TRANSACTION,
    "DUPLICATE": _TRANSACTION,
    "STORED": _TRANSACTION,
    "Transaction": _TRANSACTION,
    "OPEN": _RECEIPTS,
    "Flushed": _RECEIPTS,
    "Receipt": _RECEIPTS,
}


def __getattr__(name: str) -> Any:
    """Load an export on first use."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415

    value = getattr(import_module(_HOMES.get(name, _PORTS)), name)
    globals()[name] = value
    return value
