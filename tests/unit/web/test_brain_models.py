"""Corrections, brains and lessons as the pages print them."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from holdfast.web.hub import Hub
from holdfast.web.pages.brains import brain, brain_badge
from holdfast.web.pages.corrections import FeedQuery, feed
from holdfast.web.pages.corrections import correction as correction_page
from holdfast.web.pages.lessons import lessons
from holdfast.web.parts.correction_rows import correction_row, severity_badge
from holdfast.web.parts.difference import difference
from holdfast.wire.api.brains import (
    BrainDetail,
    BrainList,
    BrainView,
    CorrectionDetail,
    CorrectionList,
    GapRange,
    LessonList,
    SourceView,
)
from holdfast.wire.times import time_text
from tests.support.sample_brains import SampleBrains, correction, lesson
from tests.unit.web.shapes import NOW


def views() -> list[BrainView]:
    made = SampleBrains(Hub(), now_ms=NOW)
    made.fill()
    return made.brains


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("", ""),
        ("why", "why"),
        ('{"ticket":1}', '{\n  "ticket": 1\n}'),
        ("[" * 2_000, "[" * 2_000),
        ("[" * 980 + "]" * 980, None),
        ('{"a":' * 2_000 + "1" + "}" * 2_000, '{"a":' * 2_000 + "1" + "}" * 2_000),
    ],
)
def test_a_context_is_shown_however_deep_it_is(sent: str, shown: str | None) -> None:
    view = correction(1, now_ms=NOW)
    found = CorrectionDetail(
        view=view, draft=view.draft, final=view.final, context=sent, classifications=(),
        content_hash="ab", event_ids=("e1",), source="desk-1", seq=1, sdk="holdfast/0.4.0",
        account="local", instance=None,
    )  # fmt: skip
    page = correction_page(found, difference(view.draft, view.final), now_ms=NOW)
    if shown is None:
        assert "".join(page.context.split()) == sent, "as lines or as it is"
    else:
        assert page.context == shown


def test_a_query_says_itself_in_an_address_and_narrows() -> None:
    query = FeedQuery.parse({"severity": "major", "text": " a b ", "after": "9", "brain": ""})
    assert query.href() == "/corrections?severity=major&text=a+b"
    assert query.href(severity="") == "/corrections?text=a+b"
    assert query.narrows
    assert not FeedQuery.parse({"after": "9"}).narrows
    assert FeedQuery().href() == "/corrections"


def test_a_feed_is_live_on_its_first_page_only() -> None:
    listed = CorrectionList(items=(), next="n")
    first = feed(FeedQuery(severity="major"), listed, (), BrainList(items=()))
    assert first.events_href == "/events?page=corrections&severity=major"
    assert first.next_href == "/corrections?severity=major&after=n"
    assert [chip.text for chip in first.chips if chip.is_on] == ["major"]
    assert feed(FeedQuery(after="n"), listed, (), BrainList(items=())).events_href == ""


def test_a_row_says_how_often_and_whether_all_of_it_is_shown() -> None:
    view = correction(0, now_ms=NOW, count=3, recurrences=1, cut=True)
    row = correction_row(view, difference(view.draft, view.final), now_ms=NOW)
    assert row.repeats == "3 times, also in another session"
    assert row.is_cut
    plain = correction(1, now_ms=NOW, count=1)
    row = correction_row(plain, difference(plain.draft, plain.final), now_ms=NOW)
    assert (row.repeats, row.is_cut) == ("", False)
    later = correction_row(plain, difference(plain.draft, plain.final), now_ms=NOW + 60_000)
    assert later.fingerprint() == row.fingerprint()
    assert later.at != row.at


def test_another_sdks_severity_is_shown_as_it_is() -> None:
    assert severity_badge("as-is").text == "as is"
    assert severity_badge("rewrite").text == "rewrite"
    assert severity_badge("").text == "unknown"


def test_a_brain_shows_the_worst_first() -> None:
    well, _, bad = views()
    assert brain_badge(well).text == "well"
    assert (brain_badge(bad).text, brain_badge(bad).tone) == ("backlog", "bad")
    quiet = msgspec.structs.replace(bad, alerts=())
    assert brain_badge(quiet).text == "missing"
    assert brain_badge(msgspec.structs.replace(quiet, missing=0)).text == "sending"
    assert brain_badge(msgspec.structs.replace(well, heard_at=None)).text == "never heard"


def test_missing_numbers_are_named_as_ranges_and_the_rest_counted() -> None:
    gaps = tuple(GapRange(first=n * 10, last=n * 10 + n % 2) for n in range(15))
    source = SourceView(
        name="desk", sdk="holdfast/1", high_water=9, newest=200, gaps=gaps, forgotten=4, depth=3,
        oldest_ms=61_000, heard_at=time_text(NOW),
    )  # fmt: skip
    found = brain(
        BrainDetail(view=views()[0], versions=(), sources=(source,), aliases=()), now_ms=NOW
    )
    (sender,) = found.senders
    assert sender.gaps[:2] == ("0", "10 to 11")
    assert (len(sender.gaps), sender.more_gaps, sender.oldest) == (12, 7, "1 min")


@pytest.mark.parametrize(
    ("decision", "word", "orders"),
    [("", "to decide", (True, True)), ("approved", "approved", (False, True)),
     ("rejected", "rejected", (True, False))],
)  # fmt: skip
def test_a_lesson_can_be_decided_and_decided_again(
    decision: str, word: str, orders: tuple[bool, bool]
) -> None:
    made = msgspec.convert(
        msgspec.to_builtins(lesson(1, now_ms=NOW)) | {"decision": decision, "confidence": 1.7},
        type(lesson(1, now_ms=NOW)),
    )
    found = lessons(LessonList(items=(made,)), {"decision": "none"}, now_ms=NOW)
    (row,) = found.rows
    assert (row.badge.text, row.percent) == (word, "100%")
    assert (row.can_approve, row.can_reject) == orders
    assert [title for title, _, is_on in found.tabs if is_on] == ["To decide"]
    assert found.events_href == "/events?decision=none&page=lessons"


def test_a_decision_says_that_the_brain_has_not_taken_it_until_it_has() -> None:
    plain = msgspec.to_builtins(lesson(1, now_ms=NOW))

    def shown(**fields: Any) -> str:
        made = msgspec.convert(plain | fields, type(lesson(1, now_ms=NOW)))
        return lessons(LessonList(items=(made,)), {}, now_ms=NOW).rows[0].by

    assert shown() == ""
    decided = {"decision": "approved", "decided_by": "ada"}
    assert shown(**decided) == "by ada · not yet taken by the brain"
    assert shown(**decided, taken=True) == "by ada"
    assert shown(decision="rejected") == "not yet taken by the brain"
