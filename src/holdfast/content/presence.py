"""Who looks at which node now, and the long polls that wait for it."""

from __future__ import annotations

from holdfast.content import limits
from holdfast.content.ports import Wakes
from holdfast.content.records import Node
from holdfast.kernel.clock import Clock


class Presence:
    """Looks of people at nodes; a first look ends the node's long poll."""

    def __init__(self, wakes: Wakes, *, clock: Clock) -> None:
        self._wakes = wakes
        self._clock = clock
        self._until_ms: dict[str, int] = {}

    def look(self, node: Node) -> None:
        """Note that somebody looks at a node."""
        was_seen = self.is_seen(node)
        now_ms = self._clock.now_ms()
        if len(self._until_ms) >= limits.VIEWED_MAX:
            self._until_ms = {one: ms for one, ms in self._until_ms.items() if ms > now_ms}
        self._until_ms[node.id] = now_ms + limits.VIEWER_MS
        if not was_seen:
            self._wakes.wake(node.id)

    def is_seen(self, node: Node) -> bool:
        """Return whether somebody looks at a node."""
        return self._until_ms.get(node.id, 0) > self._clock.now_ms()

    def wake(self, node: Node) -> None:
        """End the long poll of a node, so that its client asks anew."""
        self._wakes.wake(node.id)

    async def wait(self, node: Node, timeout_s: float) -> bool:
        """Return after a wake or the time; False at once where too many polls are held."""
        return await self._wakes.wait(node.id, timeout_s)
