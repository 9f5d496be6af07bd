"""How descriptors are divided between callers, polls of nodes, and the rest."""

from __future__ import annotations

import pytest

from holdfast.plane.edge.descriptors import share_out
from holdfast.plane.edge.limits import CONNECTIONS_FEW, CONNECTIONS_MAX, DESCRIPTORS_RESERVE

GIB = 2**30


def test_a_host_of_20_000_descriptors_holds_15_000_polls_and_others() -> None:
    room = share_out(20_000, memory_bytes=8 * GIB)
    assert room.node_polls >= 15_000
    assert room.connections - room.node_polls >= 512
    assert room.descriptors - room.connections >= DESCRIPTORS_RESERVE


@pytest.mark.parametrize("descriptors", [64, 1_024, 4_096, 8_192, 10_000, 65_536, 2**30])
@pytest.mark.parametrize("gib", [0, 1, 4, 64])
def test_polls_leave_room_for_others_and_both_for_the_plane(descriptors: int, gib: int) -> None:
    room = share_out(descriptors, memory_bytes=gib * GIB)
    assert 0 < room.node_polls < room.connections < descriptors
    assert room.connections <= CONNECTIONS_MAX
    assert room.connections - room.node_polls >= min(512, room.connections // 2)
    assert descriptors - room.connections >= min(DESCRIPTORS_RESERVE, descriptors // 2)


def test_memory_bounds_what_descriptors_would_allow() -> None:
    assert share_out(65_536, memory_bytes=4 * GIB).connections == 16_384
    assert share_out(65_536, memory_bytes=GIB).connections == CONNECTIONS_FEW
    assert share_out(65_536, memory_bytes=64 * GIB).connections == CONNECTIONS_MAX
