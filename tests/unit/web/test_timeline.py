from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holdfast.web.parts.timeline import joined, stories
from holdfast.wire.api.instances import TimelineEntry
from holdfast.wire.times import time_text

NOW = 1_795_000_000_000


def entry(name: str, cause: str = "", text: str = "") -> TimelineEntry:
    return TimelineEntry(id=name, at=time_text(NOW), kind="event", name="X", cause=cause, text=text)


def test_what_one_cause_led_to_stands_together_in_the_order_it_happened() -> None:
    told = stories(
        [entry("outcome", "effect"), entry("other"), entry("effect", "event"), entry("event")],
        now_ms=NOW,
    )
    assert [story.id for story in told] == ["event", "other"]
    assert [(line.id, line.depth) for line in told[0].lines] == [
        ("event", 0), ("effect", 1), ("outcome", 2),
    ]  # fmt: skip


def test_a_cause_on_another_page_begins_a_story_here() -> None:
    assert [story.id for story in stories([entry("b", "far-away")], now_ms=NOW)] == ["b"]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 12)), max_size=12))
def test_every_entry_is_told_once_even_where_causes_run_in_a_circle(
    pairs: list[tuple[int, int]],
) -> None:
    unique = {str(name): entry(str(name), str(cause)) for name, cause in pairs}
    told = stories(unique.values(), now_ms=NOW)
    assert sorted(line.id for story in told for line in story.lines) == sorted(unique)


def test_one_line_says_what_happened_and_what_came_of_it() -> None:
    rows = [
        entry("b", cause="a", text="Its machine was made"),
        entry("x", cause="a", text=""),
        entry("a", text="A start was asked for"),
    ]
    (found,) = stories(rows, now_ms=NOW)
    assert (found.title, found.end) == ("A start was asked for", "Its machine was made")
    assert [line.id for line in found.lines] == ["a", "x", "b"], "raw entries stay behind it"


def test_the_same_in_a_row_is_one_line() -> None:
    rows = [entry(name, text="Its agent ended (SIGKILL)") for name in "abc"]
    (found,) = joined(stories(rows, now_ms=NOW))
    assert (found.id, found.times) == ("a", 3)
    mixed = [*rows, entry("d", text="Its agent is ready"), entry("e", text=rows[0].text)]
    assert [one.times for one in joined(stories(mixed, now_ms=NOW))] == [3, 1, 1]
