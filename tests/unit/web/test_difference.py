"""The word-level difference says exactly what both texts were, and stays cheap."""

from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from holdfast.web.parts.difference import Piece, difference, excerpt

words = st.sampled_from(["the", "a", "cat", "sat", "on", "mat", ".", ",", "\n", "Zoë", "42"])
texts = st.one_of(
    st.lists(words, max_size=80).map(" ".join), st.text(alphabet="ab c.\n", max_size=60)
)


def told(draft: str, final: str) -> list[tuple[str, str]]:
    return [(piece.kind, piece.text) for piece in difference(draft, final)]


def side(pieces: tuple[Piece, ...], *kinds: str) -> str:
    return "".join(piece.text for piece in pieces if piece.kind in kinds)


@given(texts, texts)
def test_both_texts_can_be_read_back(draft: str, final: str) -> None:
    pieces = difference(draft, final)
    assert side(pieces, "same", "removed") == draft
    assert side(pieces, "same", "added") == final
    kinds = [piece.kind for piece in pieces]
    assert all(one != other for one, other in itertools.pairwise(kinds))
    assert all(piece.text for piece in pieces)


@given(texts)
def test_equal_texts_have_no_difference(text: str) -> None:
    assert told(text, text) == ([("same", text)] if text else [])


def test_words_are_compared_whole() -> None:
    assert told("We ship on Monday.", "We ship on Friday.") == [
        ("same", "We ship on "), ("removed", "Monday"), ("added", "Friday"), ("same", "."),
    ]  # fmt: skip
    assert told("Dear all,", "Hi team,") == [
        ("removed", "Dear all"), ("added", "Hi team"), ("same", ","),
    ]  # fmt: skip
    assert told("see Ann today", "see Bo and Cy today") == [
        ("same", "see "), ("removed", "Ann"), ("added", "Bo and Cy"), ("same", " today"),
    ]  # fmt: skip
    assert told("", "new") == [("added", "new")]
    assert told("old", "") == [("removed", "old")]
    assert told("a b c", "a c") == [("same", "a "), ("removed", "b "), ("same", "c")]


def test_a_few_changes_in_a_long_text_are_found_one_by_one() -> None:
    chance = random.Random(7)
    draft = [f"w{chance.randrange(900)}" for _ in range(3_000)]
    final = list(draft)
    changed = sorted(chance.sample(range(3_000), 240))
    for at in changed:
        final[at] = "changed"
    pieces = difference(" ".join(draft), " ".join(final))
    removed = [word for piece in pieces if piece.kind == "removed" for word in piece.text.split()]
    assert set(removed) >= {draft[at] for at in changed}
    assert len(removed) <= 2 * len(changed)


def test_a_text_of_one_word_repeated_does_not_take_for_ever() -> None:
    pieces = difference("ab " * 20_000, "ba " * 20_000)
    assert side(pieces, "removed", "same") == "ab " * 20_000


def test_an_excerpt_keeps_every_change_and_says_what_it_leaves_out() -> None:
    draft = "x " * 300 + "Monday" + " y" * 300
    pieces = difference(draft, draft.replace("Monday", "Friday"))
    cut = excerpt(pieces, around=20, most=400)
    assert [piece.kind for piece in cut] == [
        "left_out", "same", "removed", "added", "same", "left_out",
    ]  # fmt: skip
    assert side(cut, "left_out", "same", "removed") == draft
    assert len(side(cut, "same", "removed", "added")) < 60
    short = excerpt(pieces, around=20, most=10)
    assert len(side(short, "same", "removed", "added")) == 10
    assert short[-1].kind == "left_out"
    assert excerpt(difference("a b", "a c"), around=20, most=400) == difference("a b", "a c")
