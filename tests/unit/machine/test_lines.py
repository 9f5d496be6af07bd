from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.machine.controller.process.children import CUT, Lines


def test_several_lines_in_one_piece_and_one_line_in_several() -> None:
    lines = Lines()
    assert lines.feed(b"one\ntwo\nthr") == ["one", "two"]
    assert lines.feed(b"ee") == []
    assert lines.feed(b"\r\n") == ["three"]


def test_a_character_split_in_two_is_whole_again() -> None:
    lines = Lines()
    assert lines.feed(b"caf\xc3") == []
    assert lines.feed(b"\xa9\n") == ["café"]


def test_bytes_that_are_no_text_become_marks() -> None:
    assert Lines().feed(b"a\xffb\n") == ["a�b"]


def test_an_endless_line_is_cut_and_the_next_is_whole() -> None:
    lines = Lines(limit=8)
    for _ in range(100):
        assert lines.feed(b"x" * 10) == []
    assert lines.feed(b"\nnext\n") == ["x" * 8 + CUT, "next"]


def test_the_rest_is_handed_out_once() -> None:
    lines = Lines()
    lines.feed(b"begun")
    assert lines.rest() == "begun"
    assert lines.feed(b"fresh\n") == ["fresh"]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200), max_size=5))
def test_how_it_is_cut_into_pieces_does_not_matter(data: bytes, cuts: list[int]) -> None:
    whole = Lines().feed(data)
    pieces, lines, at = [], Lines(), 0
    for cut in [*sorted(cuts), len(data)]:
        pieces += lines.feed(data[at:cut])
        at = max(at, cut)
    assert pieces == whole
