"""The type of a vital part: a loop or thread that must run until the process stops."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple


class Vital(NamedTuple):
    """One vital part; `ended` returns None while it runs, and afterwards why it ended."""

    name: str
    ended: Callable[[], str | None]
