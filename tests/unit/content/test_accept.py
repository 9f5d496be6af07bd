"""Bodies of observers become rows; no body whatever raises, and each row has one identity."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.content import accept, gate
from holdfast.content.accept import ROUTES, read_rows, refused_parts
from holdfast.content.records import Node, Row
from holdfast.machine.observer.questions import Heartbeat as Sign
from holdfast.wire.api.clawmetry import UPLOADS, Heartbeat, Upload
from holdfast.wire.consent import (
    CLASSES,
    UNKNOWN,
    Grant,
    SignedDocument,
    Standing,
    encode_document,
    to_base64url,
)

NOW = 1_796_000_000_000


def body(**fields: Any) -> Upload:
    return msgspec.json.decode(msgspec.json.encode(fields), type=Upload)


def rows(route: str, **fields: Any) -> list[Row]:
    found = list(read_rows(f"clawmetry.{route}", body(**fields), NOW))
    assert None not in found
    return [row for row in found if row is not None]


def standing(*classes: Any, grant: SignedDocument | None = None) -> Standing:
    return Standing(
        registered=True, account="local", classes=frozenset(classes), reason="intent_started",
        grant=grant, number=1, intent_ms=1,
    )  # fmt: skip


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False)
    | st.text() | st.just("2026-11-30T07:00:00Z") | st.just("0001-01-01T00:00:00+23:59"),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["id", "uuid", "timestamp", "session_id", "path", "content", "data", "job_id", "raw",
             "time", "day", "key", "blob", "updated_at"]
        ) | st.text(max_size=3),
        inner, max_size=5,
    ),
    max_leaves=24,
)  # fmt: skip
FIELDS = st.dictionaries(
    st.sampled_from([*Upload.__struct_fields__, *Heartbeat.__struct_fields__, "other"]), JSON
)


@given(st.sampled_from(sorted(ROUTES)), FIELDS)
def test_no_body_raises(route: str, fields: dict[str, Any]) -> None:
    for row in read_rows(route, body(**fields), NOW):
        if row is not None:
            assert 0 <= row.at_ms <= NOW + 86_400_000
            assert row.identity
            assert row.stream.isprintable()
            assert row.sealed or msgspec.json.decode(row.body) is not NotImplemented


@given(FIELDS)
def test_no_heartbeat_raises_and_only_the_closed_list_is_kept(fields: dict[str, Any]) -> None:
    raw = msgspec.json.encode(fields)
    found = msgspec.json.decode(raw, type=Heartbeat)
    kept = accept.kept_facts(found, counters=True)
    assert kept.keys() <= {"e2e", "local_store_size_mb", *accept.COUNTERS, *accept._META}
    assert all(len(value) <= 128 for value in kept.values())
    parts = refused_parts(found, kept, counters=False, size=len(raw))
    assert all(size > 0 for size in parts.values())


def test_our_observers_sign_of_life_has_nothing_to_refuse() -> None:
    sign = Sign(
        node_id="0b1c", ts="2026-11-30T10:00:00.000+00:00", platform="Linux", version="0.1.0",
        e2e=True, seen_number=7, queue={"logs": 2, "memory": 1},
    )  # fmt: skip
    raw = msgspec.json.encode(sign)
    fields = msgspec.json.decode(raw)

    def refused(**other: Any) -> int:
        changed = msgspec.json.encode({**fields, **other})
        found = msgspec.json.decode(changed, type=Heartbeat)
        kept = {"node_id": "0b1c", "platform": "Linux", "version": "0.1.0"}
        kept |= accept.kept_facts(found, counters=False)
        parts = refused_parts(found, kept, counters=False, size=len(changed))
        return sum(parts.values())

    assert refused() == 0
    assert refused(queue={"what was said": 1}) > 0
    assert refused(ts="what was said" * 10) > 0
    assert refused(said="what was said") >= len("what was said")


def test_every_route_of_content_has_a_class() -> None:
    assert {row.name for row in UPLOADS} | {"clawmetry.approval"} == ROUTES.keys()


def test_an_event_is_known_by_its_id_within_its_session() -> None:
    for name in ("id", "uuid", "eventId", "messageId"):
        first, again = (
            rows("events", session_file="s.jsonl", events=[{name: "e", "n": 1}]),
            rows("events", session_file="s.jsonl.reset.2026", events=[{name: "e", "n": 2}]),
        )
        assert (first[0].stream, first[0].identity) == (again[0].stream, again[0].identity)
        assert first[0].stream == "session:s"
    numbered, named = rows("events", events=[{"id": 1}, {"id": "1"}])
    assert numbered.identity != named.identity
    bare, other = rows("events", events=[{"n": 1}, {"n": 2}])
    assert bare.identity != other.identity


def test_times_are_read_in_each_form_and_never_from_the_future() -> None:
    stamps = ["2026-11-20T00:00:00Z", 1_795_132_800, 1_795_132_800_000, "2999-01-01", "no", None]
    found = rows("events", events=[{"id": n, "timestamp": at} for n, at in enumerate(stamps)])
    assert [row.at_ms for row in found] == [1_795_132_800_000] * 3 + [NOW] * 3


def test_a_log_line_is_one_row_whether_live_or_from_its_file() -> None:
    line = {"time": "2026-11-20T00:00:00Z", "message": "x", "a": 1}
    text = '{"a":1,"message":"x","time":"2026-11-20T00:00:00Z"}'
    live, read = rows("stream", lines=[text, "plain"]), rows("logs", lines=[line, {"raw": "plain"}])
    assert live == read
    assert live[0].at_ms == 1_795_132_800_000


def test_what_cannot_be_read_is_none_beside_what_can() -> None:
    found = list(read_rows("clawmetry.events", body(events=[{"id": "a"}, 7, "x"]), NOW))
    assert [row is None for row in found] == [False, True, True]
    assert list(read_rows("clawmetry.events", body(events="no list"), NOW)) == [None]
    assert list(read_rows("clawmetry.memory", body(memory_content=[{"path": "a"}]), NOW)) == [None]
    assert list(read_rows("clawmetry.events", body(), NOW)) == []


def test_a_sealed_body_is_one_row_that_says_nothing() -> None:
    (row,) = rows("events", encrypted=True, blob="QUJD_-==", session_file=None)
    assert (row.stream, row.sealed, row.body) == ("sealed", True, b"QUJD_-==")
    assert list(read_rows("clawmetry.events", body(blob='a"b<script>'), NOW)) == [None]
    assert list(read_rows("clawmetry.events", body(blob=""), NOW)) == [None]
    ours, again = (
        rows("events", blob=blob, session_file="s", id="batch-1")[0] for blob in ("AA", "BB")
    )
    assert (ours.stream, ours.identity) == (again.stream, again.identity)


def test_only_a_transcript_that_is_sealed_names_its_session() -> None:
    for route in ROUTES.keys() - {"clawmetry.events"}:
        (row,) = rows(route.removeprefix("clawmetry."), blob="QUJD", session_file="s.jsonl")
        assert row.stream == "sealed", route


def test_long_names_and_ids_that_begin_alike_are_apart() -> None:
    ids = ["i" * 200 + end for end in "ab"]
    assert len({rows("events", blob="QUJD", id=one)[0].identity for one in ids}) == 2
    long = ["n" * 2_000 + end for end in ("a", "b", "\x00")]
    for route, sent in (
        ("events", lambda one: {"session_file": f"{one}.jsonl", "events": [{"id": 1}]}),
        ("sessions", lambda one: {"sessions": [{"session_id": one}]}),
        ("ingest", lambda one: {"events": [{"data": {"job_id": one}}]}),
        ("memory", lambda one: {"memory_content": [{"path": one, "content": "x"}]}),
        ("autonomy", lambda one: {"snapshots": [{"day": one}]}),
    ):
        streams = [rows(route, **sent(one))[0].stream for one in long]
        assert len(set(streams)) == len(long), route
        assert all(one.isprintable() and len(one) <= 1_100 for one in streams)
    assert len(accept.name("n" * 600)) == 512


def test_a_day_counts_as_of_its_end() -> None:
    days = ("2026-11-20", "2026-11-30", "2999-01-01", "some day")
    found = rows("autonomy", snapshots=[{"day": day} for day in days])
    # NOW is in the morning of the second.
    assert [row.at_ms for row in found] == [1_795_132_800_000 + 86_400_000 - 1, NOW, NOW, NOW]


def test_rows_beyond_those_of_one_body_are_one_that_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accept, "NODE_ROWS_MAX", 2)
    sent = body(lines=["a", "b", "c", "d"])
    found = list(read_rows("clawmetry.logs", sent, NOW))
    assert [row is None for row in found] == [False, False, True]
    assert None not in list(read_rows("clawmetry.logs", body(lines=["a", "b"]), NOW))


def test_memory_and_jobs_and_days_are_named() -> None:
    assert (
        rows("memory", memory_content=[{"path": "A.md", "content": "x"}])[0].stream == "file:A.md"
    )
    assert (
        rows("ingest", events=[{"type": "cron_state", "data": {"job_id": "j"}}])[0].keep == "latest"
    )
    assert rows("autonomy", snapshots=[{"day": "2026-11-30"}])[0].stream == "day:2026-11-30"


def test_a_heartbeat_keeps_no_content_and_counts_it_by_class() -> None:
    sent = {
        "node_id": "n", "version": "0.12.937", "tool_calls_today": 7, "hostname": "MARKER",
        "node_meta": {"os": "Linux", "hostname": "MARKER", "cpu_count": 2},
        "cache_pushes": [
            {"key": "brain:o:n:recent", "blob": "x" * 100},
            {"key": "memory:o:n:files", "blob": "y"},
            {"key": "crons:o:n", "blob": "z"}, "MARKER", {"key": 3},
        ],
    }  # fmt: skip
    raw = msgspec.json.encode(sent)
    found = msgspec.json.decode(raw, type=Heartbeat)
    kept = accept.kept_facts(found, counters=False)
    assert kept == {"os": "Linux", "cpu_count": "2"}
    parts = refused_parts(found, kept, counters=False, size=len(raw))
    assert parts.keys() == {"transcripts", "memory", "metadata", "counters"}
    assert parts["transcripts"] > 100
    assert accept.kept_facts(found, counters=True)["tool_calls_today"] == "7"


@pytest.mark.parametrize("of", CLASSES)
def test_the_gate_lets_in_what_is_granted_and_nothing_else(of: Any) -> None:
    row = Row("session:s", "once", b"i", NOW, sealed=False, body=b"{}")
    others = [one for one in CLASSES if one != of]
    assert gate.admit(standing(of), of, [row], node=1, now_ms=NOW) is not None
    assert gate.admit(standing(*others), of, [row], node=1, now_ms=NOW) is None
    assert gate.admit(UNKNOWN, of, [row], node=1, now_ms=NOW) is None
    assert gate.sync_allowed(standing(of)) is (of != "counters")
    assert gate.reason(UNKNOWN) == "intent_pending"


def test_the_gate_drops_what_is_older_than_the_backfill() -> None:
    grant = Grant(
        version=1, node="nd_1", number=1, classes=("logs",), at_ms=NOW, backfill_from_ms=NOW - 10
    )
    signed = SignedDocument(payload=to_base64url(encode_document(grant)), key="k", signature="")
    rows = [Row("log", "once", b"i", NOW - age, sealed=False, body=b"1") for age in (0, 10, 11)]
    found = gate.admit(standing("logs", grant=signed), "logs", rows, node=1, now_ms=NOW)
    assert found is not None
    assert [row.at_ms for row in found.rows] == [NOW, NOW - 10]
    broken = SignedDocument(payload="AAAA", key="k", signature="")
    found = gate.admit(standing("logs", grant=broken), "logs", rows, node=1, now_ms=NOW)
    assert found is not None
    assert len(found.rows) == 3


@pytest.mark.parametrize(
    ("version", "resends"),
    [("0.12.170", True), ("0.12.165", True), ("", True), ("0.12.937", False), ("0.13.1", False),
     ("0.12.x", False), ("holdfast 1", False), ("9" * 5_000, False)],
)  # fmt: skip
def test_the_version_tells_what_a_client_does_with_a_refusal(
    version: str, *, resends: bool
) -> None:
    node = Node(no=1, id="nd_1", account="a", name="n", key="k", version=version)
    assert node.resends() is resends
