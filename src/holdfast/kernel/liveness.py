"""What a process cannot do without: loops and threads that must go on until it stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Vital(NamedTuple):
    """One of them; `ended` returns None while it goes on, and afterwards why it ended."""

    name: str
    ended: Callable[[], str | None]
