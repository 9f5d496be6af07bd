"""Sums of usage with those of past days remembered: they seldom change, and are most of the work.

An open page asks for a year again and again, of which only today's numbers are others. What is
remembered of days that are over is valid until the store says that one of them changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final

from holdfast.content.ports import ContentStore, UsageQuery
from holdfast.content.records import UsageSum
from holdfast.content.usage import parse_day

_KEPT: Final = 48
"""Questions remembered, of 0.3 MB each where a year has three models; a page asks four."""

_Key = tuple[UsageQuery, int]


class SettledUsage:
    """Answers questions about usage."""

    def __init__(self, store: ContentStore) -> None:
        self._store = store
        self._kept: OrderedDict[_Key, Sequence[UsageSum]] = OrderedDict()

    async def usage(self, query: UsageQuery, today: date) -> Sequence[UsageSum]:
        """Return sums, of days that are over and of the rest apart: a group may be there twice."""
        settled = str(today - timedelta(days=2))
        if query.first > settled:
            return await self._store.usage(query)
        past = query._replace(nodes=tuple(query.nodes), last=min(query.last, settled))
        found = await self._past(past)
        if query.last <= settled:
            return found
        begin = (parse_day(settled) or today) + timedelta(days=1)
        return [*found, *await self._store.usage(query._replace(first=str(begin)))]

    async def _past(self, query: UsageQuery) -> Sequence[UsageSum]:
        # The number is of before the question: what was read before a change is not kept for after.
        key = query, self._store.past_changes
        found = self._kept.get(key)
        if found is None:
            found = await self._store.usage(query)
            while len(self._kept) >= _KEPT:
                self._kept.popitem(last=False)
            self._kept[key] = found
        return found
