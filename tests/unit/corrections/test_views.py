"""What people see of corrections: searches that are words only, trends that add up."""

from __future__ import annotations

from holdfast.corrections import views
from holdfast.corrections.ports import LessonRow
from holdfast.kernel.clock import DAY_MS, HOUR_MS
from tests.support.toys.brains import NOW


def test_what_is_typed_is_words_and_never_an_operator() -> None:
    assert views.search_words('say "no" OR draft:x*') == '"say" "no" "OR" "draft" "x" *'
    assert views.search_words('"()*_') == ""
    assert views.search_words("snake_case") == '"snake" "case" *'
    assert views.search_words("cafe\u0301") == '"caf\u00e9" *'
    assert views.search_words("größe") == '"größe" *'


def test_ids_lead_back_to_numbers_and_others_to_none() -> None:
    assert views.correction_no(views.correction_id(17)) == 17
    bad = ("", "17", "c0", "c-1", "c1x", "l17", "c" + "9" * 30)
    assert [views.correction_no(one) for one in bad] == [0] * len(bad)


def test_a_trend_counts_by_step_and_severity_and_names_what_it_does_not_know() -> None:
    trend = views.TRENDS["7d"]
    today = NOW // HOUR_MS
    rows = [
        (today, "minor", 2), (today, "rewrite", 1), (today, "odd", 4),
        (today - 24, "major", 3), (today - 24 * 30, "minor", 9),
    ]  # fmt: skip
    found = views.trend_charts(rows, trend, NOW)
    volume = {one.name: one.values for one in found.charts[0].series}
    assert found.step_s * 1_000 == DAY_MS
    assert volume["minor"][-1] == 2
    assert volume["discarded"][-1] == 1
    assert volume["other"][-1] == 4
    assert volume["major"][-2] == 3
    assert sum(sum(v or 0 for v in values) for values in volume.values()) == 10
    mean = found.charts[1].series[0].values
    assert (mean[-1], mean[-2], mean[0]) == ((1 * 2 + 4 * 1) / 3, 3.0, None)


def row(no: int, state: str, decision: str, confidence: float) -> LessonRow:
    return LessonRow(
        no, 1, "local", f"l{no}", "TONE", f"text {no}", state, confidence, 0, 0, "", 1, decision,
        "", None,
    )  # fmt: skip


def test_rules_for_a_prompt_are_the_sure_and_the_approved_never_the_rejected() -> None:
    rows = [
        row(1, "INSTINCT", "", 0.6), row(2, "RULE", "", 0.9), row(3, "RULE", "rejected", 1.0),
        row(4, "INSTINCT", "approved", 0.5), row(5, "PATTERN", "", 0.7),
    ]  # fmt: skip
    lines = ["- [TONE] text 4", "- [TONE] text 2", "- [TONE] text 5"]
    assert views.rules_text(rows) == "\n".join(lines)
