"""What people call the machines of instances: the names of all instances, in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from holdfast.wire.api.instances import InstanceView


class Follows(Protocol):
    """What tells of each instance that is read or changed."""

    def listen(self, saw: Callable[[str, InstanceView | None], None]) -> None:
        """Call `saw` with each instance that is read or changed."""
        ...


class InstanceNames:
    """The names by ids. In the first seconds of a plane, while rows are read, some are missing."""

    def __init__(self, fleet: Follows) -> None:
        """Follow the fleet."""
        self._names: dict[str, str] = {}
        fleet.listen(self._saw)

    def __call__(self, instance: str) -> str:
        """Return the name of an instance; empty for one that is not known, or gone."""
        return self._names.get(instance, "")

    def _saw(self, instance: str, view: InstanceView | None) -> None:
        if view is None:
            self._names.pop(instance, None)
        else:
            self._names[instance] = view.name
