"""The condition of a store's file, from errors of its calls: damaged, or not writable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

REMARK_CHARS: Final = 200


class Trouble:
    """Classifies the errors of one file; errors that are not about the file are ignored.

    Damage stays noted until the process ends, because later calls may not touch the damaged part.
    Failure to write is cleared by the next write that succeeds. Methods may be called from any
    thread.
    """

    def __init__(
        self, *, is_damage: Callable[[Exception], bool], unwritable: tuple[type[Exception], ...]
    ) -> None:
        """Begin with no error; the arguments classify the exceptions of the database library."""
        self._is_damage = is_damage
        self._unwritable = (*unwritable, OSError)
        self._damaged = ""
        self._stuck = ""

    def hear(self, error: BaseException) -> None:
        """Classify an error and its `__cause__`."""
        for one in (error, error.__cause__):
            text = f"{type(one).__name__}: {one}"[:REMARK_CHARS]
            if isinstance(one, Exception) and self._is_damage(one):
                self._damaged = f"the file is damaged ({text})"
            elif isinstance(one, self._unwritable):
                self._stuck = f"it cannot be written ({text})"

    def written(self) -> None:
        """Record that a write succeeded."""
        self._stuck = ""

    def __str__(self) -> str:
        """Return what is wrong, or an empty text."""
        return "; ".join(text for text in (self._damaged, self._stuck) if text)
