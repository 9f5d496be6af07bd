"""Brains and their corrections in memory: sample answers for the feed, changing when ordered to."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from holdfast.letters.topics import BRAIN, CORRECTION, LESSON
from holdfast.web.hub import Hub
from holdfast.wire.api.brains import (
    BrainAlert,
    BrainAlertList,
    BrainDetail,
    BrainKeyCreated,
    BrainKeyList,
    BrainKeyView,
    BrainList,
    BrainView,
    CorrectionDetail,
    CorrectionList,
    CorrectionView,
    GapRange,
    LessonList,
    LessonView,
    SdkCounts,
    SourceView,
)
from holdfast.wire.api.call import Call, Refusal, Reply
from holdfast.wire.api.instances import Chart, ChartSeries, ChartSet
from holdfast.wire.times import time_text

MINUTE, HOUR = 60_000, 3_600_000
LONG = " The rest of the report stays as it was, paragraph after paragraph." * 12
TEXTS = (
    ("moderate", "TONE",
     "Unfortunately we cannot process your refund because you did not follow the instructions.",
     "We have started your refund. It needs the order number to finish: could you send it?"),
    ("minor", "FACTUAL", "The release goes out on Monday, 3 March.",
     "The release goes out on Tuesday, 4 March."),
    ("major", "STRUCTURE",
     "Summary: many things were done this week by the team, and several of them went well.",
     "This week: 14 fixes shipped, 2 open. Next: the migration on Thursday."),
    ("as-is", "STYLE", "Please let us know if you have any question.",
     "Please let us know if you have any questions."),
    ("minor", "CONTENT", "Revenue grew by 12 %." + LONG + " Costs fell.",
     "Revenue grew by 21 %." + LONG + " Costs fell by a third."),
    ("discarded", "PROCESS", "I deleted the old branches without asking.",
     "Never delete a branch unless its owner has agreed in the issue."),
)  # fmt: skip
NAMES = ("support-desk", "release-notes", "weekly-report")


def correction(at: int, *, now_ms: int, **fields: Any) -> CorrectionView:
    """Return the n-th correction."""
    severity, category, draft, final = TEXTS[at % len(TEXTS)]
    name = NAMES[at % len(NAMES)]
    plain = {
        "id": f"co-{at:04d}",
        "brain": f"br-{at % len(NAMES)}",
        "brain_name": name,
        "session": f"s{at // 4}",
        "category": category,
        "severity": severity,
        "draft": draft,
        "final": final,
        "cut": False,
        "count": 3 if at == 1 else 1,
        "recurrences": 2 if at == 3 else 0,
        "summary": "",
        "edit_distance": 0.24,
        "routes": ("ingest",),
        "at": time_text(now_ms - at * 7 * MINUTE),
        "received_at": time_text(now_ms - at * 7 * MINUTE),
    }
    return msgspec.convert(plain | fields, CorrectionView)


def lesson(at: int, *, now_ms: int) -> LessonView:
    """Return the n-th lesson."""
    texts = (
        ("TONE", "Say what happens next before saying what went wrong.", 0.92, "RULE"),
        ("FACTUAL", "Write a date with its weekday, and look both up.", 0.71, "PATTERN"),
        ("PROCESS", "Ask the owner before deleting anything.", 0.6, "INSTINCT"),
    )  # fmt: skip
    category, text, confidence, state = texts[at % 3]
    return msgspec.convert(
        {
            "id": f"le-{at}",
            "brain": f"br-{at % 3}",
            "brain_name": NAMES[at % 3],
            "lesson_id": f"l{at}",
            "category": category,
            "text": text,
            "state": state,
            "confidence": confidence,
            "fires": at * 4,
            "corrections": 3 + at,
            "scope": "domain",
            "decision": "",
            "decided_by": "",
            "decided_at": None,
            "updated_at": time_text(now_ms - at * HOUR),
        },
        LessonView,
    )


class SampleBrains:
    """Some brains, what they sent and learned."""

    def __init__(self, hub: Hub, *, now_ms: int) -> None:
        self._hub = hub
        self.now_ms = now_ms
        self.corrections: list[CorrectionView] = []
        self.lessons = [lesson(at, now_ms=now_ms) for at in range(3)]
        self.keys: list[BrainKeyView] = []
        self.brains: list[BrainView] = []

    def fill(self) -> None:
        """Let three brains have sent something."""
        self.corrections = [correction(at, now_ms=self.now_ms) for at in range(18)]
        self.brains = [self._brain(at) for at in range(3)]

    def _brain(self, at: int) -> BrainView:
        alerts: list[dict[str, Any]] = []
        if at == 2:
            alerts.append(
                {
                    "brain": "br-2", "brain_name": NAMES[2], "code": "backlog",
                    "message": "has 1,412 corrections waiting at its senders.",
                    "fix": "Run `holdfast brain doctor` there.", "value": 1_412,
                    "since": time_text(self.now_ms - 22 * MINUTE),
                }
            )  # fmt: skip
        plain = {
            "id": f"br-{at}", "name": NAMES[at], "account": "local",
            "instance": "in-0001" if at == 0 else None,
            "created_at": time_text(self.now_ms - 90 * HOUR),
            "heard_at": time_text(self.now_ms - at * MINUTE), "sdk": "holdfast/0.4.0",
            "accepted": 4_120 - at * 900, "deduplicated": 31 * at, "refused": 3 if at == 2 else 0,
            "pending": 1_412 if at == 2 else 0, "oldest_ms": 25 * MINUTE if at == 2 else 0,
            "missing": 7 if at == 2 else 0, "alerts": alerts,
        }  # fmt: skip
        return msgspec.convert(plain, BrainView)

    def receive(self, view: CorrectionView) -> None:
        """Commit a correction, or one that came again."""
        known = [each for each in self.corrections if each.id != view.id]
        is_new = len(known) == len(self.corrections)
        at = 0 if is_new else [each.id for each in self.corrections].index(view.id)
        known.insert(at, view)
        self.corrections = known
        self._hub.publish(CORRECTION, view.brain, "local")

    async def list(self, call: Call) -> Reply:
        asked = call.query
        words = asked.get("text", "").lower().split()
        found = [
            each
            for each in self.corrections
            if each.brain == asked.get("brain", each.brain)
            if each.severity == asked.get("severity", each.severity)
            if each.category == asked.get("category", each.category)
            if all(word in f"{each.draft} {each.final}".lower() for word in words)
        ]
        limit, after = int(asked.get("limit", 100)), int(asked.get("after", 0))
        more = str(after + limit) if after + limit < len(found) else ""
        return Reply(CorrectionList(items=tuple(found[after : after + limit]), next=more))

    async def get(self, call: Call) -> Reply:
        found = [each for each in self.corrections if each.id == call.path["id"]]
        if not found:
            raise Refusal(404, "no_such_correction", "There is no such correction.", fix="See all.")
        (view,) = found
        return Reply(
            CorrectionDetail(
                view=view, draft=view.draft, final=view.final, context='{"ticket": 4412}',
                classifications=("FACTUAL",), content_hash="ab" * 8, event_ids=("e1",),
                source="desk-1", seq=412, sdk="holdfast/0.4.0", account="local", instance="in-0001",
            )
        )  # fmt: skip

    async def list_brains(self, call: Call) -> Reply:
        return Reply(BrainList(items=tuple(self.brains)))

    async def brain(self, call: Call) -> Reply:
        found = [each for each in self.brains if each.id == call.path["id"]]
        if not found:
            raise Refusal(404, "no_such_brain", "There is no such brain.", fix="See all.")
        (view,) = found
        at = time_text(self.now_ms - MINUTE)
        old = time_text(self.now_ms - 60 * HOUR)
        gaps = (GapRange(first=388, last=393), GapRange(first=401, last=401))
        return Reply(
            BrainDetail(
                view=view,
                versions=(
                    SdkCounts(sdk="holdfast/0.4.0", accepted=view.accepted - 300, deduplicated=12,
                              refused=0, first_at=old, last_at=at),
                    SdkCounts(sdk="gradata/0.6.0", accepted=300, deduplicated=19, refused=3,
                              first_at=old, last_at=old),
                ),
                sources=(
                    SourceView(name="desk-1", sdk="holdfast/0.4.0", high_water=387, newest=412,
                               gaps=gaps if view.missing else (), forgotten=0, depth=view.pending,
                               oldest_ms=view.oldest_ms, heard_at=at),
                ),
                aliases=("3f2a9c",),
            )
        )  # fmt: skip

    async def trend(self, call: Call) -> Reply:
        step = 3_600
        now_s = self.now_ms // 1_000 // step * step
        at_s = tuple(now_s - step * (167 - n) for n in range(168))
        made = tuple(float(max(0, round(9 + 8 * math.sin(n / 7) + n % 5))) for n in range(168))
        severity = tuple(round(0.5 - n / 600 + 0.06 * math.sin(n / 3), 3) for n in range(168))
        charts = (
            Chart(name="volume", title="Corrections", at_s=at_s,
                  series=(ChartSeries(name="made", unit="corrections", values=made),)),
            Chart(name="severity", title="Severity", at_s=at_s,
                  series=(ChartSeries(name="mean", unit="share", values=severity),)),
        )  # fmt: skip
        since, until = time_text(at_s[0] * 1_000), time_text(self.now_ms)
        return Reply(ChartSet(since=since, until=until, step_s=step, charts=charts))

    async def alerts(self, call: Call) -> Reply:
        found: list[BrainAlert] = [alert for view in self.brains for alert in view.alerts]
        return Reply(BrainAlertList(items=tuple(found)))

    async def list_lessons(self, call: Call) -> Reply:
        wanted = {"none": ""}.get(call.query.get("decision", ""), call.query.get("decision"))
        brain = call.query.get("brain")
        items = tuple(
            each
            for each in (self.lessons if self.brains else ())
            if wanted in {None, each.decision}
            if brain in {None, each.brain}
        )
        return Reply(LessonList(items=items))

    async def decide(self, call: Call) -> Reply:
        decision: Any = "approved" if call.endpoint == "lesson.approve" else "rejected"
        ids = [each.id for each in self.lessons]
        at = ids.index(call.path["id"])
        made = msgspec.structs.replace(
            self.lessons[at], decision=decision, decided_by=call.principal.name
        )
        self.lessons[at] = made
        self._hub.publish(LESSON, made.brain, "local")
        return Reply(made)

    async def list_keys(self, call: Call) -> Reply:
        return Reply(BrainKeyList(items=tuple(self.keys)))

    async def make_key(self, call: Call) -> Reply:
        view = BrainKeyView(
            id=f"bk-{len(self.keys)}", name=call.body.name, account="local",
            brain=call.body.brain or None, brain_name=None,
            created_at=time_text(self.now_ms), created_by=call.principal.name,
        )  # fmt: skip
        self.keys.insert(0, view)
        self._hub.publish(BRAIN, view.brain or "", "local")
        return Reply(BrainKeyCreated(key="hfb_" + "k" * 40, view=view), status=201)

    async def revoke(self, call: Call) -> Reply:
        at = [each.id for each in self.keys].index(call.path["id"])
        made = msgspec.structs.replace(self.keys[at], revoked_at=time_text(self.now_ms))
        self.keys[at] = made
        return Reply(made)

    def handlers(self) -> dict[str, Any]:
        """Return the handlers by endpoint."""
        return {
            "correction.list": self.list,
            "correction.get": self.get,
            "brain.list": self.list_brains,
            "brain.get": self.brain,
            "brain.trend": self.trend,
            "brain.alerts": self.alerts,
            "lesson.list": self.list_lessons,
            "lesson.approve": self.decide,
            "lesson.reject": self.decide,
            "brain-key.list": self.list_keys,
            "brain-key.create": self.make_key,
            "brain-key.revoke": self.revoke,
        }
