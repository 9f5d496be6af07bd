"""The topics of changes that open pages subscribe to, and the function that publishes one.

Every change of a committed row or of a stream is published as `publish(topic, key, account)`, after
the write is durable. It carries no content; a page reads the API with its reader's own rights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

Topic: TypeAlias = Literal[
    "instance",
    "contact",
    "operation",
    "quarantine",
    "pairing",
    "node",
    "content",
    "correction",
    "lesson",
    "brain",
    "town",
]

Publish: TypeAlias = Callable[[Topic, str, str | None], object]
"""Called with a topic, the key of what changed, and the account that may know (None: operators)."""

INSTANCE: Final = "instance"
"""A committed view row of an instance; the key is its id."""
CONTACT: Final = "contact"
"""A check-in arrived, or its figures changed; the key is the instance's id."""
OPERATION: Final = "operation"
"""An operation advanced; the key is the id of its actor."""
QUARANTINE: Final = "quarantine"
"""The quarantine changed; the key is the event, or the id of its actor."""
PAIRING: Final = "pairing"
"""Pending pairing requests, or the policy for them, changed; the key is the instance's id."""
NODE: Final = "node"
"""A node registered, or its consent, receipts or senders changed; the key is the node's id."""
CONTENT: Final = "content"
"""Content of a node was stored; the key is the node's id."""
CORRECTION: Final = "correction"
"""Corrections of a brain were received or came again; the key is the brain's id."""
LESSON: Final = "lesson"
"""A lesson changed or was decided about; the key is the brain's id."""
BRAIN: Final = "brain"
"""A brain's queue, counts, gaps or alerts changed; the key is its id."""
TOWN: Final = "town"
"""A tick of a town was committed; the key is the town's id."""
