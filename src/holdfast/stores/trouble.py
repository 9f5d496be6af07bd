"""What a store's file suffers from, as its own calls have found: damage, or no room to write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

REMARK_CHARS: Final = 200


class Trouble:
    """Hears of every error of one file; what is not about the file is ignored.

    Damage stays until the process ends, since a later call may simply not reach it. That nothing
    can be written is over with the next write that succeeds. Any thread may tell.
    """

    def __init__(
        self, *, is_damage: Callable[[Exception], bool], unwritable: tuple[type[Exception], ...]
    ) -> None:
        """Know nothing wrong; the arguments tell the engine's own errors apart."""
        self._is_damage = is_damage
        self._unwritable = (*unwritable, OSError)
        self._damaged = ""
        self._stuck = ""

    def hear(self, error: BaseException) -> None:
        """Note an error, or what it was raised from."""
        for one in (error, error.__cause__):
            text = f"{type(one).__name__}: {one}"[:REMARK_CHARS]
            if isinstance(one, Exception) and self._is_damage(one):
                self._damaged = f"the file is damaged ({text})"
            elif isinstance(one, self._unwritable):
                self._stuck = f"it cannot be written ({text})"

    def written(self) -> None:
        """Note that something was written."""
        self._stuck = ""

    def __str__(self) -> str:
        """Return what is wrong now, or nothing."""
        return "; ".join(text for text in (self._damaged, self._stuck) if text)
