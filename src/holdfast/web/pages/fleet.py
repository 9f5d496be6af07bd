"""The fleet: its filters and their links, columns, rows, counts, and how it is live.

A row drawn for one reader serves every other who may see its instance, and the hub
passes a change only to those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, NamedTuple
from urllib.parse import urlencode

from holdfast.letters import topics
from holdfast.web.hub import Batch, Change
from holdfast.web.limits import FRAGMENTS_MAX, LOOK_S, REDRAW_S, ROWS_PER_PAGE, SINGLE_ROWS_MAX
from holdfast.web.live_page import OpenPage
from holdfast.web.page import Cache, Context, Names, Page, update
from holdfast.web.parts.inbox import waiting
from holdfast.web.parts.moments import NOTHING, Moment, moment
from holdfast.web.parts.words import HEALTH_BADGES, Badge, element_id, status_badge, wanted_words
from holdfast.wire.api.call import Call, Refusal
from holdfast.wire.api.instances import InstanceDetail, InstanceList, InstanceView
from holdfast.wire.api.plane import AgentList

_COLUMNS: Final = (
    ("name", "Name", ""),
    ("health", "Status", ""),
    ("agent", "Agent", ""),
    ("restarts", "Restarts", "number"),
    ("load", "Load", "number"),
    ("contact", "Last contact", "number"),
)
_DOWN_FIRST: Final = frozenset({"restarts", "load", "contact"})
_TEXT: Final = re.compile(r"[^ -~]")
_DEFAULT_SORT: Final = "health"
"""What hurts first."""

_PLAIN: Final = frozenset({"ready", "stopped", "destroyed"})
"""Statuses to which their text adds nothing."""

_GONE: Final = 404
_NOT_ORDERED: Final = frozenset({"destroying", "destroyed", "unknown"})


@dataclass(frozen=True, slots=True)
class FleetQuery:
    """The parameters of the page: filters, order and position of the list."""

    statuses: tuple[str, ...] = ()
    healths: tuple[str, ...] = ()
    agent: str = ""
    account: str = ""
    attention: str = ""
    text: str = ""
    sort: str = _DEFAULT_SORT
    after: str = ""

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> FleetQuery:
        """Return the query of an address; empty fields say nothing."""
        return cls(
            statuses=tuple(sorted({s for s in query.get("status", "").split(",") if s})),
            healths=tuple(sorted({s for s in query.get("health", "").split(",") if s})),
            agent=query.get("agent", ""),
            account=query.get("account", ""),
            attention=query.get("attention", ""),
            text=query.get("text", "").strip(),
            sort=query.get("sort", "") or _DEFAULT_SORT,
            after=query.get("after", ""),
        )

    def fields(self, **changes: str) -> dict[str, str]:
        """Return the fields that differ from the plain page, in order, with changes."""
        given = {
            "status": ",".join(self.statuses),
            "health": ",".join(self.healths),
            "agent": self.agent,
            "account": self.account,
            "attention": self.attention,
            "text": self.text,
            "sort": "" if self.sort == _DEFAULT_SORT else self.sort,
            "after": self.after,
        }
        return {name: value for name, value in (given | changes).items() if value}

    def href(self, **changes: str) -> str:
        """Return the page's address with changes; a new view begins at its first page."""
        text = urlencode(self.fields(**({"after": ""} | changes)))
        return f"/?{text}" if text else "/"

    def asked(self) -> dict[str, str]:
        """Return the query of `instance.list`; what no name can contain is searched as `?`."""
        fields = self.fields(limit=str(ROWS_PER_PAGE)) | {"sort": self.sort}
        if self.text:
            fields["text"] = _TEXT.sub("?", self.text)[:64]
        return fields

    @property
    def narrows(self) -> bool:
        """Return whether anything is filtered out."""
        return bool(
            self.statuses
            or self.healths
            or self.agent
            or self.account
            or self.attention
            or self.text
        )


class Row(NamedTuple):
    """One instance in the table."""

    id: str
    key: str
    name: str
    href: str
    account: str
    badge: Badge
    said: str
    next_try: Moment | None
    wanted: str
    status: str
    agent: str
    version: str
    restarts: int
    load: str
    contact: Moment | None
    is_lost: bool
    attention: str
    budget: str
    can_start: bool
    can_stop: bool
    waiting: int


class Chip(NamedTuple):
    """A status with its count, which is also the filter for it."""

    text: str
    tone: str
    amount: int
    href: str
    is_on: bool


class Column(NamedTuple):
    """A head of the table; `order` is what `aria-sort` says."""

    name: str
    title: str
    kind: str
    href: str
    order: str


@dataclass(frozen=True, slots=True)
class Fleet:
    """The whole page."""

    query: FleetQuery
    rows: tuple[Row, ...]
    chips: tuple[Chip, ...]
    columns: tuple[Column, ...]
    agents: tuple[str, ...]
    total: int
    everything: int
    next_href: str
    first_href: str
    events_href: str
    shows_accounts: bool

    def fingerprint(self) -> tuple[object, ...]:
        """Return what differs when the page does, apart from the time that passes."""
        rows = tuple(
            (row._replace(contact=None), row.contact and row.contact.iso) for row in self.rows
        )
        return rows, self.chips, self.total, self.next_href

    @property
    def is_empty(self) -> bool:
        """Return whether there is no instance at all, filtered or not."""
        return self.everything == 0 and not self.rows


def fleet_row(view: InstanceView, *, now_ms: int, waiting: int = 0) -> Row:
    """Return the row of an instance, for which `waiting` pairing requests wait."""
    lives = view.status not in _NOT_ORDERED
    return Row(
        id=view.id,
        key=element_id("i", view.id),
        name=view.name,
        href=f"/instances/{view.id}",
        account=view.account,
        badge=status_badge(view),
        said="" if view.health.code in _PLAIN else view.health.text,
        next_try=moment(view.health.next_try, now_ms),
        wanted=wanted_words(view),
        status=view.status,
        agent=view.agent,
        version=view.agent_version,
        restarts=view.restarts,
        load=NOTHING if view.load is None else f"{view.load:.2f}",
        contact=moment(view.last_contact_at, now_ms),
        is_lost=view.contact == "lost",
        attention="" if view.health.text in view.attention else view.attention,
        budget=view.budget,
        can_start=lives and view.desired == "stopped",
        can_stop=lives and view.desired == "running",
        waiting=waiting,
    )


def _chips(query: FleetQuery, counts: Mapping[str, int]) -> tuple[Chip, ...]:
    """Return the statuses that occur or are filtered by, what hurts most first."""
    chips = []
    for code, badge in HEALTH_BADGES.items():
        is_on = code in query.healths
        if not counts.get(code) and not is_on:
            continue
        href = query.href(health=",".join(sorted({*query.healths} ^ {code})))
        chips.append(Chip(badge.text, badge.tone, counts.get(code, 0), href, is_on))
    return tuple(chips)


def _columns(query: FleetQuery) -> tuple[Column, ...]:
    """Return the heads; a click on the sorted one turns it round."""
    columns = []
    for name, title, kind in _COLUMNS:
        first = f"-{name}" if name in _DOWN_FIRST else name
        turned = name if query.sort.startswith("-") else f"-{name}"
        is_sorted = query.sort.lstrip("-") == name
        order = ("descending" if query.sort.startswith("-") else "ascending") if is_sorted else ""
        href = query.href(sort=turned if is_sorted else first)
        columns.append(Column(name, title, kind, href, order))
    return tuple(columns)


def fleet_page(
    query: FleetQuery,
    listed: InstanceList,
    agents: AgentList,
    *,
    now_ms: int,
    operator: bool,
    waiting: Mapping[str, int] = MappingProxyType({}),
) -> Fleet:
    """Return the page made of one page of instances; `waiting` counts requests by instance."""
    counts = {str(code): count for code, count in listed.health_counts.items()}
    names = {agent.name for agent in agents.items if agent.installed} | {query.agent} - {""}
    stream = urlencode({"page": "fleet"} | query.fields())
    return Fleet(
        query=query,
        rows=tuple(
            fleet_row(view, now_ms=now_ms, waiting=waiting.get(view.id, 0)) for view in listed.items
        ),
        chips=_chips(query, counts),
        columns=_columns(query),
        agents=tuple(sorted(names)),
        total=listed.total,
        everything=sum(counts.values()),
        next_href=query.href(after=listed.next) if listed.next else "",
        first_href=query.href() if query.after else "",
        events_href=f"/events?{stream}",
        shows_accounts=operator,
    )


async def load(context: Context, call: Call) -> Names:
    """Return the fleet; only the list itself is indispensable."""
    query = FleetQuery.parse(call.query)
    listed = await context.api.ask(call, "instance.list", InstanceList, query=query.asked())
    agents = await context.api.ask_or(call, "agent.list", AgentList(items=()))
    found = fleet_page(
        query,
        listed,
        agents,
        now_ms=call.now_ms,
        operator=call.principal.scope == "operator",
        waiting=(await waiting(context, call)).counts,
    )
    return {"fleet": found}


async def _load_row(context: Context, call: Call, instance: str) -> Row:
    path = {"id": instance}
    found = await context.api.ask(call, "instance.get", InstanceDetail, path=path)
    counts = (await waiting(context, call)).counts
    return fleet_row(found.instance, now_ms=call.now_ms, waiting=counts.get(instance, 0))


class DrawnRows(Cache[tuple[str, bool], tuple[int, str]]):
    """Drawn rows by instance and form, with the number of the change up to which each is true."""

    most = FRAGMENTS_MAX


class LiveFleet(OpenPage):
    """The fleet of one reader: changed rows at once, the list itself at most every REDRAW_S."""

    topics = frozenset({topics.INSTANCE, topics.CONTACT, topics.PAIRING})

    def __init__(self, context: Context, page: Page, call: Call) -> None:
        super().__init__(context, page, call)
        self._shown: frozenset[str] = frozenset()
        self._is_stale = False
        self._looked_s = 0.0
        self._sent: tuple[object, ...] = ()

    def _left_s(self) -> float:
        """Return the seconds until the list is read again: sooner if it may have changed."""
        return (REDRAW_S if self._is_stale else LOOK_S) - (self.steady_s() - self._looked_s)

    @property
    def idle_s(self) -> float:
        """Return the seconds until the list is read again."""
        return max(0.01, self._left_s())

    async def full(self) -> str:
        """Return the rows, the counts and the pager."""
        self._sent = ()
        return await self._look()

    async def _look(self) -> str:
        """Return the list, if it differs from the last one."""
        self._is_stale = False
        self._looked_s = self.steady_s()
        names = await self.page.load(self.context, self.now())
        found: Fleet = names["fleet"]
        if found.fingerprint() == self._sent:
            return ""
        self._sent = found.fingerprint()
        self._shown = frozenset(row.id for row in found.rows)
        return self.draw_elements("fleet-rows", "fleet-summary", "fleet-pager", **names)

    async def changed(self, batch: Batch) -> str:
        """Return the rows that changed; note that the list may have changed too."""
        wanted = {c.key: c for c in batch.changes if c.key in self._shown}
        self._is_stale |= batch.all_stale or any(
            change.topic == topics.INSTANCE for change in batch.changes
        )
        if batch.all_stale or len(wanted) > SINGLE_ROWS_MAX:
            self._is_stale = True
            return await self.idle()
        return "".join([await self._row(change) for change in wanted.values()])

    async def idle(self) -> str:
        """Return the list anew, once it has rested long enough."""
        return await self._look() if self._left_s() <= 0 else ""

    async def _row(self, change: Change) -> str:
        """Return one row, drawn now or by another reader since the change."""
        rows = self.context.cache(DrawnRows)
        key = (change.key, self.is_operator)
        kept = rows.get(key)
        if kept is not None and kept[0] >= change.seq:
            return kept[1]
        seq = self.context.hub.seq
        try:
            row = await _load_row(self.context, self.now(), change.key)
        except Refusal as refusal:
            if refusal.status != _GONE:
                raise
            self._is_stale = True
            return ""
        html = self.context.renderer.draw("parts/row.html", row=row, is_operator=self.is_operator)
        return rows.keep(key, (seq, update(f"#{row.key}", html, swap="outerMorph")))[1]


PAGE: Final = Page("fleet", "fleet.html", load, live=LiveFleet)
