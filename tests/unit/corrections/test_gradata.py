"""The gradata SDK's shapes: everything meaningful is accepted, and deduplicated by content."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast.corrections import gradata
from holdfast.corrections.gradata import Rows, empty, read_events, read_old_corrections, read_single
from holdfast.corrections.identity import identity
from holdfast.corrections.limits import GRADATA_CUT
from holdfast.corrections.records import Correction
from holdfast.wire.api.ingest import CorrectRequest, IngestRequest
from tests.support.toys.brains import NOW, correction, read

STAMP = "2026-05-28T10:00:00.123456+00:00"


def happened(**fields: Any) -> dict[str, Any]:
    """Return an event as /sync carries it."""
    return {
        "event_id": "01J0000000000000000000000A",
        "type": "CORRECTION",
        "source": "brain.correct",
        "session": 3,
        "created_at": STAMP,
        "data": {"draft_text": "hello", "final_text": "Hello!", "category": "TONE",
                 "severity": "major", "classifications": [{"category": "TONE"}]},
        "tags": ["category:TONE"],
        **fields,
    }  # fmt: skip


def events(*found: Any) -> Rows:
    """Return events as rows."""
    rows = empty()
    read_events([msgspec.Raw(msgspec.json.encode(one)) for one in found], NOW, rows)
    return rows


def single(event_id: str = "", **fields: Any) -> Correction:
    """Return the single correction of a write-through."""
    made = msgspec.json.encode(
        {"brain_id": "b", "event_id": event_id,
         "correction": {"session": 3, "draft": "hello", "final": "Hello!", **fields}}
    )  # fmt: skip
    found = read_single(msgspec.json.decode(made, type=IngestRequest), NOW)
    assert found is not None
    return found


def test_one_correction_by_three_routes_has_one_identity() -> None:
    ours = read(correction(1, session="3")).corrections[0]
    by_sync = events(happened()).corrections[0]
    by_single = single("correct:3:1779962400123:0123456789abcdef")
    assert {(c.scope, c.hash) for c in (ours, by_sync, by_single)} == {("s:3", ours.hash)}
    assert by_sync.event_id != by_single.event_id
    assert (by_sync.category, by_sync.severity) == ("TONE", "major")
    assert by_sync.classifications == '["TONE"]'
    assert by_single.at_ms == 1779962400123


def test_a_cut_text_and_a_whole_one_meet_in_their_cut_hash() -> None:
    long = "word " * 1_000
    ours = read(correction(1, long, long + "!", session="3")).corrections[0]
    data = {"draft_text": long[:GRADATA_CUT], "final_text": long[:GRADATA_CUT]}
    by_sync = events(happened(data=data)).corrections[0]
    assert by_sync.was_cut
    assert not ours.was_cut
    assert ours.cut_hash == by_sync.cut_hash != b""
    assert ours.hash != by_sync.hash
    assert identity("a", "b", "s:3", cut=GRADATA_CUT).cut_hash == b""


def test_the_watermark_is_the_largest_time_as_it_was_sent() -> None:
    later = STAMP.replace("10:00", "10:01")
    rows = events(happened(created_at=later), happened(event_id="x"), "nonsense", 7)
    assert rows.watermark == later
    assert len(rows.refused) == 2
    assert rows.corrections[0].at_ms == 1779962460123


@pytest.mark.parametrize("severity", ["as-is", "discarded", "rewrite", "trivial", "", None, 5])
def test_no_severity_is_refused(severity: object) -> None:
    assert single(severity=severity).severity == str(severity or "unknown")


def test_what_the_event_says_more_is_kept_and_nothing_else_needed() -> None:
    bare = events({"type": "CORRECTION", "data": {"draft_text": "a"}}, {"type": "OUTPUT"}, {})
    assert [c.session for c in bare.corrections] == [None]
    assert bare.corrections[0].event_id.startswith("made:")
    assert [e.type for e in bare.events] == ["OUTPUT", "UNKNOWN"]
    again = events({"type": "OUTPUT"})
    assert again.events[0].event_id == bare.events[0].event_id


def test_a_changed_lesson_is_a_lesson_and_an_event() -> None:
    change = {"action": "created", "lesson_category": "tone", "lesson_description": "Greet."}
    rows = events(happened(type=gradata.LESSON_CHANGE, data=change))
    assert [(x.category, x.text, x.confidence) for x in rows.lessons] == [("TONE", "Greet.", 0.6)]
    assert [x.type for x in rows.events] == ["LESSON_CHANGE"]


def test_the_older_client_sends_previews() -> None:
    rows = empty()
    old = {"session": 1, "category": "TONE", "severity": "rewrite", "description": "d",
           "draft_preview": "a", "final_preview": "b", "created_at": STAMP}  # fmt: skip
    read_old_corrections([msgspec.Raw(msgspec.json.encode(one)) for one in (old, {})], NOW, rows)
    assert [(c.draft, c.final, c.severity, c.summary) for c in rows.corrections] == [
        ("a", "b", "rewrite", "d")
    ]
    assert [one.code for one in rows.refused] == ["no_content"]


def test_a_clock_in_the_future_and_half_a_time_are_now() -> None:
    assert gradata.time_ms("2999-01-01T00:00:00", NOW) == NOW
    assert gradata.time_ms("yesterday", NOW) == NOW
    assert gradata.time_ms("2026-05-28T10:00:00", NOW) == 1779962400000
    assert gradata.time_ms(1779962400, NOW) == 1779962400000


@pytest.mark.parametrize("number", [b"1e400", b"-1e999"])
def test_an_event_that_cannot_be_read_is_refused_by_its_id_and_the_cursor_passes_it(
    number: bytes,
) -> None:
    raw = (
        b'{"event_id":"01J9","type":"X","created_at":"' + STAMP.encode() + b'","data":{"n":'
        + number + b"}}"
    )  # fmt: skip
    rows = empty()
    read_events([msgspec.Raw(raw), msgspec.Raw(msgspec.json.encode({"type": "OUTPUT"}))], NOW, rows)
    assert [(one.event_id, one.code) for one in rows.refused] == [("01J9", "bad_row")]
    assert rows.watermark == STAMP
    assert [one.type for one in rows.events] == ["OUTPUT"]


def test_a_single_correction_that_cannot_be_read_is_refused_and_an_empty_one_is_not() -> None:
    def refused(correction: bytes) -> object:
        body = b'{"event_id":"c:1","correction":' + correction + b"}"
        return gradata.refused_single(msgspec.json.decode(body, type=IngestRequest))

    assert getattr(refused(b'{"draft":"a","final":"b","n":1e400}'), "event_id", None) == "c:1"
    assert refused(b"[]") is not None
    assert refused(b"{}") is refused(b"null") is None


def test_a_context_that_cannot_be_read_is_kept_as_it_came() -> None:
    body = b'{"draft":"a","final":"b","context":{"n":1e400}}'
    found = gradata.read_connected(msgspec.json.decode(body, type=CorrectRequest), NOW)
    assert found is not None
    assert "1e400" in found.context
