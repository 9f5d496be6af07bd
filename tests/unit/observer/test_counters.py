"""Numbers of transcripts, in the forms of the programs that write them, each counted once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.machine.observer import counts, cursors, limits
from holdfast.machine.observer.cursors import Cursor, CursorReader, Place
from holdfast.machine.observer.readers.counters import Counter, DayCounts
from holdfast.machine.observer.readers.lines import LineFile
from holdfast.machine.observer.readers.openclaw import transcript_fields
from holdfast.machine.observer.readers.parts import Lines, encoded
from holdfast.outbox.box import Outbox, open_outbox

DAY_BEGAN_MS = 1_795_996_800_000
"""2026-11-30T00:00:00Z."""


class Stage:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "queue").mkdir()

        def prepare(connection: Any) -> None:
            cursors.prepare(connection)
            counts.prepare(connection)

        self.outbox: Outbox = open_outbox(folder / "queue", durability="process", prepare=prepare)
        self.reader = CursorReader(self.outbox.read)
        self.counter = Counter()
        self.ids: list[str] = []

    def write(self, *lines: dict[str, Any], name: str = "s1", anew: bool = False) -> None:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        with (self.folder / name).open("w" if anew else "a") as file:
            file.write(text)
        path = self.folder / name
        source = LineFile(
            "transcripts", "events", path, self.folder, name, 0, transcript_fields(name, "")
        )
        while (part := source.next_lines(self.reader, "counters")) is not None:
            counted = self.counter.count(part)
            cursor = part.cursor

            def work(current: Any, counted: Any = counted, cursor: Any = cursor) -> None:
                counts.add(current, cursor.name, counted.counts)
                cursors.save(current, cursor)

            self.outbox.write(work)
            self.counter.keep(counted)

    def days(self, since_ms: int = 0) -> list[dict[str, Any]]:
        """Return the snapshots that would be sent, as if they were."""
        sent = []
        for day in DayCounts.of(self.outbox.read):
            part = day.next_part(self.reader, since_ms=since_ms)
            if part is not None:
                cursor = part.cursor
                self.ids += part.event_ids
                self.outbox.write(lambda current, cursor=cursor: cursors.save(current, cursor))  # type: ignore[misc]
                sent += part.fields["snapshots"]
        return sent


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.outbox.close()


def turn(
    text: str, *, at: str = "2026-11-30T10:00:00Z", usage: Any = None, **more: Any
) -> dict[str, Any]:
    message = {"role": "assistant", "content": [{"type": "text", "text": text}], **more}
    if usage is not None:
        message["usage"] = usage
    return {"type": "message", "timestamp": at, "message": message}


OPENCLAW = {"input": 11, "output": 5, "cacheRead": 2, "cacheWrite": 1, "cost": {"total": 0.25}}
CLAUDE = {
    "input_tokens": 7, "output_tokens": 3, "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 10,
}  # fmt: skip


def test_openclaw_by_model_and_day_without_a_word_of_what_was_said(stage: Stage) -> None:
    tool = [{"type": "toolCall", "name": "exec", "arguments": {"command": "MARKER"}}]
    stage.write(
        turn("MARKER", usage=OPENCLAW, model="m1"),
        turn("MARKER", usage=OPENCLAW, model="m1", content=tool),
        turn("MARKER", usage=OPENCLAW, model="m2", at="2026-12-01T00:00:01Z"),
        {"type": "session", "id": "s", "timestamp": "2026-11-30T09:00:00Z", "cwd": "/MARKER"},
    )
    first, second = stage.days()
    assert first == {
        "day": "2026-11-30",
        "sessions": 1,
        "models": [
            {
                "model": "m1", "turns": 2, "tool_calls": 1, "input": 22, "output": 10,
                "cache_read": 4, "cache_write": 2, "cost": 0.5,
            }
        ],
    }  # fmt: skip
    assert second["day"] == "2026-12-01"
    assert "MARKER" not in json.dumps([first, second])


def test_a_message_of_claude_code_that_stands_in_several_lines_counts_once(stage: Stage) -> None:
    again = turn("a", usage=CLAUDE, id="msg_1", model="claude")
    stage.write(again, again)
    stage.write(again, turn("b", usage=CLAUDE, id="msg_2", model="claude"))
    (day,) = stage.days()
    (model,) = day["models"]
    assert (model["turns"], model["input"], model["cache_read"]) == (2, 14, 200)


def codex_tokens(
    total: tuple[int, int, int], last: tuple[int, int, int], at: str
) -> dict[str, Any]:
    """Return a line with the tokens of a session and of its last call: input, cached, output."""

    def usage(numbers: tuple[int, int, int]) -> dict[str, int]:
        given, cached, output = numbers
        return {
            "input_tokens": given, "cached_input_tokens": cached, "output_tokens": output,
            "reasoning_output_tokens": output // 3, "total_tokens": given + output,
        }  # fmt: skip

    info = {
        "total_token_usage": usage(total), "last_token_usage": usage(last),
        "model_context_window": 272_000,
    }  # fmt: skip
    limit = {"primary": {"used_percent": 7.0, "window_minutes": 300, "resets_in_seconds": 60}}
    payload = {"type": "token_count", "info": info, "rate_limits": limit}
    return {"timestamp": f"2026-11-30T{at}Z", "type": "event_msg", "payload": payload}


def codex_session() -> list[dict[str, Any]]:
    """Return a rollout of two calls, the first of which is told three times (rate limits)."""

    def row(kind: str, at: str, **payload: Any) -> dict[str, Any]:
        return {"timestamp": f"2026-11-30T{at}Z", "type": kind, "payload": payload}

    text = [{"type": "output_text", "text": "done"}]
    return [
        row("session_meta", "10:00:00.000", id="01970000-0000-7000-8000-000000000001", cwd="/w"),
        row("turn_context", "10:00:00.100", cwd="/w", model="gpt-5-codex", effort="high"),
        row("event_msg", "10:00:00.200", type="user_message", message="make it so"),
        row("event_msg", "10:00:00.300", type="token_count", info=None),
        row("response_item", "10:00:01.000", type="reasoning", summary=[], content=None),
        row("response_item", "10:00:02.000", type="function_call", name="shell", arguments="{}"),
        codex_tokens((8_000, 6_144, 300), (8_000, 6_144, 300), "10:00:02.100"),
        row("response_item", "10:00:03.000", type="function_call_output", output="ok"),
        codex_tokens((8_000, 6_144, 300), (8_000, 6_144, 300), "10:00:03.100"),
        codex_tokens((8_000, 6_144, 300), (8_000, 6_144, 300), "10:00:04.100"),
        row("response_item", "10:00:05.000", type="message", role="assistant", content=text),
        codex_tokens((17_500, 14_336, 420), (9_500, 8_192, 120), "10:00:05.100"),
    ]


def test_codex_counts_what_was_cached_once_and_a_call_once(stage: Stage) -> None:
    stage.write(*codex_session())
    (model,) = stage.days()[0]["models"]
    counted = {name: model[name] for name in ("input", "cache_read", "output", "tool_calls")}
    assert counted == {
        "input": 17_500 - 14_336, "cache_read": 14_336, "output": 420, "tool_calls": 1
    }  # fmt: skip


def test_a_codex_call_that_is_told_again_later_or_without_sums(stage: Stage) -> None:
    first, *_, last = codex_session()
    stage.write(first, last)
    stage.write(last)
    assert stage.days()[0]["models"][0]["output"] == 120, "told again in another look"
    del last["payload"]["info"]["total_token_usage"]
    last["payload"]["info"]["last_token_usage"]["cached_input_tokens"] = 10_000
    stage.write(last)
    (model,) = stage.days()[0]["models"]
    assert (model["output"], model["input"]) == (240, 9_500 - 8_192), "more cached than there was"


def test_numbers_are_sent_when_they_change_and_of_all_files(stage: Stage) -> None:
    stage.write(turn("a", usage=OPENCLAW))
    assert len(stage.days()) == 1
    assert stage.days() == []
    stage.write(turn("b", usage=OPENCLAW), name="s2")
    (day,) = stage.days()
    assert (day["sessions"], day["models"][0]["input"]) == (2, 22)


def test_a_file_that_is_written_anew_is_not_counted_twice(stage: Stage) -> None:
    stage.write(turn("a", usage=OPENCLAW), turn("b", usage=OPENCLAW))
    stage.write(turn("other", usage=OPENCLAW), anew=True)
    (day,) = stage.days()
    assert day["models"][0]["turns"] == 1


def test_days_before_the_bound_are_not_sent(stage: Stage) -> None:
    stage.write(turn("a", usage=OPENCLAW))
    # The numbers of a day are whole: those of the bound's own day have older ones in them.
    assert stage.days(since_ms=DAY_BEGAN_MS + 1) == []
    assert len(stage.days(since_ms=DAY_BEGAN_MS)) == 1


def test_numbers_that_come_again_after_others_are_sent_again(stage: Stage) -> None:
    one, other = turn("a", usage=OPENCLAW), turn("b", usage=OPENCLAW)
    stage.write(one)
    (first,) = stage.days()
    stage.write(other)
    stage.days()
    stage.write(one, anew=True)
    assert stage.days() == [first]
    assert len(set(stage.ids)) == 3


def test_a_withdrawal_has_the_day_sent_again_under_a_number_of_its_own(stage: Stage) -> None:
    one = turn("a", usage=OPENCLAW)
    stage.write(one)
    (day,) = DayCounts.of(stage.outbox.read)
    part = day.next_part(stage.reader, since_ms=0)
    assert part is not None
    stream, start = part.cursor.stream, part.start
    (first,) = stage.days()
    stage.write(turn("b", usage=OPENCLAW))
    stage.days()
    stage.outbox.write(lambda current: cursors.rewind(current, "counters", [Place(stream, start)]))
    stage.write(one, anew=True)
    assert stage.days() == [first]
    assert len(set(stage.ids)) == 3


def test_lines_that_were_not_kept_are_counted_again(stage: Stage) -> None:
    again = turn("a", usage=CLAUDE, id="msg_1", model="claude")
    lines = Lines(
        [json.dumps(again).encode()], Cursor("counters", "s", "f", 1, 9, "", 0), anew=False
    )
    first = stage.counter.count(lines)
    assert stage.counter.count(lines) == first
    stage.counter.keep(first)
    (later,) = stage.counter.count(lines).counts
    assert (first.counts[0].turns, later.turns, later.input) == (1, 0, 0)


def test_a_day_of_any_number_of_models_fits_an_upload(stage: Stage) -> None:
    many = 20 * limits.MODELS_MAX
    stage.write(
        *(turn("a", usage=OPENCLAW, model=f"\x01{number:06}" * 900) for number in range(many)),
        turn("a", usage=OPENCLAW, model="m1"), turn("b", usage=OPENCLAW, model="m1"),
    )  # fmt: skip
    (day,) = stage.days()
    assert len(encoded(day)) < limits.BODY_BYTES_MAX
    assert len(day["models"]) == limits.MODELS_MAX
    assert day["models"][0]["model"] == "m1"
    assert sum(model["turns"] for model in day["models"]) == many + 2
    assert sum(model["input"] for model in day["models"]) == 11 * (many + 2)


def test_a_time_before_the_calendar_hides_no_line_behind_it(stage: Stage) -> None:
    stage.write(turn("a", at="0001-01-01T00:00:00+14:00"), turn("b", usage=OPENCLAW))
    (day,) = stage.days()
    assert day["day"] == "2026-11-30"


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"timestamp": "x", "message": {"role": "assistant", "usage": OPENCLAW}},
        {"timestamp": 1, "message": {"role": "assistant", "usage": {"input": "many"}}},
        {"timestamp": 1, "message": {"role": "system", "usage": OPENCLAW}},
        {"timestamp": 1, "message": "text"},
        {"timestamp": 1, "payload": 5},
        {"timestamp": 2**52, "message": {"role": "assistant", "usage": OPENCLAW}},
    ],
)
def test_what_is_no_turn_counts_nothing(stage: Stage, line: dict[str, Any]) -> None:
    stage.write(line)
    assert stage.days() == []


def test_implausible_numbers_are_left_out(stage: Stage) -> None:
    stage.write(turn("a", usage={"input": -5, "output": 2**60, "cost": {"total": -1.0}}))
    (model,) = stage.days()[0]["models"]
    assert (model["turns"], model["input"], model["output"], model["cost"]) == (1, 0, 0, 0.0)
