"""The budget of an instance: its limits beside what was spent, and what cannot be known. Pure."""

from __future__ import annotations

from typing import NamedTuple

from holdfast.web.parts.moments import Moment, moment
from holdfast.web.parts.words import Badge
from holdfast.wire.api.budgets import BudgetView, LimitView
from holdfast.wire.budget import LEVELS, REACHED
from holdfast.wire.money import MICRO, amount_text, amounts_text, cost_notes, cost_text


class LimitRow(NamedTuple):
    """One limit; `percent` is for a bar, which ends at 100, and None where nothing is known."""

    title: str
    spent: str
    used: str
    percent: int | None
    badge: Badge | None
    until: Moment | None


class Cost(NamedTuple):
    """What was spent in some time, or is going to be."""

    title: str
    text: str
    notes: tuple[str, ...]


class Field(NamedTuple):
    """One field of the form."""

    name: str
    title: str
    value: str
    step: str


class BudgetPanel(NamedTuple):
    """The panel. With `is_blind` nothing is measured; `note` says why, and what is left out."""

    badge: Badge
    limits: tuple[LimitRow, ...]
    costs: tuple[Cost, ...]
    paused: str
    note: str
    is_blind: bool
    fields: tuple[Field, ...]
    currency: str
    has_cap: bool


def budget(found: BudgetView, *, now_ms: int) -> BudgetPanel:
    """Return the panel of an instance's budget."""
    set_ = found.budget
    return BudgetPanel(
        badge=_badge(found),
        limits=tuple(_limit(one, now_ms) for one in found.limits),
        costs=_costs(found),
        paused=found.paused,
        note=found.note,
        is_blind=not found.counters,
        fields=(
            _money("day", "Money a day", 0 if set_ is None else set_.day_micro),
            _money("month", "Money a month", 0 if set_ is None else set_.month_micro),
            _tokens("day_tokens", "Tokens a day", 0 if set_ is None else set_.day_tokens),
            _tokens("month_tokens", "Tokens a month", 0 if set_ is None else set_.month_tokens),
        ),
        currency="USD" if set_ is None else set_.currency,
        has_cap=set_ is not None and set_.cap,
    )


def _badge(found: BudgetView) -> Badge:
    """Return the state of the budget in a word, the worst first."""
    if found.budget is None:
        return Badge("none", "off")
    if found.paused:
        return Badge("paused by its cap", "warn")
    if not found.counters:
        return Badge("not measured", "bad")
    level = max(one.level for one in found.limits)
    if level >= REACHED:
        return Badge("used up", "warn")
    words = f"over {level} %" if level else f"under {LEVELS[0]} %"
    return Badge(words, "warn" if level > LEVELS[0] else "ok")


def _limit(one: LimitView, now_ms: int) -> LimitRow:
    percent = None if one.spent is None else one.spent * 100 // one.most
    return LimitRow(
        title=f"{amount_text(one.most, one.currency)} a {one.period}",
        spent="not known" if one.spent is None else amount_text(one.spent, one.currency),
        used="" if percent is None else f"{percent} %",
        percent=None if percent is None else min(percent, 100),
        badge=Badge("gone on with", "off") if one.excused else _alert(one),
        until=moment(one.until, now_ms),
    )


def _alert(one: LimitView) -> Badge | None:
    if not one.alerted:
        return None
    return Badge(f"alert at {one.alerted} %", "bad" if one.alerted >= REACHED else "warn")


def _costs(found: BudgetView) -> tuple[Cost, ...]:
    if found.day is None or found.month is None or found.projection is None:
        return ()
    expected = amounts_text(found.projection.projected)
    mean = f"the mean of {found.projection.days} days goes on"
    return (
        Cost("Today", cost_text(found.day) or "nothing", cost_notes(found.day)),
        Cost("This month", cost_text(found.month) or "nothing", cost_notes(found.month)),
        Cost("Projected", expected or "not yet", (mean if expected else "too few days",)),
    )


def _money(name: str, title: str, micro: int) -> Field:
    whole, rest = divmod(micro, MICRO)
    value = f"{whole}.{rest:06}".rstrip("0").rstrip(".") if micro else ""
    return Field(name, title, value, "any")


def _tokens(name: str, title: str, tokens: int) -> Field:
    return Field(name, title, str(tokens) if tokens else "", "1")
