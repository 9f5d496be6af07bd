"""What this process may hold open: read from its limit of descriptors and the host's memory."""

from __future__ import annotations

import os
import resource

from holdfast.plane.edge.descriptors import Room, share_out
from holdfast.wire.api.plane import DoctorCheck


def room_here() -> Room:
    """Return what there is room for in this process."""
    given, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return share_out(given, memory_bytes=memory)


async def check_room() -> DoctorCheck:
    """Return how many connections, and polls of nodes among them, there is room for."""
    room = room_here()
    text = (
        f"{room.connections} connections of callers, of which {room.node_polls} may be polls of"
        f" nodes, with {room.descriptors} file descriptors"
    )
    return DoctorCheck(name="connections", result="ok", message=text)
