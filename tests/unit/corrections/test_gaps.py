"""Numbers of a sender: in any order, the missing ones are known exactly."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from holdfast.corrections.gaps import Numbers, add


@given(st.lists(st.lists(st.integers(1, 40), max_size=12), max_size=8))
def test_what_is_missing_is_named_whatever_the_order(batches: list[list[int]]) -> None:
    numbers, came = Numbers(), set[int]()
    for batch in batches:
        numbers = add(numbers, batch)
        came |= set(batch)
    newest = max(came, default=0)
    missing = set(range(1, newest + 1)) - came
    assert numbers.newest == newest
    assert {n for first, last in numbers.gaps for n in range(first, last + 1)} == missing
    assert numbers.missing == len(missing)
    assert numbers.high_water == min(missing, default=newest + 1) - 1
    assert all(numbers.has(n) == (n in came) for n in range(1, 45))
    assert all(a[1] + 1 < b[0] for a, b in pairwise(numbers.gaps))


def test_beyond_so_many_ranges_the_oldest_are_forgotten_and_counted() -> None:
    numbers = add(Numbers(), range(2, 21, 2), most=4)
    assert numbers.forgotten == 6
    assert numbers.gaps == ((13, 13), (15, 15), (17, 17), (19, 19))
    assert numbers.has(3)
    assert not numbers.has(15)
