"""Painters of pages that are drawn again as a whole, when what they show is another.

One entry of LISTS is one page: what it looks at, its template, and what concerns it.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from holdfast.kernel.clock import Clock
from holdfast.web import hub
from holdfast.web.coalesce import Batch
from holdfast.web.gather import Gather
from holdfast.web.limits import FOLLOW_S, HEARTBEAT_S, LOOK_S, REPAINT_S
from holdfast.web.live_page import Base
from holdfast.web.render import Renderer
from holdfast.wire.api.call import Call

Names = dict[str, Any]

_WORDS_OF_TIME: Final = re.compile(r"(<time [^>]*>)[^<]*")
"""What a page's script keeps true by itself, so it makes no difference: `4 s ago`."""


@dataclass(frozen=True, slots=True)
class ListPage:
    """How a page is drawn: `look` gathers what `template` prints.

    `idle_s` is how long nothing may be looked at, `rest_s` how long it rests after having been
    drawn. With `own` only changes of the very thing that the page shows concern it. `follows`
    says of what was gathered whether something in it is under way, so that it is looked at sooner.
    """

    topics: frozenset[str]
    template: str
    look: Callable[[Gather, Call], Awaitable[Names]]
    idle_s: float = HEARTBEAT_S
    rest_s: float = 0.0
    own: bool = False
    follows: Callable[[Names], bool] = lambda _: False


class ListPainter(Base):
    """A page that is drawn again as a whole."""

    def __init__(
        self, call: Call, gather: Gather, renderer: Renderer, clock: Clock, *, page: ListPage
    ) -> None:
        super().__init__(call, gather, renderer, clock)
        self.topics = page.topics
        self._page = page
        self._last = ""
        self._follows = False
        self._is_stale = False
        self._drawn_ms = 0.0

    def _rest_left_s(self) -> float:
        """Return how long the page still rests."""
        return self._page.rest_s - (self._clock.steady_ms() - self._drawn_ms) / 1_000

    @property
    def idle_s(self) -> float:
        """Return how long nothing may be looked at: less while something is under way."""
        if self._is_stale:
            return max(0.01, self._rest_left_s())
        return FOLLOW_S if self._follows else self._page.idle_s

    async def full(self) -> str:
        """Return the list."""
        self._last = ""
        return await self.idle()

    async def changed(self, batch: Batch) -> str:
        """Return the list, if it is another; while it rests, later."""
        wanted = self._call.query.get("id") if self._page.own else None
        if wanted and not batch.all_stale and all(each.key != wanted for each in batch.changes):
            return ""
        if self._rest_left_s() > 0:
            self._is_stale = True
            return ""
        return await self.idle()

    async def idle(self) -> str:
        """Return the list, if it is another."""
        self._is_stale = False
        names = await self._page.look(self._gather, self.now())
        self._follows = self._page.follows(names)
        drawn = self._renderer.draw(self._page.template, is_operator=self._operator, **names)
        likeness = _WORDS_OF_TIME.sub(r"\1", drawn)
        if likeness == self._last:
            return ""
        self._last = likeness
        self._drawn_ms = self._clock.steady_ms()
        return drawn


async def _operations(gather: Gather, call: Call) -> Names:
    return await gather.operations(call)


async def _operation(gather: Gather, call: Call) -> Names:
    return {"row": await gather.operation(call, call.query["id"])}


async def _quarantine(gather: Gather, call: Call) -> Names:
    return await gather.quarantine(call)


async def _brains(gather: Gather, call: Call) -> Names:
    return await gather.brains.brains(call)


async def _brain(gather: Gather, call: Call) -> Names:
    return await gather.brains.brain(call, call.query["id"])


async def _lessons(gather: Gather, call: Call) -> Names:
    return {"lessons": await gather.brains.lessons(call)}


_BRAINS: Final = frozenset({hub.CORRECTION, hub.LESSON, hub.BRAIN})

LISTS: Final = {
    "operations": ListPage(
        frozenset({hub.INSTANCE, hub.OPERATION}),
        "live/operations.html",
        _operations,
        follows=lambda names: any(not row.is_done for row in names["rows"]),
    ),
    "operation": ListPage(
        frozenset({hub.INSTANCE, hub.OPERATION}),
        "live/operation.html",
        _operation,
        follows=lambda names: not names["row"].is_done,
    ),
    "quarantine": ListPage(
        frozenset({hub.INSTANCE, hub.QUARANTINE}), "live/quarantine.html", _quarantine
    ),
    "brains": ListPage(_BRAINS, "live/brains.html", _brains, idle_s=LOOK_S, rest_s=REPAINT_S),
    "brain": ListPage(
        _BRAINS, "live/brain.html", _brain, idle_s=LOOK_S, rest_s=REPAINT_S, own=True
    ),
    "lessons": ListPage(frozenset({hub.LESSON}), "live/lessons.html", _lessons, rest_s=REPAINT_S),
}
"""The pages that are lists, by the names that their streams are asked for with."""
