"""JSON with half a character is mended, and nothing else is touched."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.plane.edge.body import mend_surrogates


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
