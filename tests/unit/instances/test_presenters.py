"""What people read of an instance: its timeline in order, its log line by line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from holdfast.actors.ports import Logged
from holdfast.actors.record import Decision, Input, Note, TickRecord
from holdfast.instances.presenters import log_line, timeline
from holdfast.kernel.ids import EventId
from holdfast.wire.api.endpoint import Detail
from holdfast.wire.api.instances import LogLine, TimelineEntry
from holdfast.wire.limits import LOG_LINE_MAX

AT_MS = 1_780_000_000_000
AT = "2026-05-28T20:26:40.000Z"


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"at_ms": AT_MS, "line": "hi", "stream": "stdout"}, LogLine(text="hi", at=AT)),
        (
            {"at_ms": AT_MS, "line": "hi", "stream": "stderr"},
            LogLine(text="hi", stream="stderr", at=AT),
        ),
        ({"at_ms": 1, "line": "hi"}, LogLine(text="hi", at="1970-01-01T00:00:00.001Z")),
        ({"at_ms": 0, "line": "hi"}, LogLine(text="hi")),
        ({"at_ms": -1, "line": "hi"}, LogLine(text="hi")),
        ({"at_ms": 2**45, "line": "hi"}, LogLine(text="hi")),
        ({"at_ms": 2**45 - 1, "line": "hi"}, LogLine(text="hi", at="3084-12-12T12:41:28.831Z")),
        ({"at_ms": "x", "line": "hi"}, LogLine(text="hi")),
        ({"line": "x" * (LOG_LINE_MAX + 1)}, LogLine(text="x" * LOG_LINE_MAX)),
    ],
    ids=range(9),
)
def test_a_line_of_the_agent_is_shown_as_it_printed_it(
    fields: dict[str, Any], shown: LogLine
) -> None:
    assert log_line(json.dumps({"event": "agent.line", **fields})) == shown


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("booting", None),
        ("{not json", None),
        ('["agent.line"]', None),
        ('{"event": "agent.line", "line": 7}', None),
        (json.dumps({"event": "agent.exited", "line": "x", "at_ms": AT_MS}), AT),
    ],
)
def test_another_line_is_the_controllers(text: str, at: str | None) -> None:
    assert log_line(text) == LogLine(text=text, stream="controller", at=at)


def test_a_long_line_of_the_controller_is_cut() -> None:
    for text in ("x" * (LOG_LINE_MAX + 1), "{" * (LOG_LINE_MAX + 1)):
        assert log_line(text).text == text[:-1]


def row(seq: int, tick: int, **changes: Any) -> Logged:
    values: dict[str, Any] = {
        "id": EventId(f"e{seq}"), "seq": seq, "tick": tick, "at_ms": AT_MS, "outcome": "applied",
        "body": b'{"type": "StopRequested"}', "version": 1, "source": "api",
    }  # fmt: skip
    return Logged(**(values | changes))


def record(number: int, **changes: Any) -> TickRecord:
    return TickRecord(
        actor="instance:i1", number=number, now_ms=AT_MS, basis=0, seq=1, digest="", policy="",
        code="", state_version=1, **changes,
    )  # fmt: skip


def decision(name: str, **changes: Any) -> Decision:
    values: dict[str, Any] = {
        "name": name, "rule": "instance.stop", "reason": "it is wanted stopped", "result": "done",
        "entity": "", "args": {},
    }  # fmt: skip
    return Decision(**(values | changes))


def test_a_timeline_is_newest_first_and_events_of_a_tick_come_before_its_decisions() -> None:
    log = [row(1, 1), row(2, 1, source="intent"), row(3, 2)]
    ticks = [
        record(2, decisions=(decision("B"),)),
        record(1, decisions=(decision("A"), decision("A2")), notes=(Note(0, "", "broken"),)),
    ]
    found = [one.id for one in timeline(log, ticks)]
    assert found == ["tick:2:0", "e3", "note:1:0", "tick:1:1", "tick:1:0", "e2", "e1"]


def test_what_an_event_led_to() -> None:
    first, other = row(1, 1), row(2, 2)
    caused = record(
        1,
        inputs=(Input("e0", "applied"), Input("e1", "applied")),
        decisions=(decision("A", effects=("f1",)),),
    )
    answer = row(3, 3, source="effect", cause="f1")
    found = timeline([first, other, answer], [caused], cause="e1")
    assert [one.id for one in found] == ["e3", "tick:1:0", "e1"]


def test_a_decision_and_a_note() -> None:
    conflict = decision("Stop", result="conflict")
    notes = (Note(3, "", "two machines"), Note(0, "", "it raised"))
    ticks = [record(4, decisions=(decision("Stop"), conflict), notes=notes)]
    shown = timeline([], ticks)[::-1]
    assert shown[0] == TimelineEntry(
        id="tick:4:0", at=AT, kind="action", name="Stop", tick=4, rule="instance.stop",
        reason="it is wanted stopped",
    )  # fmt: skip
    assert [one.kind for one in shown] == ["action", "conflict", "note", "note"]
    assert [one.name for one in shown[2:]] == ["invariant 3", "fault"]


@pytest.mark.parametrize(
    ("changes", "kind", "outcome", "reason"),
    [
        ({}, "event", "applied", ""),
        ({"outcome": "refused", "code": "busy", "message": "m"}, "refusal", "refused", "busy: m"),
        ({"outcome": "ignored", "message": "m"}, "event", "ignored", "m"),
        ({"outcome": "dropped"}, "event", "quarantined", ""),
        ({"source": "effect"}, "outcome", "applied", ""),
        ({"source": "probe"}, "outcome", "applied", ""),
    ],
)
def test_an_event(changes: dict[str, Any], kind: str, outcome: str, reason: str) -> None:
    (shown,) = timeline([row(5, 2, **changes)], [])
    assert (shown.kind, shown.outcome, shown.reason) == (kind, outcome, reason)
    assert (shown.seq, shown.tick, shown.name, shown.at) == (5, 2, "StopRequested", AT)


def test_an_events_facts_are_told_without_secrets_and_without_what_is_empty() -> None:
    body = json.dumps({
        "type": "X", "reason": "", "model": None, "count": 0, "env": {"A": "1", "B": None},
        "name": "alpha", "sealed_key": "secret",
    }).encode()  # fmt: skip
    (shown,) = timeline([row(1, 1, body=body, by="ann")], [])
    facts = {one.name: one.value for one in shown.details}
    assert shown.details[0] == Detail(name="by", value="ann")
    assert facts["count"] == "0"
    assert facts["name"] == "alpha"
    assert not {"reason", "model", "sealed_key", "type"} & facts.keys()


@pytest.mark.parametrize("body", [b"", b"[1]", b"7"])
def test_a_body_that_is_no_event_has_no_name(body: bytes) -> None:
    (shown,) = timeline([row(1, 1, body=body)], [])
    assert (shown.name, shown.details) == ("?", ())
