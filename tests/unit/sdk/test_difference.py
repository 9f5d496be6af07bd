"""How far apart two texts are, which places changed, and that long ones cost little more."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holdfast.sdk import difference
from holdfast.sdk.difference import Hunk, compare

WORDS = [f"w{n}" for n in range(400)]


def prose(seed: int, words: int) -> list[str]:
    rng = random.Random(seed)
    return [rng.choice(WORDS) for _ in range(words)]


def test_a_changed_word_is_a_hunk() -> None:
    found = compare("Please utilize the tool, now.", "Please use the tool, now.")
    assert found.hunks == (Hunk("utilize", "use"),)
    assert 0.10 < found.distance < 0.30
    assert found.exact


def test_places_that_changed_are_told_apart_and_in_order() -> None:
    found = compare("It costs 5 euros (red). Call us!", "It costs 7 euros (blue). Call!")
    assert found.hunks == (Hunk("5", "7"), Hunk("red", "blue"), Hunk("us", ""))


def test_lines_that_moved_up_are_not_all_new() -> None:
    old = "\n".join(f"line number {n} stays" for n in range(50))
    found = compare(old, old.replace("line number 20 stays\n", ""))
    assert found.hunks == (Hunk("line number 20 stays", ""),)
    assert found.lines_moved == -1
    assert found.distance < 0.02


def test_white_space_is_no_difference() -> None:
    assert compare("a  b\n\nc", "a b\nc").distance == 0
    assert compare("a b", "a b ").hunks == ()


def test_nothing_left_is_one_and_the_ends_are_zero() -> None:
    assert compare("", "all new").distance == 1
    assert compare("alpha beta", "gamma delta").distance == 1
    assert compare("same", "same").distance == 0


def test_half_a_word_counts_as_half() -> None:
    nearly, another = compare("the colour", "the color"), compare("the colour", "the engine")
    assert nearly.distance < another.distance / 2


@pytest.mark.parametrize("changed", [0.02, 0.1, 0.3, 0.6])
def test_the_distance_follows_the_share_of_words_changed(changed: float) -> None:
    rng = random.Random(7)
    old = prose(1, 600)
    new = [f"n{n}" if rng.random() < changed else word for n, word in enumerate(old)]
    share = sum(a != b for a, b in zip(old, new, strict=True)) / len(old)
    assert compare(" ".join(old), " ".join(new)).distance == pytest.approx(share, abs=0.05)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["ab", "cd", "e\n,", "."]), max_size=30), st.data())
def test_whatever_the_texts_the_measure_holds(old: list[str], data: st.DataObject) -> None:
    new = data.draw(st.lists(st.sampled_from(["ab", "cd", "x", "\n", ","]), max_size=30))
    there, back = compare(" ".join(old), " ".join(new)), compare(" ".join(new), " ".join(old))
    assert 0 <= there.distance <= 1
    same = " ".join(old).split() == " ".join(new).split()
    assert (there.distance == 0) == same
    if there.exact and back.exact:
        assert there.distance == pytest.approx(back.distance, abs=0.35)


def longest_common(old: list[str], new: list[str]) -> int:
    """Return the length of the longest common subsequence, by the textbook's table."""
    row = [0] * (len(new) + 1)
    for word in old:
        above, row = row, [0]
        for at, other in enumerate(new):
            row.append(above[at] + 1 if word == other else max(above[at + 1], row[at]))
    return row[-1]


@example(list("aaaab"), list("baaaa"))
@settings(deadline=None)
@given(
    st.lists(st.sampled_from("abcd"), max_size=14), st.lists(st.sampled_from("abcd"), max_size=14)
)
def test_what_is_aligned_is_equal_in_order_and_as_long_as_can_be(
    old: list[str], new: list[str]
) -> None:
    tally = difference._Tally(1_000)
    blocks = difference._align(old, new, tally)
    at_old = at_new = 0
    for start_old, start_new, length in blocks:
        assert start_old >= at_old
        assert start_new >= at_new
        assert old[start_old : start_old + length] == new[start_new : start_new + length]
        at_old, at_new = start_old + length, start_new + length
    assert sum(length for _, _, length in blocks) == longest_common(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("a b " * 12_000, "b a " * 11_000),
        ("\n" * 20_000 + "a", "\n" * 19_000 + "b"),
        (" ".join(map(str, range(9_000))), " ".join(map(str, reversed(range(9_000))))),
        ("x" * 50_000, "y" * 50_000),
        ("a\n" * 12_000, "b\na\n" * 9_000),
    ],
)
def test_nasty_texts_stay_within_the_steps_allowed(old: str, new: str) -> None:
    words = len(old.split()) + len(new.split())
    found = compare(old, new)
    assert 0 < found.distance <= 1
    tally = difference._Tally(words)
    allowed = tally.steps
    difference._align(old.split(), new.split(), tally)
    # What goes beyond is one more look at each word, and one search that was given up.
    assert allowed - tally.steps <= allowed + 2 * words + 10_000
