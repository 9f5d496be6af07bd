"""The sorted sets of a town's index: like a sorted list, whatever their history."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.towns.ordered import CHUNK_MAX, NOTHING, Ordered

PAIRS = st.tuples(st.integers(0, 40), st.sampled_from("abcdef"))


def made(pairs: list[tuple[int, str]]) -> Ordered:
    """Return a set to which pairs were added in this order."""
    known = NOTHING
    for pair in pairs:
        known = known.adding(pair)
    return known


@given(st.lists(PAIRS, max_size=60), st.lists(PAIRS, max_size=60), st.integers(-1, 41))
def test_it_is_what_a_sorted_list_would_be(
    added: list[tuple[int, str]], removed: list[tuple[int, str]], number: int
) -> None:
    known, listed = made(added), set(added)
    for pair in removed:
        if pair in listed:
            known = known.removing(pair)
            listed.discard(pair)
    wanted = sorted(listed)
    assert list(known.pairs()) == wanted
    assert known.ids() == [*known] == [one for _, one in wanted]
    assert len(known) == len(wanted)
    assert known.first() == (wanted[0][1] if wanted else "")
    assert known.up_to(number) == [one for at, one in wanted if at <= number]
    assert known.next_after(number) == min((at for at, _ in wanted if at > number), default=None)
    assert all(known.has(pair) == (pair in listed) for pair in {*added, *removed})
    assert known == made(wanted)
    assert hash(known) == hash(made(wanted))


def test_a_large_one_stays_in_short_chunks_and_a_small_change_shares_the_rest() -> None:
    pairs = [(number * 7919 % 5_000, f"{number}") for number in range(5_000)]
    known = made(pairs)
    assert list(known.pairs()) == sorted(pairs)
    assert max(map(len, known.chunks)) <= CHUNK_MAX
    more = known.adding((17, "new"))
    assert sum(chunk not in known.chunks for chunk in more.chunks) <= 2
    less = more
    for pair in sorted(pairs)[:4_999]:
        less = less.removing(pair)
    assert len(less) == 2
    assert len(less.chunks) <= 2


def test_a_pair_is_there_once_and_one_that_is_not_there_is_not_removed() -> None:
    known = NOTHING.adding((1, "a"))
    assert known.adding((1, "a")) is known
    with pytest.raises(KeyError):
        known.removing((2, "a"))
    assert known.removing((1, "a")) is NOTHING
    assert known != NOTHING
