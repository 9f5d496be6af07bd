"""Last contact in memory: the twin for tests and the simulator.

Rows go through the same encoding as in the file, so that later changes of an object do not alter
the saved row.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.kernel.failure import OperationError
from holdfast.telemetry.contact import Contact, decode_contact, encode_contact


class MemoryContacts:
    """Rows of contact, in memory."""

    def __init__(self) -> None:
        self._rows: dict[str, bytes] = {}
        self._closed = False
        self.failing = False

    async def load(self) -> Sequence[Contact]:
        """Return all rows."""
        self._check()
        return [decode_contact(body) for _, body in sorted(self._rows.items())]

    async def save(self, rows: Sequence[Contact]) -> None:
        """Replace the rows of these instances; all or none."""
        self._check()
        self._rows.update({row.instance: encode_contact(row) for row in rows})

    async def forget(self, instances: Sequence[str]) -> None:
        """Remove the rows of these instances."""
        self._check()
        for instance in instances:
            self._rows.pop(instance, None)

    async def close(self) -> None:
        """Make further calls fail."""
        self._closed = True

    def _check(self) -> None:
        """Raise when closed, or when set to fail, as a full disk would."""
        if self._closed:
            raise RuntimeError("the contact store is closed")
        if self.failing:
            raise OperationError("the contact store was told to fail")
