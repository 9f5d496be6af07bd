"""What is read from a day of counters: whole, bounded numbers, whatever a client sent."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from holdfast.content import limits
from holdfast.content.accept import read_rows
from holdfast.content.records import Usage
from holdfast.content.usage import parse_day, read_usage
from holdfast.wire.api.clawmetry import Upload

NOW = 1_796_000_000_000
FULL = {
    "model": "m", "turns": 1, "tool_calls": 2, "input": 3, "output": 4, "cache_read": 5,
    "cache_write": 6, "cost": 0.1234567,
}  # fmt: skip
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=9,
)
MODELS = st.lists(
    st.dictionaries(st.sampled_from(sorted(FULL)), st.integers() | st.floats() | JSON) | JSON
)


def test_a_model_is_read_with_its_cost_in_millionths() -> None:
    assert read_usage("2026-11-30", [FULL]) == (Usage("m", 1, 2, 3, 4, 5, 6, 123_457),)
    assert read_usage("2026-11-30", [FULL, FULL]) == (Usage("m", 2, 4, 6, 8, 10, 12, 246_914),)
    assert read_usage("2026-11-30", [{"turns": 1}]) == (Usage("", 1, 0, 0, 0, 0, 0, 0),)
    assert read_usage("2026-11-30", [{"model": "idle"}]) == ()


def test_what_is_no_day_has_no_numbers() -> None:
    for text in ("2026-02-30", "2026-11-30T00:00:00", "some day", "", "1926-11-30", "2026-1-1"):
        assert read_usage(text, [FULL]) == ()
        assert parse_day(text) is None


@given(MODELS)
def test_every_number_is_whole_and_bounded(models: Any) -> None:
    for one in read_usage("2026-11-30", models):
        assert all(0 <= number <= limits.USAGE_MAX for number in one[1:])
        assert any(one[1:])
        assert one.model.isprintable()
        assert len(one.model) <= 128


def test_models_beyond_the_most_are_one_sum() -> None:
    models = [{**FULL, "model": f"m{n}"} for n in range(limits.USAGE_MODELS_MAX + 50)]
    found = read_usage("2026-11-30", models)
    assert len(found) == limits.USAGE_MODELS_MAX
    assert (found[-1].model, found[-1].turns) == ("(other models)", 51)
    assert sum(one.input for one in found) == 3 * len(models)


def test_a_day_carries_its_usage_and_a_sealed_one_carries_none() -> None:
    body = {"snapshots": [{"day": "2026-11-30", "models": [FULL]}, {"day": "2026-11-29"}]}
    sent = msgspec.json.decode(msgspec.json.encode(body), type=Upload)
    first, second = read_rows("clawmetry.autonomy", sent, NOW)
    assert first is not None
    assert second is not None
    assert ([one.model for one in first.usage], second.usage) == (["m"], ())
    sealed = msgspec.json.decode(b'{"encrypted": true, "blob": "QUJD"}', type=Upload)
    (row,) = read_rows("clawmetry.autonomy", sealed, NOW)
    assert row is not None
    assert row.usage == ()
