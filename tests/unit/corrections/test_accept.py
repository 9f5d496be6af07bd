"""Our batch is read row by row: an unreadable row is refused alone, and nothing is trusted."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.corrections.accept import OLDEST_VERSION, refuse_many
from holdfast.wire.api.call import Refusal
from holdfast.wire.api.ingest import BATCH_VERSION
from holdfast.wire.limits import CONTENT_MAX, INGEST_ROWS_MAX
from tests.support.toys.brains import NOW, correction, event, lesson, read, read_body


def test_a_batch_is_read_as_documented() -> None:
    batch = read(
        correction(1, context="why", classifications=["TONE"], edit_distance=0.25, summary="s"),
        lesson(2),
        event(3),
        queue={"depth": 10, "oldest_ms": 900},
    )
    assert (batch.sdk, batch.source, batch.name) == ("holdfast/0.1.0", "src-1", "kalle")
    assert (batch.depth, batch.oldest_ms) == (7, 900)  # its own three rows wait no longer
    row = batch.corrections[0]
    assert (row.seq, row.event_id, row.session, row.at_ms) == (1, "c-1", "s1", NOW - 1_000)
    assert (row.category, row.severity, row.context) == ("TONE", "minor", "why")
    assert (row.classifications, row.edit_distance, row.summary) == ('["TONE"]', 0.25, "s")
    assert batch.lessons[0].state == "PATTERN"
    assert (batch.events[0].data, batch.events[0].tags) == ('{"a":1}', '["t"]')
    assert not batch.refused


def test_the_hash_is_made_here_and_never_believed() -> None:
    row = read(correction(1, "a", "b", content_hash="0" * 64)).corrections[0]
    assert row.hash == hashlib.sha256(b"a\0b").digest()


@pytest.mark.parametrize(
    ("payload", "scope"),
    [
        ({"session": "s1"}, "s:s1"),
        ({"session": 12}, "s:12"),
        ({"session": None, "day": "2026-05-28"}, "d:2026-05-28"),
        ({"session": None}, "d:2026-05-28"),
        ({"session": ""}, "d:2026-05-28"),
    ],
)
def test_repeats_are_one_within_a_session_or_a_day(payload: dict[str, Any], scope: str) -> None:
    assert read(correction(1, **payload)).corrections[0].scope == scope


def test_a_poison_row_is_refused_alone_by_its_id_and_its_number_came() -> None:
    broken = {"seq": 2, "kind": "correction", "event_id": "bad", "payload": {"draft": 7}}
    batch = read(
        correction(1),
        broken,
        {"seq": 3, "kind": "dance", "event_id": "odd", "payload": {}},
        {"seq": 4, "kind": "correction", "event_id": "long",
         "payload": {"draft": "x" * CONTENT_MAX, "final": "y"}},
        {"seq": 5, "kind": "correction", "event_id": "none", "payload": {}},
        {"seq": 6, "event_id": ["?"]},
        correction(7, event_id="c-7"),
    )  # fmt: skip
    assert [row.event_id for row in batch.corrections] == ["c-1", "c-7"]
    assert [(row.event_id, row.code) for row in batch.refused] == [
        ("bad", "bad_row"), ("odd", "unknown_kind"), ("long", "too_long"),
        ("none", "no_content"), ("", "bad_row"),
    ]  # fmt: skip
    assert batch.numbers == [2, 3, 4, 5, 6]
    assert not [row for row in batch.refused if "xxx" in row.detail]


@pytest.mark.parametrize("version", [0, BATCH_VERSION + 1, "1", 1.0, True, None, -1, [1]])
def test_versions_that_are_not_taken_are_refused_with_the_range(version: object) -> None:
    with pytest.raises(Refusal) as refused:
        read(correction(1), version=version)
    assert (refused.value.status, refused.value.problem.code) == (400, "unsupported_version")
    assert f"{OLDEST_VERSION} to {BATCH_VERSION}" in refused.value.problem.message


@pytest.mark.parametrize("version", range(OLDEST_VERSION, BATCH_VERSION + 1))
def test_the_present_version_and_the_one_before_are_taken(version: int) -> None:
    assert read(correction(1), version=version).corrections


def test_unknown_fields_are_ignored_everywhere() -> None:
    row = {**correction(1, new_in_payload=[1]), "new_in_row": {"a": 1}}
    queue = {"depth": 1, "oldest_ms": 2, "dropped": 0, "lost": 0}
    assert read(row, later={"x": 1}, queue=queue).corrections


def test_too_many_rows_are_refused_so_that_a_sender_splits() -> None:
    with pytest.raises(Refusal) as refused:
        read(*[event(n) for n in range(1, INGEST_ROWS_MAX + 2)])
    assert (refused.value.status, refused.value.problem.code) == (413, "too_many_rows")
    refuse_many(INGEST_ROWS_MAX)


def test_a_clock_that_cannot_be_right_is_not_believed() -> None:
    ahead = {**correction(1), "at_ms": NOW * 2}
    assert read(ahead).corrections[0].at_ms == NOW
    assert read({**correction(1), "at_ms": -5}).corrections[0].at_ms == NOW


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "seq": json_values, "kind": st.sampled_from(["correction", "lesson", "event", 1]),
                "event_id": json_values, "at_ms": json_values,
                "payload": st.dictionaries(
                    st.sampled_from(["draft", "final", "lesson_id", "type", "context", "count"]),
                    json_values,
                ),
            },
        )
        | json_values,
        max_size=5,
    )
)  # fmt: skip
def test_whatever_comes_each_row_is_taken_or_refused_once(rows: list[Any]) -> None:
    raw = msgspec.json.encode({"version": BATCH_VERSION, "rows": rows})
    batch = read_body(raw)
    taken = len(batch.corrections) + len(batch.lessons) + len(batch.events)
    assert taken + len(batch.refused) == len(rows)
