"""Wire messages of correction rows; pure."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple, cast

from holdfast.corrections.ports import CorrectionRow, CorrectionWhole, LessonRow
from holdfast.corrections.records import ROUTES, Brain, BrainKey, Counts, Standing
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
from holdfast.wire.api.instances import Chart, ChartSeries, ChartSet
from holdfast.wire.limits import EVENT_IDS_SHOWN_MAX
from holdfast.wire.salvage import fit
from holdfast.wire.times import time_text

SEVERITIES: Final = ("as-is", "minor", "moderate", "major", "discarded")
"""From the lightest to the heaviest; charts weight them 0 to 4."""
_SAME_SEVERITY: Final = {"trivial": "as-is", "rewrite": "discarded"}
"""Names of two of them in older programs."""

_CORRECTION_ID: Final = re.compile(r"c([1-9][0-9]{0,17})")
_LESSON_ID: Final = re.compile(r"l([1-9][0-9]{0,17})")
_WORD: Final = re.compile(r"[^\W_]+", re.UNICODE)


class Trend(NamedTuple):
    """A window of a trend: `steps` of `step_ms`, the last of which is the current one."""

    steps: int
    step_ms: int


TRENDS: Final = {
    "24h": Trend(24, HOUR_MS),
    "7d": Trend(7, DAY_MS),
    "30d": Trend(30, DAY_MS),
}
TREND_DEFAULT: Final = "7d"


def correction_id(no: int) -> str:
    """Return the public id of a correction."""
    return f"c{no}"


def correction_no(text: str) -> int:
    """Return the number of a correction's id, 0 if it is invalid."""
    found = _CORRECTION_ID.fullmatch(text)
    return int(found[1]) if found else 0


def lesson_no(text: str) -> int:
    """Return the number of a lesson's id, 0 if it is invalid."""
    found = _LESSON_ID.fullmatch(text)
    return int(found[1]) if found else 0


def search_words(text: str) -> str:
    """Return a full-text query of all words of a text, the last as a prefix.

    Each word is quoted, so that none is an operator; empty where there is no word.
    """
    words = [f'"{word}"' for word in _WORD.findall(unicodedata.normalize("NFC", text))]
    return " ".join(words) + " *" if words else ""


def correction_view(row: CorrectionRow, brain: Brain) -> CorrectionView:
    """Return the view of a correction in a list."""
    return fit(
        CorrectionView(
            id=correction_id(row.no),
            brain=brain.id,
            brain_name=brain.name,
            session=row.session,
            category=row.category,
            severity=row.severity,
            draft=row.draft,
            final=row.final,
            cut=bool(row.cut),
            count=max(row.via),
            recurrences=row.recurrences,
            summary=row.summary,
            edit_distance=row.edit_distance,
            routes=tuple(name for name, many in zip(ROUTES, row.via, strict=True) if many),
            at=time_text(row.at_ms),
            received_at=time_text(row.received_ms),
        )
    )


def correction_detail(whole: CorrectionWhole, brain: Brain) -> CorrectionDetail:
    """Return the detailed view of a correction."""
    return CorrectionDetail(
        view=correction_view(whole.row, brain),
        draft=whole.draft,
        final=whole.final,
        context=whole.context,
        classifications=whole.classifications,
        content_hash=whole.row.hash.hex(),
        event_ids=whole.event_ids[:EVENT_IDS_SHOWN_MAX],
        source=whole.source,
        seq=whole.seq,
        sdk=whole.sdk,
        truncated=whole.truncated,
        account=brain.account,
        instance=brain.instance or None,
    )


def brain_view(
    brain: Brain,
    standings: Sequence[Standing],
    counts: Sequence[Counts],
    alerts: tuple[BrainAlert, ...],
) -> BrainView:
    """Return the view of a brain in a list; senders and counts are latest first."""
    return fit(
        BrainView(
            id=brain.id,
            name=brain.name,
            account=brain.account,
            instance=brain.instance or None,
            created_at=time_text(brain.created_at_ms),
            heard_at=time_text(standings[0].heard_ms) if standings else None,
            sdk=standings[0].sdk if standings else "",
            accepted=sum(one.accepted for one in counts),
            deduplicated=sum(one.deduplicated for one in counts),
            refused=sum(one.refused for one in counts),
            pending=sum(one.depth for one in standings),
            oldest_ms=max((one.oldest_ms for one in standings if one.depth), default=0),
            missing=sum(one.numbers.missing for one in standings),
            alerts=alerts,
        )
    )


def brain_detail(
    view: BrainView,
    standings: Sequence[Standing],
    counts: Sequence[Counts],
    aliases: Sequence[str],
) -> BrainDetail:
    """Return the view of one brain with its senders and their gaps."""
    return BrainDetail(
        view=view,
        versions=tuple(
            SdkCounts(
                sdk=one.sdk,
                accepted=one.accepted,
                deduplicated=one.deduplicated,
                refused=one.refused,
                first_at=time_text(one.first_ms),
                last_at=time_text(one.last_ms),
            )
            for one in counts
        ),
        sources=tuple(_source_view(one) for one in standings),
        aliases=tuple(aliases),
    )


def _source_view(one: Standing) -> SourceView:
    return SourceView(
        name=one.source,
        sdk=one.sdk,
        high_water=one.numbers.high_water,
        newest=one.numbers.newest,
        gaps=tuple(GapRange(first=first, last=last) for first, last in one.numbers.gaps),
        forgotten=one.numbers.forgotten,
        depth=one.depth,
        oldest_ms=one.oldest_ms,
        heard_at=time_text(one.heard_ms),
    )


def key_view(key: BrainKey, brain: Brain | None) -> BrainKeyView:
    """Return a key without its secret."""
    return fit(
        BrainKeyView(
            id=key.id,
            name=key.name,
            account=key.account,
            brain=None if brain is None else brain.id,
            brain_name=None if brain is None else brain.name,
            created_at=time_text(key.created_at_ms),
            created_by=key.created_by,
            last_used_at=None if key.last_used_at_ms is None else time_text(key.last_used_at_ms),
            revoked_at=None if key.revoked_at_ms is None else time_text(key.revoked_at_ms),
        )
    )


def lesson_view(row: LessonRow, brain: Brain, *, taken: int) -> LessonView:
    """Return the view of a lesson; its brain has taken verdicts up to `taken`."""
    return fit(
        LessonView(
            id=f"l{row.no}",
            brain=brain.id,
            brain_name=brain.name,
            lesson_id=row.lesson_id,
            category=row.category,
            text=row.text,
            state=row.state,
            confidence=row.confidence,
            fires=row.fires,
            corrections=row.corrections,
            scope=row.scope,
            decision=cast("Literal['', 'approved', 'rejected']", row.decision),
            decided_by=row.decided_by,
            decided_at=None if row.decided_ms is None else time_text(row.decided_ms),
            taken=0 < row.verdict_no <= taken,
            updated_at=time_text(row.updated_ms),
        )
    )


def verdict(row: LessonRow, now_ms: int) -> Verdict:
    """Return the verdict on a lesson, in the form for its brain."""
    return Verdict(
        number=row.verdict_no,
        lesson_id=row.lesson_id,
        verdict=cast("Literal['approved', 'rejected']", row.decision),
        by=row.decided_by,
        age_ms=max(now_ms - (row.decided_ms or now_ms), 0),
        category=row.category,
        text=row.text,
        confidence=row.confidence,
        corrections=row.corrections,
    )


def trend_since(trend: Trend, now_ms: int) -> int:
    """Return the start of a trend, in milliseconds since the epoch."""
    return (now_ms // trend.step_ms + 1 - trend.steps) * trend.step_ms


def trend_charts(rows: Iterable[tuple[int, str, int]], trend: Trend, now_ms: int) -> ChartSet:
    """Return the charts of corrections by severity, and of their mean severity."""
    since_ms = trend_since(trend, now_ms)
    steps = range(trend.steps)
    volume = {name: [0] * trend.steps for name in (*SEVERITIES, "other")}
    for hour, severity, many in rows:
        at = (hour * HOUR_MS - since_ms) // trend.step_ms
        name = _SAME_SEVERITY.get(severity, severity)
        if at in steps:
            volume[name if name in volume else "other"][at] += many
    weighed = [volume[name] for name in SEVERITIES]
    totals = [sum(row[at] for row in weighed) for at in steps]
    means = tuple(
        sum(weight * row[at] for weight, row in enumerate(weighed)) / totals[at]
        if totals[at]
        else None
        for at in steps
    )
    at_s = tuple((since_ms + at * trend.step_ms) // SECOND_MS for at in steps)
    series = tuple(
        ChartSeries(name=name, unit="corrections", values=tuple(map(float, row)))
        for name, row in volume.items()
    )
    heavy = ChartSeries(name="severity", unit="0 to 4", values=means)
    return ChartSet(
        since=time_text(since_ms),
        until=time_text(since_ms + trend.steps * trend.step_ms),
        step_s=trend.step_ms // SECOND_MS,
        charts=(
            Chart(name="volume", title="Corrections", at_s=at_s, series=series),
            Chart(name="severity", title="Mean severity", at_s=at_s, series=(heavy,)),
        ),
    )


def rules_text(rows: Iterable[LessonRow]) -> str:
    """Return lessons as text for a prompt, the most confident first, without rejected ones."""
    chosen = [
        row
        for row in rows
        if row.decision != "rejected"
        and (row.decision == "approved" or row.state in {"PATTERN", "RULE"})
    ]
    chosen.sort(key=lambda row: (row.decision != "approved", -row.confidence, row.lesson_id))
    return "\n".join(f"- [{row.category}] {row.text}" for row in chosen)
