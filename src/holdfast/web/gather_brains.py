"""What the pages about corrections, brains and lessons show."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, Final

from holdfast.web.api import Asking, Missing
from holdfast.web.limits import BRAINS_LISTED, DIFFERENCES_MAX, FEED_ROWS, LESSON_ROWS
from holdfast.web.models import brains as shown
from holdfast.web.models.corrections import (
    Correction,
    CorrectionRow,
    Feed,
    FeedQuery,
    correction,
    correction_row,
    feed,
)
from holdfast.web.models.difference import Piece, difference
from holdfast.wire.api.brains import (
    BrainAlertList,
    BrainDetail,
    BrainKeyList,
    BrainList,
    CorrectionDetail,
    CorrectionList,
    CorrectionView,
    LessonList,
)
from holdfast.wire.api.call import Call

_NO_BRAINS: Final = BrainList(items=())


class GatherBrains:
    """Asks the API about brains and makes the pages' models of it."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._differences: OrderedDict[str, tuple[Piece, ...]] = OrderedDict()

    def _pieces(self, view: CorrectionView) -> tuple[Piece, ...]:
        """Return the difference of a correction, worked out once: its texts never change."""
        found = self._differences.get(view.id)
        if found is None:
            found = difference(view.draft, view.final)
            self._differences[view.id] = found
            while len(self._differences) > DIFFERENCES_MAX:
                self._differences.popitem(last=False)
        return found

    async def rows(
        self, call: Call, query: FeedQuery, *, limit: int = FEED_ROWS
    ) -> tuple[CorrectionList, list[CorrectionRow]]:
        """Return a page of corrections, and leave the loop to others between long ones."""
        asked = query.fields() | {"limit": str(limit)}
        found = await self._asking.ask(call, "correction.list", CorrectionList, query=asked)
        rows = []
        for view in found.items:
            is_new = view.id not in self._differences
            rows.append(correction_row(view, self._pieces(view), now_ms=call.now_ms))
            if is_new:
                await asyncio.sleep(0)
        return found, rows

    async def feed(self, call: Call, query: FeedQuery) -> Feed:
        """Return the feed; only the corrections themselves are indispensable."""
        found, rows = await self.rows(call, query)
        brains = await self._asking.attempt(
            call, "brain.list", BrainList, query={"limit": str(BRAINS_LISTED)}
        )
        return feed(query, found, rows, _NO_BRAINS if isinstance(brains, Missing) else brains)

    async def correction(self, call: Call, correction_id: str) -> Correction:
        """Return one correction; a long one is compared beside the loop."""
        found = await self._asking.ask(
            call, "correction.get", CorrectionDetail, path={"id": correction_id}
        )
        pieces = await asyncio.to_thread(difference, found.draft, found.final)
        return correction(found, pieces, now_ms=call.now_ms)

    async def brains(self, call: Call) -> dict[str, Any]:
        """Return the list of brains, what is wrong with them, and the keys."""
        query = {"limit": str(BRAINS_LISTED)}
        query |= {"after": call.query["after"]} if call.query.get("after") else {}
        found = await self._asking.ask(call, "brain.list", BrainList, query=query)
        wrong = await self._asking.attempt(call, "brain.alerts", BrainAlertList)
        keys = await self._asking.attempt(call, "brain-key.list", BrainKeyList)
        now_ms = call.now_ms
        return {
            "brains": shown.brains(found, now_ms=now_ms),
            "next": found.next,
            "alerts": ()
            if isinstance(wrong, Missing)
            else shown.alerts(wrong.items, now_ms=now_ms),
            "keys": keys if isinstance(keys, Missing) else shown.keys(keys, now_ms=now_ms),
        }

    async def brain(self, call: Call, brain_id: str) -> dict[str, Any]:
        """Return one brain with its newest corrections, lessons and keys."""
        found = await self._asking.ask(call, "brain.get", BrainDetail, path={"id": brain_id})
        _, rows = await self.rows(call, FeedQuery(brain=brain_id), limit=LESSON_ROWS)
        lessons = await self._asking.attempt(
            call, "lesson.list", LessonList, query={"brain": brain_id, "limit": str(LESSON_ROWS)}
        )
        keys = await self._asking.attempt(call, "brain-key.list", BrainKeyList)
        now_ms = call.now_ms
        return {
            "brain": shown.brain(found, now_ms=now_ms),
            "rows": tuple(rows),
            "lessons": lessons
            if isinstance(lessons, Missing)
            else tuple(shown.lesson_row(each, now_ms=now_ms) for each in lessons.items),
            "keys": keys
            if isinstance(keys, Missing)
            else shown.keys(keys, now_ms=now_ms, brain_id=brain_id),
        }

    async def lessons(self, call: Call) -> shown.Lessons:
        """Return the page of lessons."""
        names = ("brain", "decision", "after")
        query = {name: call.query[name] for name in names if call.query.get(name)}
        found = await self._asking.ask(
            call, "lesson.list", LessonList, query=query | {"limit": str(FEED_ROWS)}
        )
        return shown.lessons(found, call.query, now_ms=call.now_ms)
