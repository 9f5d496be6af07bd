"""`holdfast costs`: what agents used and what it cost."""

from __future__ import annotations

from typing import Annotated, Final, get_args

import typer

from holdfast.cli.connection import connect
from holdfast.cli.naming import resolve_node
from holdfast.cli.output import EXIT_USAGE, JSON_OPTION, fail, say, show_facts, show_list
from holdfast.cli.tables import Column
from holdfast.wire.api.costs import CostList, CostRow, CostsBy
from holdfast.wire.money import (
    amounts_text,
    cost_notes,
    cost_text,
    count_text,
    money_text,
    tokens_of,
)

_CLOSED: Final = "its owner has not let counters out"
_CLOSED_NOW: Final = "its owner lets no counters out any more"
_REST: Final = (
    Column("cost"),
    Column("reported", drop=3),
    Column("no price", drop=2),
    Column("flat rate", drop=2),
    Column("turns", drop=8),
    Column("tool calls", drop=9),
    Column("input", drop=5),
    Column("output", drop=5),
    Column("cache read", drop=6),
    Column("cache write", drop=7),
    Column("note", drop=1, least=20),
)


def costs(
    by: Annotated[str, typer.Option(help="Rows by `day`, `model` or `node`.")] = "day",
    first: Annotated[
        str, typer.Option("--from", help="The first day, like 2026-11-01 (UTC).")
    ] = "",
    last: Annotated[str, typer.Option("--to", help="The last day; without it, today.")] = "",
    node: Annotated[
        str, typer.Option(help="Only this node: its id or name, or its instance's.")
    ] = "",
    account: Annotated[str, typer.Option(help="Only this account's; operators only.")] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Show what agents used and what it cost, by day, model or node; 30 days unless said."""
    if by not in get_args(CostsBy):
        fail(f"--by {by!r}: want {', '.join(get_args(CostsBy))}", code=EXIT_USAGE)
    asked = {"by": by, "from": first, "to": last, "node": node, "account": account}
    plane = connect()
    if node:
        asked["node"] = resolve_node(plane, node)
    found: CostList = plane.every("costs.list", query=asked)
    columns = (Column(by), *_REST)
    rows = (_row(one) for one in found.items)
    show_list(found, columns, rows, empty="Nothing was used in these days.", as_json=as_json)
    if as_json:
        return
    month = found.month
    projected = amounts_text(month.projected) or "not yet: too few days with numbers"
    show_facts(
        (
            (f"{found.first} to {found.last}", cost_text(found.total) or "nothing"),
            ("note", "; ".join(cost_notes(found.total))),
            (f"{month.month} so far", amounts_text(month.so_far) or "nothing"),
            (f"{month.month} projected", projected),
        )
    )
    if found.closed:
        say(f"{found.closed} of {found.nodes} nodes let no counters out: holdfast consent show")
    if found.prices_trouble:
        say(f"{found.prices_trouble}; the prices before it hold", style="red")
    say(f"prices: {found.prices}", style="dim")


def _row(one: CostRow) -> tuple[str, ...]:
    used = one.used
    key = one.day or one.title or one.name or one.model or "(not named)"
    if not one.counters and not tokens_of(used):
        return (key, *("" for _ in _REST[1:]), _CLOSED)
    counts = (
        used.turns, used.tool_calls, used.input, used.output, used.cache_read, used.cache_write,
    )  # fmt: skip
    reported = (money_text(a.reported_micro, a.currency) for a in used.amounts if a.reported_micro)
    return (
        key,
        cost_text(used) or "-",
        " + ".join(reported),
        count_text(used.unpriced_tokens) if used.unpriced_tokens else "",
        count_text(used.plan_tokens) if used.plan_tokens else "",
        *map(count_text, counts),
        "" if one.counters else _CLOSED_NOW,
    )
