"""Costs in words, for pages and the command line. Pure; whole numbers throughout."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from holdfast.wire.api.costs import Amount, Used

MICRO: Final = 1_000_000
"""Millionths in one unit of a currency."""

_CENT: Final = 10_000
_SIGNS: Final = {"USD": "$", "EUR": "€", "GBP": "£"}
_UNITS: Final = ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k"))
_TENTHS_BELOW: Final = 100


def money_text(micro: int, currency: str) -> str:
    """Return an amount, rounded to hundredths: `$1,234.56`, `0.40 CHF`, `< $0.01`."""
    if 0 < micro < _CENT:
        return f"< {_signed('0.01', currency)}"
    cents = (micro + _CENT // 2) // _CENT
    return _signed(f"{cents // 100:,}.{cents % 100:02}", currency)


def _signed(number: str, currency: str) -> str:
    sign = _SIGNS.get(currency)
    return f"{number} {currency}" if sign is None else f"{sign}{number}"


def amounts_text(amounts: Iterable[Amount]) -> str:
    """Return amounts of several currencies, which have no sum; empty for none."""
    return " + ".join(money_text(one.micro, one.currency) for one in amounts)


def count_text(count: int) -> str:
    """Return a large number by its largest unit: `950`, `12.3k`, `4M`."""
    for unit, name in _UNITS:
        if count >= unit:
            tenths = count * 10 // unit
            is_whole = tenths % 10 == 0 or tenths >= _TENTHS_BELOW * 10
            return f"{tenths // 10}{name}" if is_whole else f"{tenths // 10}.{tenths % 10}{name}"
    return str(count)


def amount_text(amount: int, currency: str) -> str:
    """Return an amount of money, or of tokens where there is no currency."""
    return money_text(amount, currency) if currency else f"{count_text(amount)} tokens"


def tokens_of(used: Used) -> int:
    """Return the tokens of every kind."""
    return used.input + used.output + used.cache_read + used.cache_write


def cost_text(used: Used) -> str:
    """Return what something cost: money, `no price`, `flat rate`, or nothing for no use."""
    if used.amounts:
        return amounts_text(used.amounts)
    if used.unpriced_tokens:
        return "no price"
    return "flat rate" if used.plan_tokens else ""


def cost_notes(used: Used) -> tuple[str, ...]:
    """Return what an amount leaves out, and how much of it agents reported themselves."""
    notes = []
    reported = [one for one in used.amounts if one.reported_micro]
    if any(one.estimated_micro for one in used.amounts):
        notes += [f"{money_text(o.reported_micro, o.currency)} reported" for o in reported]
    elif reported:
        notes.append("as reported")
    if used.unpriced_tokens and used.amounts:
        notes.append(f"without {count_text(used.unpriced_tokens)} tokens that have no price")
    if used.plan_tokens:
        notes.append(f"{count_text(used.plan_tokens)} tokens paid by {', '.join(used.plans)}")
    return tuple(notes)
