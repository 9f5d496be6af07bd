"""What is read at the bounds of a batch's fields, and just beyond them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import Raw

from holdfast.corrections import accept, limits
from holdfast.corrections.accept import OLDEST_VERSION
from holdfast.wire.api.call import Refusal
from holdfast.wire.api.ingest import BATCH_VERSION
from holdfast.wire.limits import CONTENT_MAX, CONTEXT_MAX, COUNTER_MAX, EVENT_ID_MAX
from tests.support.toys.brains import NOW, correction, event, lesson, read


@pytest.mark.parametrize(
    ("value", "read_as"),
    [("abcdef", "abcd"), ("abc", "abc"), (12_345, "1234"), (1.5, "1.5"), (True, ""), (None, "")],
)
def test_a_text_is_cut_and_a_number_is_its_digits(value: object, read_as: str) -> None:
    assert accept.text(value, 4) == read_as


@pytest.mark.parametrize(
    ("value", "read_as"),
    [(0, 0), (1, 1), (9, 9), (10, 0), (-1, 0), (1.9, 1), (True, 0), ("3", 0), (None, 0)],
)
def test_a_number_out_of_its_bounds_is_none(value: object, read_as: int) -> None:
    assert accept.whole(value, 9) == read_as


@pytest.mark.parametrize(
    ("at_ms", "read_as"),
    [
        (0, NOW), (-1, NOW), (1, 1), (NOW, NOW),
        (NOW + limits.AHEAD_MS_MAX, NOW + limits.AHEAD_MS_MAX),
        (NOW + limits.AHEAD_MS_MAX + 1, NOW),
    ],
)  # fmt: skip
def test_a_time_that_cannot_be_right_is_now(at_ms: int, read_as: int) -> None:
    assert accept.moment(at_ms, NOW) == read_as


def test_a_batch_is_of_this_version_or_the_one_before() -> None:
    for version in range(OLDEST_VERSION, BATCH_VERSION + 1):
        accept.refuse_version(version)
    for other in (None, True, "1", 1.0, OLDEST_VERSION - 1, BATCH_VERSION + 1):
        with pytest.raises(Refusal) as refused:
            accept.refuse_version(other)
        assert refused.value.status == 400


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"seq": 0}, ""),
        ({"seq": COUNTER_MAX}, ""),
        ({"event_id": "e" * EVENT_ID_MAX}, ""),
        ({"seq": -1}, "seq: want a number"),
        ({"seq": COUNTER_MAX + 1}, "seq: want a number"),
        ({"event_id": ""}, "event_id: want 1"),
        ({"event_id": "e" * (EVENT_ID_MAX + 1)}, "event_id: want 1"),
        ({"kind": "other"}, "kind: want one of correction, lesson, event"),
    ],
)
def test_the_number_and_the_id_of_a_row(changes: dict[str, Any], detail: str) -> None:
    batch = read({**event(3), **changes})
    assert [one.detail.startswith(detail) for one in batch.refused] == [True] * bool(detail)
    assert len(batch.events) == (not detail)


def test_a_refused_rows_number_counts_as_received_if_it_is_one() -> None:
    empty = {"draft": "", "final": ""}
    rows = [{**correction(1), "seq": seq, "payload": empty} for seq in (0, 1, 2, COUNTER_MAX)]
    batch = read(*rows, {**event(7), "seq": COUNTER_MAX + 1})
    assert batch.numbers == [1, 2, COUNTER_MAX]
    assert len(batch.refused) == 5


def test_an_unreadable_row_is_known_by_its_id_and_number() -> None:
    batch = read({"seq": 4, "event_id": "x4", "payload": 1, "kind": 9}, {"seq": "4", "kind": 9})
    assert [one.event_id for one in batch.refused] == ["x4", ""]
    assert batch.numbers == [4]


@pytest.mark.parametrize(
    ("draft", "final", "code"),
    [
        ("d" * (CONTENT_MAX - 1), "f", ""),
        ("d" * CONTENT_MAX, "f", "too_long"),
        ("d", "", ""),
        ("", "f", ""),
        ("", "", "no_content"),
    ],
    ids=["longest", "longer", "draft", "final", "neither"],
)
def test_a_correction_has_content_and_not_too_much(draft: str, final: str, code: str) -> None:
    assert [one.code for one in read(correction(1, draft, final)).refused] == [code] * bool(code)


@pytest.mark.parametrize(
    ("given", "field", "read_as"),
    [
        ({"count": None}, "count", 1),
        ({"count": 0}, "count", 1),
        ({"count": 2}, "count", 2),
        ({"count": limits.COUNT_MAX}, "count", limits.COUNT_MAX),
        ({"count": limits.COUNT_MAX + 1}, "count", 1),
        ({"category": None}, "category", "UNKNOWN"),
        ({"category": "tone"}, "category", "TONE"),
        ({"severity": None}, "severity", "unknown"),
        ({"severity": "MINOR"}, "severity", "minor"),
        ({"summary": None}, "summary", ""),
        (
            {"summary": "s" * (limits.SUMMARY_MAX + 1)},
            "summary",
            "s" * (limits.SUMMARY_MAX - 1) + "…",
        ),
        ({"context": None}, "context", ""),
        ({"context": "before"}, "context", "before"),
        ({"context": {"a": 1}}, "context", '{"a":1}'),
        ({"context": "c" * CONTEXT_MAX}, "context", ""),
        ({"classifications": []}, "classifications", ""),
        ({"classifications": "TONE"}, "classifications", ""),
        ({"classifications": ["TONE", "", 7, None]}, "classifications", '["TONE","7"]'),
    ],
    ids=range(18),
)
def test_a_field_of_a_correction(given: dict[str, Any], field: str, read_as: object) -> None:
    (row,) = read(correction(1, **given)).corrections
    assert getattr(row, field) == read_as
    assert not row.was_cut


def test_classes_beyond_the_most_are_left_out() -> None:
    names = [f"C{number}" for number in range(limits.CLASSIFICATIONS_MAX + 1)]
    assert msgspec.json.decode(accept.classes_json(names)) == names[:-1]


@pytest.mark.parametrize(
    ("given", "field", "read_as"),
    [
        ({"confidence": None}, "confidence", 0.0),
        ({"confidence": 0.5}, "confidence", 0.5),
        ({"confidence": -1}, "confidence", 0.0),
        ({"confidence": 2}, "confidence", 1.0),
        ({"fires": None}, "fires", 0),
        ({"corrections": 3}, "corrections", 3),
        ({"state": None}, "state", "INSTINCT"),
        ({"state": "rule"}, "state", "RULE"),
        ({"text": None}, "text", ""),
        ({"category": None}, "category", "UNKNOWN"),
    ],
    ids=range(10),
)
def test_a_field_of_a_lesson(given: dict[str, Any], field: str, read_as: object) -> None:
    (row,) = read(lesson(1, **given)).lessons
    assert getattr(row, field) == read_as


def test_a_lesson_without_an_id_is_refused() -> None:
    assert [one.code for one in read(lesson(1, "")).refused] == ["bad_row"]


@pytest.mark.parametrize(
    ("queue", "read_as"),
    [
        ({"depth": 2, "oldest_ms": 5}, (0, 0)),
        ({"depth": 3, "oldest_ms": 5}, (1, 5)),
        ({"depth": 1, "oldest_ms": 5}, (0, 0)),
        ({"depth": -1, "oldest_ms": 5}, (0, 0)),
        ("many", (0, 0)),
    ],
)
def test_what_waits_at_the_sender_without_these_rows(
    queue: object, read_as: tuple[int, int]
) -> None:
    batch = read(event(1), event(2), queue=queue)
    assert (batch.depth, batch.oldest_ms) == read_as


def test_what_a_batch_does_not_name_is_empty_but_the_sdk() -> None:
    batch = read(event(1), sdk=None, source=None, brain=None)
    assert (batch.sdk, batch.source, batch.name) == ("unknown", "", "")


@pytest.mark.parametrize(
    ("rows", "so"),
    [
        ([], False),
        ([correction(1), event(2)], True),
        ([event(1), correction(2)], False),
        ([1], False),
    ],
)
def test_whether_a_batch_begins_with_a_correction(rows: list[Any], *, so: bool) -> None:
    assert accept.begins_with_correction([Raw(msgspec.json.encode(row)) for row in rows]) is so
