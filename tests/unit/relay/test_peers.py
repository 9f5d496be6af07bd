"""Connections in all and of each peer: whose is closed for a new one, and who is refused."""

from __future__ import annotations

import random

from holdfast.relay.peers import Peers, Slot


class Caller:
    """Connections that are closed at once when they are told to."""

    def __init__(self, peers: Peers) -> None:
        self.peers = peers
        self.closed: list[int] = []
        self.slots: dict[int, Slot] = {}
        self.number = 0

    def enter(self, peer: str) -> Slot | None:
        self.number += 1
        number = self.number

        def close() -> None:
            self.closed.append(number)
            self.peers.leave(self.slots.pop(number))

        slot = self.peers.enter(peer, close)
        if slot is not None:
            self.slots[number] = slot
        return slot


def test_a_peer_gets_a_new_connection_for_its_own_longest_resting_one() -> None:
    caller = Caller(Peers(10, 2))
    first = caller.enter("a")
    assert first is not None
    caller.peers.work(first)
    caller.enter("a")
    assert caller.enter("a") is not None
    assert caller.closed == [2], "the first has a request under way"
    caller.peers.rest(first)
    caller.enter("a")
    assert caller.closed == [2, 3], "and has rested for a shorter time now"


def test_a_peer_whose_connections_all_work_is_refused_and_others_are_not() -> None:
    caller = Caller(Peers(10, 2))
    for _ in range(2):
        slot = caller.enter("a")
        assert slot is not None
        caller.peers.work(slot)
    assert caller.enter("a") is None
    assert caller.peers.refused == 1
    assert caller.enter("b") is not None


def test_when_all_places_are_taken_the_greediest_peer_gives_one_up() -> None:
    caller = Caller(Peers(5, 5))
    for peer in ("b", "a", "a", "a", "a"):
        caller.enter(peer)
    assert caller.enter("c") is not None
    assert caller.closed == [2]
    assert len(caller.peers) == 5


def test_a_peer_that_many_share_is_bounded_by_the_number_in_all() -> None:
    caller = Caller(Peers(4, 1, free=lambda peer: peer == "127.0.0.1"))
    for _ in range(4):
        assert caller.enter("127.0.0.1") is not None
    assert not caller.closed
    assert caller.enter("127.0.0.1") is not None
    assert caller.closed == [1]


def test_one_ipv6_network_is_one_peer() -> None:
    caller = Caller(Peers(9, 1))
    caller.enter("2001:db8::1")
    caller.enter("2001:db8::ffff")
    assert caller.closed == [1]


def test_whatever_happens_the_counts_agree() -> None:
    for seed in range(200):
        draw = random.Random(seed)
        caller = Caller(Peers(8, 3))
        for _ in range(200):
            known = list(caller.slots)
            what = draw.randrange(4)
            if what == 0 or not known:
                caller.enter(draw.choice("abcd"))
                continue
            slot = caller.slots[draw.choice(known)]
            if what == 1:
                caller.peers.work(slot)
            elif what == 2:
                caller.peers.rest(slot)
            else:
                number = next(n for n, found in caller.slots.items() if found is slot)
                caller.peers.leave(caller.slots.pop(number))
            assert len(caller.peers) == len(caller.slots) <= 8
            each = [s.peer for s in caller.slots.values()]
            assert all(each.count(peer) <= 3 for peer in "abcd")
        for slot in caller.slots.values():
            caller.peers.leave(slot)
        assert len(caller.peers) == 0
        assert not caller.peers._open
        assert not caller.peers._resting
