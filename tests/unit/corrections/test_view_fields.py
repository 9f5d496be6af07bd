"""Each field of a stored row of corrections is shown under its own name: none is swapped."""

from __future__ import annotations

from holdfast.corrections import views
from holdfast.corrections.gaps import Numbers
from holdfast.corrections.ports import CorrectionRow, CorrectionWhole, LessonRow
from holdfast.corrections.records import Brain, BrainKey, Counts, Standing
from holdfast.kernel.clock import DAY_MS, HOUR_MS, SECOND_MS
from holdfast.wire.api.brains import (
    BrainAlert,
    BrainDetail,
    BrainKeyView,
    BrainView,
    CorrectionDetail,
    CorrectionView,
    GapRange,
    LessonView,
    SdkCounts,
    SourceView,
)
from holdfast.wire.api.ingest import Verdict
from holdfast.wire.limits import EVENT_IDS_SHOWN_MAX
from tests.support.toys.brains import NOW

BRAIN = Brain(
    no=7, id="b7", name="Writer", account="acme", instance="i3", created_at_ms=NOW - 90_000
)
ALONE = Brain(no=8, id="b8", name="Alone", account="acme")


def at(seconds: int) -> str:
    """Return the text of that many seconds after NOW, 2026-05-28T20:26:40Z."""
    return f"2026-05-28T20:{26 + (40 + seconds) // 60:02}:{(40 + seconds) % 60:02}.000Z"


ROW = CorrectionRow(
    no=41, brain=7, account="acme", hash=b"\x0a\xbc", at_ms=NOW + 1_000, received_ms=NOW + 2_000,
    session="s-9", category="TONE", severity="minor", draft="a draft", final="a final", cut=True,
    summary="a summary", edit_distance=0.25, via=(0, 3, 0, 5, 0), recurrences=4,
)  # fmt: skip
SHOWN = CorrectionView(
    id="c41", brain="b7", brain_name="Writer", session="s-9", category="TONE", severity="minor",
    draft="a draft", final="a final", cut=True, count=5, recurrences=4, summary="a summary",
    edit_distance=0.25, routes=("single", "push"), at=at(1), received_at=at(2),
)  # fmt: skip
LESSON = LessonRow(
    no=12, brain=7, account="acme", lesson_id="greet", category="TONE", text="Greet by name.",
    state="RULE", confidence=0.75, fires=9, corrections=6, scope="mail", updated_ms=NOW + 3_000,
    decision="approved", decided_by="ann", decided_ms=NOW + 4_000, verdict_no=2,
)  # fmt: skip
FIRST = Standing(
    brain=7, source="laptop", sdk="1.2",
    numbers=Numbers(newest=20, gaps=((5, 6), (9, 12)), forgotten=3),
    depth=11, oldest_ms=700, heard_ms=NOW + 5_000,
)  # fmt: skip
IDLE = Standing(
    brain=7, source="server", sdk="1.1", numbers=Numbers(newest=8), depth=0, oldest_ms=900,
    heard_ms=NOW,
)  # fmt: skip
COUNTS = (
    Counts(brain=7, sdk="1.2", accepted=30, deduplicated=20, refused=10, first_ms=NOW,
           last_ms=NOW + 1_000),
    Counts(brain=7, sdk="1.1", accepted=3, deduplicated=2, refused=1, first_ms=NOW - 2_000,
           last_ms=NOW - 1_000),
)  # fmt: skip


def test_a_correction_in_a_list() -> None:
    assert views.correction_view(ROW, BRAIN) == SHOWN
    assert not views.correction_view(ROW._replace(cut=False), BRAIN).cut


def test_a_correction_as_a_whole() -> None:
    ids = tuple(f"e{number}" for number in range(EVENT_IDS_SHOWN_MAX + 1))
    whole = CorrectionWhole(
        row=ROW, draft="the whole draft", final="the whole final", context="before it",
        classifications=("style",), event_ids=ids, source="laptop", seq=17, sdk="1.2",
    )  # fmt: skip
    assert views.correction_detail(whole, BRAIN) == CorrectionDetail(
        view=SHOWN, draft="the whole draft", final="the whole final", context="before it",
        classifications=("style",), content_hash="0abc", event_ids=ids[:-1], source="laptop",
        seq=17, sdk="1.2", account="acme", instance="i3",
    )  # fmt: skip
    assert views.correction_detail(whole, ALONE).instance is None


def test_a_brain_in_a_list_adds_up_its_senders_and_versions() -> None:
    alert = BrainAlert(
        brain="b7", brain_name="Writer", code="backlog", message="6 wait", fix="Wait.", value=6,
        since=at(0),
    )  # fmt: skip
    shown = views.brain_view(BRAIN, (FIRST, IDLE), COUNTS, (alert,))
    assert shown == BrainView(
        id="b7", name="Writer", account="acme", instance="i3",
        created_at="2026-05-28T20:25:10.000Z", heard_at=at(5), sdk="1.2", accepted=33,
        deduplicated=22, refused=11, pending=11, oldest_ms=700, missing=6, alerts=(alert,),
    )  # fmt: skip


def test_a_brain_that_was_never_heard_of() -> None:
    shown = views.brain_view(ALONE, (), (), ())
    assert (shown.heard_at, shown.sdk, shown.instance) == (None, "", None)
    assert (shown.accepted, shown.pending, shown.oldest_ms, shown.missing) == (0, 0, 0, 0)


def test_a_brain_with_its_senders_and_their_gaps() -> None:
    view = views.brain_view(BRAIN, (FIRST, IDLE), COUNTS, ())
    gaps = (GapRange(first=5, last=6), GapRange(first=9, last=12))
    assert views.brain_detail(view, (FIRST, IDLE), COUNTS, ["old", "older"]) == BrainDetail(
        view=view,
        versions=(
            SdkCounts(sdk="1.2", accepted=30, deduplicated=20, refused=10, first_at=at(0),
                      last_at=at(1)),
            SdkCounts(sdk="1.1", accepted=3, deduplicated=2, refused=1, first_at=at(-2),
                      last_at=at(-1)),
        ),
        sources=(
            SourceView(name="laptop", sdk="1.2", high_water=4, newest=20, gaps=gaps, forgotten=3,
                       depth=11, oldest_ms=700, heard_at=at(5)),
            SourceView(name="server", sdk="1.1", high_water=8, newest=8, gaps=(), forgotten=0,
                       depth=0, oldest_ms=900, heard_at=at(0)),
        ),
        aliases=("old", "older"),
    )  # fmt: skip


def test_a_key_without_its_secret() -> None:
    key = BrainKey(
        id="k1", hash="secret", name="laptop key", account="acme", brain=7, created_at_ms=NOW,
        created_by="ann", last_used_at_ms=NOW + 1_000, revoked_at_ms=NOW + 2_000,
    )  # fmt: skip
    assert views.key_view(key, BRAIN) == BrainKeyView(
        id="k1", name="laptop key", account="acme", brain="b7", brain_name="Writer",
        created_at=at(0), created_by="ann", last_used_at=at(1), revoked_at=at(2),
    )  # fmt: skip
    unused = BrainKey(id="k2", hash="secret", name="n", account="acme")
    shown = views.key_view(unused, None)
    assert (shown.brain, shown.brain_name) == (None, None)
    assert (shown.last_used_at, shown.revoked_at) == (None, None)


def test_a_lesson_and_whether_its_brain_has_taken_the_verdict() -> None:
    assert views.lesson_view(LESSON, BRAIN, taken=2) == LessonView(
        id="l12", brain="b7", brain_name="Writer", lesson_id="greet", category="TONE",
        text="Greet by name.", state="RULE", confidence=0.75, fires=9, corrections=6, scope="mail",
        decision="approved", decided_by="ann", decided_at=at(4), taken=True, updated_at=at(3),
    )  # fmt: skip
    assert not views.lesson_view(LESSON, BRAIN, taken=1).taken
    undecided = LESSON._replace(decision="", decided_by="", decided_ms=None, verdict_no=0)
    shown = views.lesson_view(undecided, BRAIN, taken=2)
    assert (shown.decision, shown.decided_at, shown.taken) == ("", None, False)
    assert views.lesson_view(LESSON._replace(verdict_no=1), BRAIN, taken=2).taken


def test_a_verdict_for_the_brain_has_an_age_and_never_a_negative_one() -> None:
    assert views.verdict(LESSON, NOW + 4_250) == Verdict(
        number=2, lesson_id="greet", verdict="approved", by="ann", age_ms=250, category="TONE",
        text="Greet by name.", confidence=0.75, corrections=6,
    )  # fmt: skip
    assert views.verdict(LESSON, NOW).age_ms == 0
    assert views.verdict(LESSON._replace(decided_ms=None), NOW).age_ms == 0


def test_ids_of_corrections_and_lessons_have_their_own_letters() -> None:
    assert (views.correction_no("c41"), views.correction_no("l12")) == (41, 0)
    assert (views.lesson_no("l12"), views.lesson_no("c41")) == (12, 0)


def test_a_trend_is_a_window_that_ends_with_the_current_step() -> None:
    now_ms = 20 * DAY_MS + 5 * HOUR_MS
    trend = views.TRENDS["7d"]
    since_ms = 14 * DAY_MS
    assert views.trend_since(trend, now_ms) == since_ms
    first, before, last = since_ms // HOUR_MS, since_ms // HOUR_MS - 1, 21 * 24 - 1
    rows = [(first, "minor", 1), (before, "minor", 100), (last, "trivial", 2), (last + 1, "x", 50)]
    found = views.trend_charts(rows, trend, now_ms)
    assert (found.since, found.until) == ("1970-01-15T00:00:00.000Z", "1970-01-22T00:00:00.000Z")
    assert found.step_s == DAY_MS // SECOND_MS
    volume, severity = found.charts
    assert volume.at_s == severity.at_s == tuple(86_400 * day for day in range(14, 21))
    values = {one.name: one.values for one in volume.series}
    assert list(values) == [*views.SEVERITIES, "other"]
    assert values["minor"] == (1.0, 0, 0, 0, 0, 0, 0)
    assert values["as-is"] == (0, 0, 0, 0, 0, 0, 2.0)
    assert not any(values["other"])
    assert severity.series[0].values == (1.0, None, None, None, None, None, 0.0)
