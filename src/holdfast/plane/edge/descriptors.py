"""How the file descriptors of the process are divided, and with them what may be held open.

Pure: what the system gives is an argument.
"""

from __future__ import annotations

from typing import NamedTuple

from holdfast.plane.edge.limits import (
    CALLERS_PART,
    CONNECTIONS_FEW,
    CONNECTIONS_MAX,
    DESCRIPTORS_RESERVE,
    HEAD_BYTES_MAX,
    HEADS_PART,
    OTHERS_MIN,
)


class Room(NamedTuple):
    """What the process may hold open.

    `connections` are those of all callers; of these, `node_polls` may be long polls of nodes.
    """

    descriptors: int
    connections: int
    node_polls: int


def share_out(descriptors: int, *, memory_bytes: int) -> Room:
    """Return what there is room for, with so many descriptors and so much memory of the host."""
    left = max(descriptors - DESCRIPTORS_RESERVE, descriptors // CALLERS_PART)
    by_memory = memory_bytes // HEADS_PART // HEAD_BYTES_MAX
    connections = min(CONNECTIONS_MAX, left, max(CONNECTIONS_FEW, by_memory))
    polls = max(connections - OTHERS_MIN, connections // 2)
    return Room(descriptors, connections, polls)
