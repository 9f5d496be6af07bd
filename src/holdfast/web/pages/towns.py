"""Towns: the list, one town now or at an earlier tick, and one bead.

What is said of a town is the domain's; here it gets its tones, its moments and its drawings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from functools import partial
from typing import Final, NamedTuple

from holdfast.letters import topics
from holdfast.web.api import Missing, unless_missing
from holdfast.web.limits import LINES_SHOWN, LOOK_S, REDRAW_S, TOWNS_LISTED
from holdfast.web.live_page import Redrawn
from holdfast.web.page import Context, Names, Page, paging
from holdfast.web.parts.dependency_graph import Graph, graph, label
from holdfast.web.parts.moments import moment, parse_ms
from holdfast.web.parts.quarantine_row import quarantine_row
from holdfast.web.parts.rehearsed import what_next
from holdfast.web.parts.scrubber import scrubber
from holdfast.web.parts.words import Badge
from holdfast.wire.api.call import Call
from holdfast.wire.api.operations import QuarantineList
from holdfast.wire.api.rehearsals import DryRunRequest, Rehearsal, WhatIfRequest
from holdfast.wire.api.town_board import (
    BeadStory,
    BoardCard,
    BoardConvoy,
    TownBoard,
    TownSummaries,
    TownTicks,
    TownTimeline,
)
from holdfast.wire.api.towns import TownView
from holdfast.wire.health import Tone

STATUSES: Final[dict[str, Badge]] = {
    "open": Badge("Open", "off"),
    "in_progress": Badge("In progress", "busy"),
    "in_review": Badge("In review", "busy"),
    "closed": Badge("Done", "ok"),
    "failed": Badge("Failed", "bad"),
}
PRIORITIES: Final = ("critical", "high", "medium", "low")
PURPOSES: Final = {
    "rework": "Rework",
    "pr_feedback": "Answer comments",
    "pr_conflict": "Solve conflicts",
}
TONES: Final[dict[str, Tone]] = {"bad": "bad", "warn": "warn", "info": "off"}
STAGES: Final[dict[str, Tone]] = {"red": "bad", "green": "ok", "landing": "ok", "queued": "off"}
SEVERITIES: Final[dict[str, Tone]] = {"critical": "bad", "high": "bad", "medium": "warn"}
LINE_KINDS: Final = {
    "event": "event",
    "decision": "action",
    "outcome": "outcome",
    "refusal": "conflict",
}


WINDOW_SHOWN: Final = "1h"
"""How far back the panels look where the address says nothing."""


class Field(NamedTuple):
    """A figure of the policy that a what-if can change, and in which unit people say it."""

    name: str
    title: str
    unit: str
    per_unit: int


POLICY: Final = (
    Field("breaker_failures", "Breaker opens at failed attempts", "", 1),
    Field("breaker_first_ms", "Breaker stays open for", "s", 1_000),
    Field("refused_first_ms", "Wait after a refused start", "s", 1_000),
    Field("unheard_ms", "Given up when not heard for", "s", 1_000),
    Field("stale_ms", "Given up without a result for", "s", 1_000),
    Field("reworks_max", "Sent back at most", "times", 1),
    Field("landings_max", "Landings of a convoy at most", "times", 1),
    Field("calls_max", "Somebody is asked after calls", "", 1),
    Field("call_again_ms", "Gates and forge are asked again after", "s", 1_000),
    Field("bump_ms", "An escalation grows more severe after", "s", 1_000),
)


def title_of(card: BoardCard, titles: dict[str, str]) -> str:
    """Return what people call a bead: its title, or its id where that was never given or erased."""
    title = titles.get(card.content) or card.id
    return f"{PURPOSES.get(card.purpose, card.purpose)}: {title}" if card.purpose else title


def convoy_graph(convoy: BoardConvoy) -> Graph:
    """Return the drawing of a convoy's beads."""
    return graph({card.id: card.waited_for or card.blocked_by for card in convoy.beads})


def _names(shown: TownBoard) -> dict[str, str]:
    """Return what people call the beads and agents on a board, by their keys."""
    cards = [card for column in shown.columns for card in column.cards]
    cards += [one.card for one in shown.requests]
    cards += [one.card for one in shown.convoys]
    beads = {f"b/{card.id}": title_of(card, shown.titles) for card in cards}
    return beads | {f"a/{agent.id}": agent.name for agent in shown.agents}


def _shared(call: Call) -> Names:
    """Return what every template of towns prints with."""
    return {
        "at": partial(moment, now_ms=call.now_ms),
        "statuses": STATUSES,
        "priorities": PRIORITIES,
        "tones": TONES,
        "stages": STAGES,
        "severities": SEVERITIES,
        "line_kinds": LINE_KINDS,
        "title_of": title_of,
    }


async def load(context: Context, call: Call) -> Names:
    """Return a page of towns."""
    query = paging(call, TOWNS_LISTED)
    found = await context.api.ask(call, "towns.summaries", TownSummaries, query=query)
    return {"rows": found.items, "next": found.next, **_shared(call)}


async def load_town(context: Context, call: Call) -> Names:
    """Return a town, now or after a tick."""
    path = {"id": call.path["id"]}
    tick = call.query.get("tick", "")
    query = {"tick": tick} if tick else {}
    shown = await context.api.ask(call, "towns.board", TownBoard, path=path, query=query)
    ticks = await context.api.attempt(call, "towns.ticks", TownTicks, path=path)
    town = await context.api.attempt(call, "towns.get", TownView, path=path)
    return {
        "id": path["id"],
        "board": shown,
        "names": _names(shown),
        "label": label,
        "graphs": {convoy.card.id: convoy_graph(convoy) for convoy in shown.convoys},
        "strip": unless_missing(ticks, lambda it: scrubber(it.ticks, shown.tick)),
        "policy": POLICY,
        "window": call.query.get("window") or WINDOW_SHOWN,
        "settings": unless_missing(town, lambda it: it.settings),
        **await _quarantine(context, call),
        **await load_timeline(context, call),
        **_shared(call),
    }


async def _quarantine(context: Context, call: Call) -> Names:
    """Return the events that this town could not take; they are an operator's to see."""
    if call.principal.scope != "operator":
        return {"quarantine": ()}
    query = {"actor": f"town/{call.path['id']}"}
    found = await context.api.attempt(call, "quarantine.list", QuarantineList, query=query)
    if isinstance(found, Missing):
        return {"quarantine": found}
    rows = tuple(quarantine_row(one, now_ms=call.now_ms) for one in found.items)
    return {"quarantine": rows, "more_in_quarantine": bool(found.next)}


async def load_timeline(context: Context, call: Call) -> Names:
    """Return some of what happened, and where it goes on."""
    path = {"id": call.path["id"]}
    found = await context.api.attempt(
        call, "towns.timeline", TownTimeline, path=path, query=paging(call, LINES_SHOWN)
    )
    is_first = not call.query.get("after")
    timeline = unless_missing(
        found, lambda it: {"lines": it.lines, "next": it.next, "is_first": is_first}
    )
    return {"id": path["id"], "timeline": timeline, **_shared(call)}


async def load_bead(context: Context, call: Call) -> Names:
    """Return one bead."""
    path = {name: call.path[name] for name in ("id", "bead")}
    found = await context.api.ask(call, "towns.story", BeadStory, path=path)
    return {"id": path["id"], "story": found, **_shared(call)}


async def load_next(context: Context, call: Call) -> Names:
    """Return what the next tick would do; operators only, and audited."""
    found = await _ahead(context, call)
    return {"next": unless_missing(found, lambda it: what_next(it, now_ms=call.now_ms))}


class Changed(NamedTuple):
    """What a rehearsal decides under one policy and not under the other, and what is the same."""

    only_now: tuple[str, ...]
    only_then: tuple[str, ...]
    same: tuple[str, ...]


async def load_what_if(context: Context, call: Call) -> Names:
    """Return what would be decided under another policy; operators only, and audited."""
    field = next((one for one in POLICY if one.name == call.query.get("field")), POLICY[0])
    value = call.number("value", 0)
    policy = {field.name: value * field.per_unit}
    is_back = call.query.get("span") == "past"
    body = WhatIfRequest(policy=policy, from_seq=0 if is_back else None)
    path = {"kind": "town", "id": call.path["id"]}
    then = await context.api.attempt(call, "rehearse.what-if", Rehearsal, path=path, body=body)
    now: Rehearsal | Missing | None = None if is_back else await _ahead(context, call)
    changed = None
    if isinstance(now, Rehearsal) and isinstance(then, Rehearsal):
        changed = compare(now, then)
    unit = f" {field.unit}" if field.unit else ""
    return {
        "asked": f"{field.title}: {value}{unit}",
        "is_back": is_back,
        "then": then,
        "changed": changed,
    }


async def _ahead(context: Context, call: Call) -> Rehearsal | Missing:
    path = {"kind": "town", "id": call.path["id"]}
    return await context.api.attempt(
        call, "rehearse.dry-run", Rehearsal, path=path, body=DryRunRequest()
    )


def compare(now: Rehearsal, then: Rehearsal) -> Changed:
    """Return how two rehearsals of the same ticks differ, in their own order."""
    mine, other = list(_decided(now)), list(_decided(then))
    only_now, only_then = Counter(mine) - Counter(other), Counter(other) - Counter(mine)
    return Changed(
        only_now=tuple(only_now.elements()),
        only_then=tuple(only_then.elements()),
        same=tuple((Counter(mine) & Counter(other)).elements()),
    )


def _decided(found: Rehearsal) -> Iterable[str]:
    for tick in found.ticks:
        for action in tick.actions:
            yield f"{action.name}: {action.reason} ({action.rule})"
        for held in tick.suppressed:
            yield f"left alone, {held.reason} ({held.rule})"


def _next_look_s(names: Names, now_ms: int) -> float:
    """Return the seconds to the next time at which something on a town's page ends by itself."""
    shown: TownBoard = names["board"]
    ends = [note.until for note in (*shown.notes, *shown.limits) if note.until]
    ends += [agent.until for agent in shown.agents if agent.until]
    left_s = min(((parse_ms(one) - now_ms) / 1_000 for one in ends), default=LOOK_S * 3)
    return max(1.0, min(left_s, LOOK_S * 3))


_TOPICS: Final = frozenset({topics.TOWN, topics.QUARANTINE})
ELEMENTS: Final = (
    "town-scrubber",
    "town-head",
    "town-needs",
    "town-board",
    "town-agents",
    "town-requests",
    "town-convoys",
    "town-limits",
    "town-timeline",
    "town-quarantine",
)
BEAD_ELEMENTS: Final = ("bead-head", "bead-why", "bead-attempts", "bead-gates", "bead-lines")

PAGE: Final = Page(
    "towns",
    "towns/list.html",
    load,
    live=Redrawn(_TOPICS, ("towns",), look_s=LOOK_S * 3, rest_s=REDRAW_S),
)
ONE: Final = Page(
    "town",
    "towns/town.html",
    load_town,
    section="towns",
    live=Redrawn(_TOPICS, ELEMENTS, look_s=_next_look_s, rest_s=REDRAW_S, own=True),
)
BEAD: Final = Page(
    "town-bead",
    "towns/bead.html",
    load_bead,
    section="towns",
    live=Redrawn(_TOPICS, BEAD_ELEMENTS, look_s=LOOK_S * 3, rest_s=REDRAW_S, own=True),
)
PARTS: Final = (
    Page("town-timeline", "towns/lines.html", load_timeline, is_part=True),
    Page("town-next", "parts/next.html", load_next, is_part=True),
    Page("town-what-if", "towns/what_if.html", load_what_if, is_part=True),
)
