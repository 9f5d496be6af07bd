"""`holdfast budget`: what an instance may spend, how far that is used up, going on."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Final

import typer
from msgspec import convert
from msgspec.structs import replace

from holdfast.cli.connection import Connection, connect
from holdfast.cli.naming import NODE_ID, resolve
from holdfast.cli.naming import Name as Instance
from holdfast.cli.output import (
    EXIT_PENDING,
    EXIT_USAGE,
    JSON_OPTION,
    fail,
    say,
    show_facts,
    show_json,
    show_table,
)
from holdfast.cli.tables import Column
from holdfast.wire.api.budgets import AlertView, BudgetSet, BudgetView, LimitView
from holdfast.wire.api.instances import InstanceOrder
from holdfast.wire.api.operations import Pending
from holdfast.wire.limits import COUNTER_MAX
from holdfast.wire.money import MICRO, amount_text, amounts_text, cost_notes, cost_text

app = typer.Typer(no_args_is_help=True, help="What an agent may spend in a day and a month.")

Name = Annotated[
    str,
    typer.Argument(help="Its id, its name, or how its id begins; of a node elsewhere its id, nd_…"),
]
_MONEY: Final = "an amount like 12.50; 0 takes the limit away"
_TOKENS: Final = "tokens of every kind; 0 takes the limit away"
_COLUMNS: Final = (
    Column("limit"),
    Column("spent"),
    Column("used"),
    Column("alert", drop=2),
    Column("until", drop=1),
    Column("cap"),
)


@app.command()
def show(name: Name, as_json: bool = JSON_OPTION) -> None:
    """Show the budget of an instance, and how far it is used up."""
    plane = connect()
    noun, path = _where(plane, name)
    _show(plane.call(f"{noun}.budget", path=path), as_json=as_json)


@app.command("set")
def set_(
    name: Name,
    day: Annotated[str | None, typer.Option(help=f"Money in a day: {_MONEY}.")] = None,
    month: Annotated[str | None, typer.Option(help=f"Money in a month: {_MONEY}.")] = None,
    day_tokens: Annotated[
        int | None, typer.Option(help=f"Tokens in a day: {_TOKENS}.", min=0, max=COUNTER_MAX)
    ] = None,
    month_tokens: Annotated[
        int | None, typer.Option(help=f"Tokens in a month: {_TOKENS}.", min=0, max=COUNTER_MAX)
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="What the limits of money are in, like EUR (first: USD).")
    ] = None,
    cap: Annotated[
        bool | None,
        typer.Option("--cap/--no-cap", help="Pause the agent while a limit is reached."),
    ] = None,
    as_json: bool = JSON_OPTION,
) -> None:
    """Set limits, and whether they pause the agent; what is not named stays as it is."""
    changes = {
        "day_micro": _micro(day, "--day"),
        "month_micro": _micro(month, "--month"),
        "day_tokens": day_tokens,
        "month_tokens": month_tokens,
        "currency": currency,
        "cap": cap,
    }
    named = {key: value for key, value in changes.items() if value is not None}
    if not named:
        fail("nothing to set", fix="name a limit, like --day 10", code=EXIT_USAGE)
    plane = connect()
    noun, path = _where(plane, name)
    found: BudgetView = plane.call(f"{noun}.budget", path=path)
    before = BudgetSet() if found.budget is None else convert(
        found.budget, BudgetSet, from_attributes=True
    )  # fmt: skip
    answer = plane.call(f"{noun}.set-budget", path=path, body=replace(before, **named))
    _answer(answer, as_json=as_json)


@app.command()
def remove(name: Name, as_json: bool = JSON_OPTION) -> None:
    """Take every limit away; an agent that is paused by its cap goes on."""
    plane = connect()
    noun, path = _where(plane, name)
    _answer(plane.call(f"{noun}.set-budget", path=path, body=BudgetSet()), as_json=as_json)


@app.command("go-on")
def go_on(
    name: Instance,
    reason: Annotated[str, typer.Option(help="Why, for the log of decisions.")] = "",
    as_json: bool = JSON_OPTION,
) -> None:
    """Let an agent that its cap pauses go on, until the day or month of the limit is over."""
    plane = connect()
    body, path = InstanceOrder(reason=reason), {"id": resolve(plane, name)}
    answer = plane.call("instance.go-on", path=path, body=body)
    if as_json:
        show_json(answer)
    if isinstance(answer, Pending):
        _pending(answer, as_json=as_json)
    elif not as_json:
        show_facts(
            [("name", answer.name), ("desired", answer.desired), ("status", answer.health.code)]
        )


def _where(plane: Connection, name: str) -> tuple[str, dict[str, str]]:
    """Return the noun of the endpoints and the path for an instance, or a node by its id."""
    if name.startswith(NODE_ID):
        return "node", {"id": name}
    return "instance", {"id": resolve(plane, name)}


def _micro(text: str | None, option: str) -> int | None:
    """Return an amount as millionths; exit with an error for what is none."""
    if text is None:
        return None
    try:
        amount = Decimal(text)
        micro = int(amount * MICRO)
    except (ArithmeticError, ValueError):
        return fail(f"{option} {text!r}: want {_MONEY}", code=EXIT_USAGE)
    if not 0 <= micro <= COUNTER_MAX or micro != amount * MICRO:
        fail(f"{option} {text!r}: want {_MONEY}, with six decimals at most", code=EXIT_USAGE)
    return micro


def _answer(answer: BudgetView | Pending, *, as_json: bool) -> None:
    if isinstance(answer, Pending):
        if as_json:
            show_json(answer)
        _pending(answer, as_json=as_json)
    else:
        _show(answer, as_json=as_json)


def _pending(answer: Pending, *, as_json: bool) -> None:
    if not as_json:
        say(f"Accepted, not taken yet: holdfast operation show {answer.operation}")
    raise typer.Exit(EXIT_PENDING)


def _show(found: BudgetView, *, as_json: bool) -> None:
    if as_json:
        show_json(found)
        return
    cap = "" if found.budget is None else "on" if found.budget.cap else "off"
    rows = (_row(one, cap) for one in found.limits)
    show_table(_COLUMNS, rows, empty="No budget. Set one: holdfast budget set NAME --day 10")
    if found.day is not None and found.month is not None and found.projection is not None:
        projected = amounts_text(found.projection.projected) or "not yet: too few days with numbers"
        show_facts(
            (
                ("today", cost_text(found.day) or "nothing"),
                ("this month", cost_text(found.month) or "nothing"),
                ("projected", projected),
                ("note", "; ".join(cost_notes(found.month))),
            )
        )
    for alert in found.alerts:
        show_facts([("alert", _alert_words(alert))])
    if found.paused:
        say(found.paused, style="yellow")
    if found.note:
        say(found.note, style="yellow" if not found.counters else "dim")


def _alert_words(one: AlertView) -> str:
    at = one.at[:16].replace("T", " ")
    return f"{at} {one.level} % of {amount_text(one.most, one.currency)} a {one.period}"


def _row(one: LimitView, cap: str) -> tuple[str, ...]:
    def text(amount: int) -> str:
        return amount_text(amount, one.currency)

    used = "not known" if one.spent is None else f"{one.spent * 100 // one.most} %"
    return (
        f"{text(one.most)} a {one.period}",
        "not known" if one.spent is None else text(one.spent),
        used,
        f"{one.alerted} %" if one.alerted else "-",
        one.until[:16].replace("T", " "),
        "gone on with" if one.excused else cap,
    )
