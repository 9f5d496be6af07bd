"""Texts are cut between letters, and say that they were."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.wire.cut import CUT, cut, shortened

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"


@pytest.mark.parametrize(
    ("letter", "name"),
    [
        ("e\u0301", "a mark"),
        (FAMILY, "joiners"),
        ("\U0001f44d\U0001f3fd", "a skin tone"),
        ("\u2764\ufe0f", "a variation selector"),
        ("\U0001f1e9\U0001f1ea", "a flag"),
        ("\u0915\u094d", "a virama"),
    ],
)
def test_a_letter_is_kept_whole_or_left_out(letter: str, name: str) -> None:
    for most in range(1, 4 * len(letter)):
        assert cut("a" + letter * 4, most + 1) == "a" + letter * (most // len(letter)), name


def test_nul_is_a_character_and_a_mark_without_end_is_split() -> None:
    assert cut("a\0b\0c", 4) == "a\0b\0"
    assert cut("a" + "\u0301" * 500, 300) == "a" + "\u0301" * 299


@given(st.text(max_size=30), st.integers(2, 20))
def test_it_is_a_beginning_and_says_when_it_is_not_all(text: str, most: int) -> None:
    assert text.startswith(cut(text, most))
    assert len(shortened(text, most)) <= most
    assert (shortened(text, most) == text) is (len(text) <= most) or text.endswith(CUT)
