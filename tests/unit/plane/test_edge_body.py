"""JSON with half a character is mended, and nothing else is touched."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.plane.edge.body import mend_numbers, mend_surrogates


@pytest.mark.parametrize(
    ("given_text", "mended"),
    [
        (r'"a\ud83db"', r'"a\ufffdb"'),
        (r'"\ude00"', r'"\ufffd"'),
        (r'"\ud83d\ude00"', r'"\ud83d\ude00"'),
        (r'"\ud83d\ud83d\ude00"', r'"\ufffd\ud83d\ude00"'),
        (r'"\\ud83d"', r'"\\ud83d"'),
        (r'"\\\ud83d"', r'"\\\ufffd"'),
        (r'"\n\"\u00e9"', r'"\n\"\u00e9"'),
    ],
)
def test_only_halves_are_mended(given_text: str, mended: str) -> None:
    assert mend_surrogates(given_text.encode()).decode() == mended


@given(st.text(alphabet=st.characters(exclude_categories=[]), max_size=20))
def test_what_python_writes_can_be_read_and_loses_halves_only(text: str) -> None:
    read = json.loads(mend_surrogates(json.dumps(text).encode()))
    read.encode()
    # Halves that stand in their order are one character to every reader of JSON.
    meant = json.loads(json.dumps(text))
    assert read == "".join("\ufffd" if "\ud800" <= one <= "\udfff" else one for one in meant)


@pytest.mark.parametrize(
    ("given_text", "mended"),
    [
        ('{"n": NaN, "a": -Infinity}', '{"n": 1e999, "a": 1e999}'),
        ('["NaN", Infinity, "a: NaN, \\\\", NaN]', '["NaN", 1e999, "a: NaN, \\\\", 1e999]'),
        (r'["\"NaN", -1, 2e-5]', r'["\"NaN", -1, 2e-5]'),
    ],
)
def test_numbers_that_json_does_not_have_are_replaced_outside_of_texts(
    given_text: str, mended: str
) -> None:
    assert mend_numbers(given_text.encode()).decode() == mended


def test_a_large_body_without_such_numbers_is_read_once() -> None:
    body = b'["a",-1,' * 200_000
    assert mend_numbers(body) == body


@given(st.lists(st.text(alphabet='"\\NaInfinity-x', max_size=12) | st.just(float("nan"))))
def test_texts_are_left_as_they_are(values: list[str | float]) -> None:
    read = json.loads(mend_numbers(json.dumps(values).encode()), parse_constant=pytest.fail)
    assert read == [one if isinstance(one, str) else float("inf") for one in values]
