"""Handlers that show towns: lists, boards, ticks, timelines and the stories of beads.

The present is read from the state that the engine has in memory; the past is folded in another
process, and large towns are looked through there. Nothing here changes anything. What is not
visible is answered with 404.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Final

from msgspec.structs import replace

from holdfast.actors import calls
from holdfast.actors.ports import Logged, Reader
from holdfast.actors.record import TickRecord, decode_record
from holdfast.actors.tick import Folded
from holdfast.kernel.ids import Address
from holdfast.towns import board, stories
from holdfast.towns.calls import find_bead, find_town
from holdfast.towns.definition import KIND
from holdfast.towns.policy import Policy
from holdfast.towns.records import TownRecords
from holdfast.towns.state import Bead, State, Town, decode_town
from holdfast.towns.views import TOWN_VIEW
from holdfast.towns.words import agent_name, code_words
from holdfast.wire.api.call import Call, Handler, Reply
from holdfast.wire.api.town_board import (
    OUTPUT_MAX,
    BeadStory,
    BoardConvoy,
    BoardRig,
    TownBoard,
    TownLine,
    TownSummaries,
    TownSummary,
    TownTick,
    TownTicks,
    TownTimeline,
)
from holdfast.wire.limits import PAGE_ITEMS_MAX
from holdfast.wire.times import time_text

BEADS_HERE_MAX: Final = 250
"""Beads of a town that is looked through on the serving loop: more take longer than 5 ms."""
TICKS_SHOWN: Final = 400
LINES_DEFAULT: Final = 60
STORY_ROWS_MAX: Final = 4_000
"""Rows of the log that are looked through for the story of one bead, the newest."""
EDGES_KEPT: Final = 1_000
"""Convoys whose first dependencies are kept in memory, the newest."""
STORY_LINES_MAX: Final = 200
_ROWS_PAGE: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardDeps:
    """Dependencies of the handlers.

    `elsewhere` returns what a function of `board.py`, by its name, makes of a town now or after a
    tick, in another process. It raises a Refusal where that tick is not kept.
    """

    reader: Reader
    records: TownRecords
    policy: Policy
    state: Callable[[Address], Awaitable[Folded[Any] | None]]
    elsewhere: Callable[[str, str, int | None], Awaitable[Any]]


def board_handlers(deps: BoardDeps) -> Mapping[str, Handler]:
    """Return the handlers by the names of their endpoints."""
    made = BoardHandlers(deps)
    return {
        "towns.summaries": made.summaries,
        "towns.board": made.board,
        "towns.ticks": made.ticks,
        "towns.timeline": made.timeline,
        "towns.story": made.story,
    }


class BoardHandlers:
    """One method for each endpoint."""

    def __init__(self, deps: BoardDeps) -> None:
        self._deps = deps
        self._edges: dict[tuple[str, str], Mapping[str, tuple[str, ...]]] = {}

    async def summaries(self, call: Call) -> Reply:
        """Show a page of towns, those that hurt first."""
        limit = calls.page_limit(call)
        page = await self._deps.reader.views(
            TOWN_VIEW,
            account=calls.listed_account(call),
            after=call.query.get("after", ""),
            limit=limit,
        )
        made: list[TownSummary] = []
        for _key, body, _seq in page:
            town = _town(body)
            if town is not None:
                made.append(await self._summary(town, call.now_ms))
                await asyncio.sleep(0)  # a cold town is loaded for it: others get their turns
        made.sort(key=lambda one: (one.closed, board.TROUBLES.index(one.trouble), one.name))
        following = page[-1][0] if len(page) == limit else ""
        return Reply(TownSummaries(items=tuple(made), next=following))

    async def _summary(self, town: Town, now_ms: int) -> TownSummary:
        state: State = (await self._state(town.id)).state
        if len(state.beads) > BEADS_HERE_MAX:
            found: TownSummary = await self._deps.elsewhere(board.brief.__name__, town.id, None)
            return found
        return board.summary(state, self._deps.policy, now_ms)

    async def _present(self, town: str, now_ms: int) -> TownBoard:
        folded = await self._state(town)
        if len(folded.state.beads) > BEADS_HERE_MAX:
            found: TownBoard = await self._deps.elsewhere(board.present.__name__, town, None)
            return found
        fields = board.board(folded.state, self._deps.policy, now_ms)
        return TownBoard(**fields, tick=folded.number)

    async def board(self, call: Call) -> Reply:
        """Show a town as it is, or as it was after a tick."""
        town = await find_town(call, self._deps.reader)
        asked = call.number("tick", 0)
        if asked:
            shown = await self._deps.elsewhere(board.past.__name__, town.id, asked)
        else:
            shown = await self._present(town.id, call.now_ms)
        titles = await self._titles(town.id, board.contents(shown))
        convoys = await self._with_edges(town.id, shown.convoys)
        rigs = await self._with_repositories(town.id, shown.rigs)
        return Reply(replace(shown, titles=titles, convoys=convoys, rigs=rigs))

    async def _with_repositories(
        self, town: str, rigs: tuple[BoardRig, ...]
    ) -> tuple[BoardRig, ...]:
        """Return rigs with their addresses, which are settings and no part of a state."""
        set_ = {one.rig: one.repository for one in await self._deps.records.rigs(town)}
        return tuple(replace(rig, repository=set_.get(rig.id) or rig.repository) for rig in rigs)

    async def ticks(self, call: Call) -> Reply:
        """Show the latest ticks of which the log is kept."""
        town = await find_town(call, self._deps.reader)
        last = (await self._state(town.id)).number
        rows = await self._deps.reader.ticks(
            _actor(town.id), after=max(last - TICKS_SHOWN, 0), limit=TICKS_SHOWN
        )
        return Reply(TownTicks(ticks=tuple(map(_tick, _records(rows)))))

    async def timeline(self, call: Call) -> Reply:
        """Show what happened, newest first, with the reasons of the rules."""
        town = await find_town(call, self._deps.reader)
        limit = min(call.number("limit", LINES_DEFAULT), PAGE_ITEMS_MAX)
        before = calls.page_offset(call.query.get("after", ""))
        actor = _actor(town.id)
        rows = await self._deps.reader.log_tail(actor, before=before, limit=limit)
        if not rows:
            return Reply(TownTimeline(lines=()))
        oldest, newest = rows[-1].tick, rows[0].tick
        bodies = await self._deps.reader.ticks(actor, after=oldest - 1, limit=newest - oldest + 1)
        state: State = (await self._state(town.id)).state
        told = stories.known(rows[::-1])
        names = await self._names(town.id, state, {one.bead for one in told})
        made = stories.lines(rows[::-1], _records(bodies), names)
        following = calls.page_cursor(rows[-1].seq) if len(rows) == limit else ""
        return Reply(TownTimeline(lines=made, next=following if rows[-1].seq > 1 else ""))

    async def story(self, call: Call) -> Reply:
        """Show one bead: why it waits, its attempts, gates and history."""
        town = await find_town(call, self._deps.reader)
        state: State = (await self._state(town.id)).state
        bead = await self._bead(call, town, state)
        sight = board.Sight(state, self._deps.policy, call.now_ms)
        request = sight.request_of(bead) if bead.review is None else bead
        blockers = [state.beads[one] for one in bead.blocked_by if one in state.beads]
        waiting = sorted(sight.census.waiting[bead.id], key=attrgetter("id"))
        members = sight.members(bead)
        sight.ask([bead, *([request] if request else ()), *blockers, *waiting, *members])
        why, fix = sight.note(bead)
        rows = await self._rows(town.id)
        family = {one.id for one in state.beads.values() if one.source == bead.id} | {bead.id}
        told = stories.about(rows, family)
        names = await self._names(town.id, state, family)
        lines = tuple(stories.line(one, names) for one in reversed(told[-STORY_LINES_MAX:]))
        outputs = await self._bodies(town.id, stories.outputs_of(told))
        cards = tuple(map(sight.card, (*blockers, *waiting)))
        card, beads = sight.card(bead), tuple(map(sight.card, members))
        named = {one.content for one in (card, *cards, *beads)} - {""}
        text = await self._deps.records.text(town.id, bead.content) if bead.content else None
        return Reply(
            BeadStory(
                card=card,
                town=town.id,
                town_name=town.name,
                text="" if text is None else text.body[:OUTPUT_MAX],
                why=why,
                fix=fix,
                request=None if request is None or not request.review else sight.request(request),
                blockers=cards[: len(blockers)],
                waiting=cards[len(blockers) :][:PAGE_ITEMS_MAX],
                beads=beads,
                about=bead.escalation.about if bead.escalation else "",
                attempts=stories.attempts(told, names)[:PAGE_ITEMS_MAX],
                gates=stories.gate_runs(told, outputs)[:PAGE_ITEMS_MAX],
                lines=lines,
                titles=await self._titles(town.id, tuple(sorted(named))),
                truncated=len(told) > STORY_LINES_MAX or _is_cut(rows, lines),
            )
        )

    # -- what it reads

    async def _state(self, town: str) -> Folded[Any]:
        folded = await self._deps.state(_actor(town))
        if folded is None:
            raise calls.missing("town", fix="update this plane: the town is newer than it")
        return folded

    async def _bead(self, call: Call, town: Town, state: State) -> Bead:
        """Return a bead; one that left the state from its row, which stays."""
        known = state.beads.get(call.path["bead"])
        if known is not None:
            return known
        found = await find_bead(self._deps.reader, town, call.path["bead"], field="bead")
        return state.beads.get(found.id, found)

    async def _rows(self, town: str) -> list[Logged]:
        """Return the newest rows of the log, oldest first, a page at a time."""
        rows: list[Logged] = []
        while len(rows) < STORY_ROWS_MAX:
            before = rows[-1].seq if rows else 0
            page = await self._deps.reader.log_tail(_actor(town), before=before, limit=_ROWS_PAGE)
            rows += page
            if len(page) < _ROWS_PAGE:
                break
            await asyncio.sleep(0)
        return rows[::-1]

    async def _with_edges(
        self, town: str, convoys: tuple[BoardConvoy, ...]
    ) -> tuple[BoardConvoy, ...]:
        """Return convoys whose beads say what they waited for from the beginning.

        The state forgets a blocker that ended; the event that made the convoy never changes, so
        what it said is kept here. A convoy whose event is too old shows what still waits.
        """
        new = {convoy.card.id for convoy in convoys if (town, convoy.card.id) not in self._edges}
        if new:
            self._edges |= {(town, one): {} for one in new}
            for one, edges in stories.convoy_edges(await self._rows(town), new):
                self._edges[town, one] = edges
            for key in list(self._edges)[:-EDGES_KEPT]:
                del self._edges[key]
        return tuple(
            replace(
                convoy,
                beads=tuple(
                    replace(card, waited_for=self._edges[town, convoy.card.id].get(card.id, ()))
                    for card in convoy.beads
                ),
            )
            for convoy in convoys
        )

    async def _titles(self, town: str, ids: tuple[str, ...]) -> dict[str, str]:
        texts = await self._deps.records.texts(town, ids)
        return {one: text.title for one, text in texts.items() if text.title}

    async def _names(self, town: str, state: State, beads: Iterable[str]) -> dict[str, str]:
        """Return what people call the agents of a town, and some beads of it, by their ids."""
        known = [state.beads[one] for one in beads if one in state.beads]
        sight = board.Sight(state, self._deps.policy, 0)
        contents = {bead.id: sight.content(bead) for bead in known}
        titles = await self._titles(town, tuple(sorted(set(contents.values()) - {""})))
        titled = {one: titles[content] for one, content in contents.items() if content in titles}
        asked = {
            bead.id: f"escalation: {code_words(bead.escalation.category)}"
            for bead in known
            if bead.escalation is not None
        }
        agents = {one: agent_name(agent) for one, agent in state.agents.items()}
        return agents | asked | titled

    async def _bodies(self, town: str, ids: tuple[str, ...]) -> dict[str, str]:
        """Return the ends of some texts."""
        texts = await self._deps.records.texts(town, ids)
        return {one: text.body[-OUTPUT_MAX:] for one, text in texts.items()}


def _actor(town: str) -> Address:
    return calls.actor_of(KIND, town, noun="town")


def _town(body: bytes) -> Town | None:
    """Return a town of a row; None for a damaged one, which spoils no list."""
    try:
        return decode_town(body)
    except ValueError:  # msgspec's are ValueErrors too
        return None


def _records(bodies: Iterable[bytes]) -> list[TickRecord]:
    """Return those of some records that can be read."""
    made = []
    for body in bodies:
        try:
            made.append(decode_record(body))
        except ValueError:
            continue
    return made


def _tick(record: TickRecord) -> TownTick:
    return TownTick(
        number=record.number,
        at=time_text(record.now_ms),
        seq=record.seq,
        events=len(record.inputs),
        actions=len(record.decisions),
        notes=len(record.notes),
    )


def _is_cut(rows: list[Logged], lines: tuple[TownLine, ...]) -> bool:
    """Return whether the log goes on before what was looked through."""
    begins = bool(lines) and lines[-1].name in {"BeadCreated", "ConvoyCreated"}
    return bool(rows) and rows[0].seq > 1 and not begins
