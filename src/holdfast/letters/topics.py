"""What an open page may be told of: the topics, and how whoever writes something tells.

A commit's rows and a stream's writes are told in one way: `publish(topic, key, account)`, after
the write is durable. It carries no content; a page asks the API, with its reader's own rights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, TypeAlias

Topic: TypeAlias = Literal[
    "instance", "contact", "operation", "quarantine", "pairing", "correction", "lesson", "brain"
]

Publish: TypeAlias = Callable[[Topic, str, str | None], object]
"""Called with a topic, the key of what changed, and the account that may know (None: operators)."""

INSTANCE: Final = "instance"
"""A committed view row of an instance; the key is its id."""
CONTACT: Final = "contact"
"""A machine was heard, or its figures changed; the key is the instance's id."""
OPERATION: Final = "operation"
"""An order went on; the key is the id of its actor."""
QUARANTINE: Final = "quarantine"
"""The quarantine changed; the key is the event, or the id of its actor."""
PAIRING: Final = "pairing"
"""What waits for a decision changed, or how it is decided; the key is the instance's id."""
CORRECTION: Final = "correction"
"""Corrections of a brain were received or came again; the key is the brain's id."""
LESSON: Final = "lesson"
"""A lesson changed or was decided about; the key is the brain's id."""
BRAIN: Final = "brain"
"""What is known of a brain changed: its queue, counts, gaps or alerts; the key is its id."""
