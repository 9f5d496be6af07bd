"""What agents cost: today, this week, this month, by agent and by model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Final, NamedTuple

from holdfast.letters import topics
from holdfast.web.limits import COST_ROWS, COSTS_LOOK_S, REDRAW_S
from holdfast.web.live_page import Redrawn
from holdfast.web.page import Context, Names, Page, paging
from holdfast.web.parts.bars import Chart, bars
from holdfast.wire.api.call import Call
from holdfast.wire.api.costs import Amount, CostList, CostRow, CostsBy
from holdfast.wire.limits import PAGE_ITEMS_MAX
from holdfast.wire.money import (
    amounts_text,
    cost_notes,
    cost_text,
    count_text,
    money_text,
    tokens_of,
)
from holdfast.wire.times import time_text

_DAYS_DEFAULT: Final = 30
_WINDOWS: Final = (("7", "7 days"), ("30", "30 days"), ("90", "90 days"), ("365", "a year"))
_NO_NAME: Final = "model not named"


class Card(NamedTuple):
    """One total at the top."""

    title: str
    text: str
    notes: tuple[str, ...]


class Row(NamedTuple):
    """One agent or model. `closed` says why an agent has no numbers, or none that are new."""

    href: str
    name: str
    account: str
    instance: str
    cost: str
    is_money: bool
    notes: tuple[str, ...]
    turns: str
    tool_calls: str
    input: str
    output: str
    cache: str
    closed: str


class Window(NamedTuple):
    """A choice of days."""

    href: str
    text: str
    is_on: bool


def row_of(found: CostRow) -> Row:
    """Return an agent or a model."""
    used = found.used
    is_used = tokens_of(used) > 0 or used.turns > 0
    closed = ""
    if not found.counters:
        closed = (
            "Its owner lets no counters out any more."
            if is_used
            else "Its owner has not let counters out."
        )
    return Row(
        href=f"/nodes/{found.node}" if found.node else "",
        name=found.title or found.name or found.model or _NO_NAME,
        account=found.account,
        instance=found.instance,
        cost=cost_text(used),
        is_money=bool(used.amounts),
        notes=cost_notes(used),
        turns=count_text(used.turns) if is_used else "",
        tool_calls=count_text(used.tool_calls) if is_used else "",
        input=count_text(used.input) if is_used else "",
        output=count_text(used.output) if is_used else "",
        cache=count_text(used.cache_read + used.cache_write) if is_used else "",
        closed=closed,
    )


def closed_text(nodes: int, closed: int) -> str:
    """Return how many nodes let no counters out; empty for none."""
    if not closed:
        return ""
    whose = f"{closed} of {nodes} nodes" if nodes > 1 else "The only node"
    lets = "lets" if closed == 1 else "let"
    return f"{whose} {lets} no counters out, so what is used there is not known."


def card_of(title: str, rows: Iterable[CostRow]) -> Card:
    """Return the total of some days."""
    listed = [row.used for row in rows]
    amounts = total_of(amount for used in listed for amount in used.amounts)
    tokens = sum(map(tokens_of, listed))
    unpriced = sum(used.unpriced_tokens for used in listed)
    plan = sum(used.plan_tokens for used in listed)
    notes = [f"{count_text(tokens)} tokens"] if tokens else []
    if unpriced:
        notes.append(f"{count_text(unpriced)} of them have no price")
    if plan:
        notes.append(f"{count_text(plan)} by flat rate")
    otherwise = "no price" if unpriced else "flat rate" if plan else "nothing"
    return Card(title, amounts_text(amounts) or otherwise, tuple(notes))


def total_of(amounts: Iterable[Amount]) -> tuple[Amount, ...]:
    """Return the sums of amounts, by currency."""
    sums: dict[str, tuple[int, int]] = {}
    for one in amounts:
        reported, estimated = sums.get(one.currency, (0, 0))
        sums[one.currency] = reported + one.reported_micro, estimated + one.estimated_micro
    return tuple(
        Amount(
            currency=currency,
            micro=reported + estimated,
            reported_micro=reported,
            estimated_micro=estimated,
        )
        for currency, (reported, estimated) in sorted(sums.items())
    )


def cards_of(found: CostList, today: date) -> tuple[Card, ...]:
    """Return the totals at the top, out of rows by day."""
    month = found.month
    expected = amounts_text(month.projected)
    why = f"the mean of {month.days} days goes on" if expected else "too few days for a projection"
    return (
        card_of("Today", _since(found.items, today)),
        card_of("7 days", _since(found.items, today - timedelta(days=6))),
        card_of("30 days", _since(found.items, today - timedelta(days=29))),
        Card("This month", amounts_text(month.so_far) or "nothing", (month.month,)),
        Card("Projected", expected or "not yet", (why,)),
    )


def _since(rows: Iterable[CostRow], first: date) -> list[CostRow]:
    return [row for row in rows if row.day >= str(first)]


def charts_of(rows: Sequence[CostRow], first: date, last: date) -> tuple[Chart, ...]:
    """Return the charts by day: of each currency, and of tokens."""
    by_day = {row.day: row.used for row in rows}
    days = [str(first + timedelta(days=n)) for n in range((last - first).days + 1)]
    charts = []
    for currency in sorted({one.currency for used in by_day.values() for one in used.amounts}):
        values = [_micro(by_day[day].amounts, currency) if day in by_day else 0 for day in days]
        texts = [money_text(value, currency) for value in values]
        charts.append(bars(f"Cost by day, {currency}", days, values, texts))
    tokens = [tokens_of(by_day[day]) if day in by_day else 0 for day in days]
    if any(tokens):
        charts.append(bars("Tokens by day", days, tokens, [*map(count_text, tokens)]))
    return tuple(charts)


def _micro(amounts: Iterable[Amount], currency: str) -> int:
    return sum(one.micro for one in amounts if one.currency == currency)


async def load(context: Context, call: Call) -> Names:
    """Return totals, charts, and what each agent and model cost."""
    days = call.number("days", _DAYS_DEFAULT)
    account = call.query.get("account", "")
    own = {"account": account} if account else {}

    async def ask(by: CostsBy, first: date, limits: dict[str, str]) -> CostList:
        query = {"by": by, "from": str(first), "to": str(today), **own, **limits}
        return await context.api.ask(call, "costs.list", CostList, query=query)

    today = date(*map(int, time_text(call.now_ms)[:10].split("-")))
    first = today - timedelta(days=days - 1)
    longer = min(first, today - timedelta(days=_DAYS_DEFAULT - 1))
    by_day = await ask("day", longer, {"limit": str(PAGE_ITEMS_MAX)})
    agents = await ask("node", first, paging(call, COST_ROWS))
    models = await ask("model", first, {"limit": str(COST_ROWS)})
    rest = f"&account={account}" if account else ""
    return {
        "days": days,
        "account": account,
        "windows": [
            Window(f"/costs?days={each}{rest}", text, is_on=each == str(days))
            for each, text in _WINDOWS
        ],
        "cards": cards_of(by_day, today),
        "charts": charts_of(_since(by_day.items, first), first, today),
        "agents": [row_of(each) for each in agents.items],
        "models": [row_of(each) for each in models.items],
        "more_models": bool(models.next),
        "closed": closed_text(agents.nodes, agents.closed),
        "prices": agents.prices,
        "trouble": agents.prices_trouble,
        "kept_days": agents.kept_days,
        "next": agents.next,
    }


PAGE: Final = Page(
    "costs",
    "costs.html",
    load,
    live=Redrawn(
        frozenset({topics.NODE}),
        ("cost-totals", "cost-notes", "cost-charts", "cost-agents", "cost-models"),
        look_s=COSTS_LOOK_S,
        rest_s=REDRAW_S,
    ),
)
