"""Times as texts: one way to write them, one total way to read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.wire.times import parse_time, time_text


@given(st.integers(min_value=-62_135_596_800_000, max_value=253_402_300_799_999))
def test_what_is_written_is_read_again(at_ms: int) -> None:
    text = time_text(at_ms)
    assert text.endswith("Z")
    assert parse_time(text) == at_ms


@given(st.integers())
def test_a_time_of_any_size_has_a_text_of_one_length(at_ms: int) -> None:
    text = time_text(at_ms)
    assert len(text) == len("2026-11-21T09:30:00.000Z")
    assert parse_time(text) == min(max(at_ms, -62_135_596_800_000), 253_402_300_799_999)


@given(st.one_of(st.text(), st.none(), st.integers(), st.binary()))
def test_nothing_breaks_it(text: object) -> None:
    found = parse_time(text)
    assert found is None or isinstance(found, int)


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("1970-01-01T00:00:00.001Z", 1),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1970-01-01T00:00:00", 0),
        ("1970-01-01", 0),
        ("1969-12-31T23:59:59.999Z", -1),
        ("1970-01-01T00:00:00.001999Z", 1),
        ("0001-01-01T00:00:00+23:59", -62_135_683_140_000),
        ("", None),
        ("yesterday", None),
        ("2026-02-30", None),
    ],
)
def test_forms(text: str, at_ms: int | None) -> None:
    assert parse_time(text) == at_ms
