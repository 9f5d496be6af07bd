"""The price list: what tokens of models cost, and which models a flat rate pays for. Pure.

A list is TOML: the one of this package, and before it the operator's own. An amount is a decimal
number of units of a currency for a million tokens, which is kept as whole millionths; no float is
ever added up.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, NamedTuple

from holdfast.wire.limits import TEXT_MAX
from holdfast.wire.money import MICRO

KINDS: Final = ("input", "output", "cache_read", "cache_write")
"""Kinds of tokens, each with a price of its own."""

_LIST: Final = ("version", "reported_currency", "price", "plan")
_PRICE: Final = ("model", "from", "currency", *KINDS)
_PLAN: Final = ("name", "account", "node", "models", "from")
_CURRENCY: Final = re.compile(r"[A-Z]{3}", re.ASCII)
_DEFAULT_CURRENCY: Final = "USD"
_AMOUNT_MAX: Final = 1_000_000
_ALWAYS: Final = date.min
_ENTRIES_MAX: Final = 2_000


class PriceError(ValueError):
    """A price list is not valid; the text names the field and the fix."""


class Price(NamedTuple):
    """What a million tokens of a model cost from a day on, in millionths; None where unknown.

    `model` is a name, or what it begins with, and a star.
    """

    model: str
    since: date
    currency: str
    input: int | None
    output: int | None
    cache_read: int | None
    cache_write: int | None

    def amounts(self) -> tuple[int | None, ...]:
        """Return the prices in the order of `KINDS`."""
        return self.input, self.output, self.cache_read, self.cache_write


class Plan(NamedTuple):
    """A flat rate: what its models use is paid for by it, of one node or of a whole account."""

    name: str
    account: str
    node: str
    models: tuple[str, ...]
    since: date


class Prices(NamedTuple):
    """A price list. Of entries for a model an earlier one of `lists` wins, as the operator's does.

    Within one the longest name wins, and of that the latest day. `version` names what the prices
    come from.
    """

    version: str
    reported_currency: str
    lists: tuple[tuple[Price, ...], ...]
    plans: tuple[Plan, ...]

    def plans_of(self, account: str, node: str) -> tuple[Plan, ...]:
        """Return the flat rates of a node."""
        return tuple(one for one in self.plans if node == one.node or account == one.account)

    def changes(self) -> list[date]:
        """Return the days on which anything changes, the first one first."""
        prices = {price.since for prices in self.lists for price in prices}
        return sorted(prices | {plan.since for plan in self.plans})


class Rates:
    """Prices by model and day, for one question: it remembers the models that it was asked for."""

    def __init__(self, prices: Prices) -> None:
        self.reported_currency = prices.reported_currency
        self._lists = prices.lists
        self._known: dict[str, list[Price]] = {}

    def price(self, model: str, day: date) -> Price | None:
        """Return what tokens of a model cost on a day; None where no entry names it."""
        known = self._known.get(model)
        if known is None:
            known = self._known[model] = self._naming(model.lower())
        return next((one for one in known if one.since <= day), None)

    def _naming(self, name: str) -> list[Price]:
        """Return every entry for a model, the ones that win first."""
        found: list[Price] = []
        for prices in self._lists:
            named = [one for one in prices if is_named(one.model, name)]
            found += sorted(named, key=lambda one: (len(one.model), one.since), reverse=True)
        return found


def is_named(pattern: str, name: str) -> bool:
    """Return whether a pattern names a model, whose name is in lower case."""
    if pattern.endswith("*"):
        return name.startswith(pattern[:-1])
    return name == pattern


def covering(plans: Iterable[Plan], model: str, day: date) -> Plan | None:
    """Return the flat rate that pays for a model on a day."""
    name = model.lower()
    for plan in plans:
        if plan.since <= day and any(is_named(each, name) for each in plan.models):
            return plan
    return None


def parse_prices(text: str) -> Prices:
    """Return a price list; raise PriceError, which names the field and the fix."""
    try:
        found = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        line = str(error).rpartition("(")[2].rstrip(")")  # the rest may quote the file
        raise PriceError(f"not valid TOML: {line}") from None
    except (ArithmeticError, ValueError):
        raise PriceError("not valid TOML: a number has too many digits") from None
    except RecursionError:
        raise PriceError("not valid TOML: it is nested too deeply") from None
    _only(found, _LIST, "")
    prices = [_price(each, where) for each, where in _tables(found, "price")]
    plans = [_plan(each, where) for each, where in _tables(found, "plan")]
    seen: set[tuple[str, date]] = set()
    for number, one in enumerate(prices, 1):
        if (one.model, one.since) in seen:
            raise PriceError(
                f"price {number}: model: {one.model} has a price from {one.since} already; remove"
                " one of them, or give it another `from`"
            )
        seen.add((one.model, one.since))
    return Prices(
        version=_text(found, "version", "", otherwise=""),
        reported_currency=_currency(found, "reported_currency", "", otherwise=""),
        lists=(tuple(prices),),
        plans=tuple(plans),
    )


def over(own: Prices, shipped: Prices) -> Prices:
    """Return the operator's list with the shipped one behind it."""
    own_name = f"own {own.version}".strip()
    return Prices(
        version=f"{shipped.version} + {own_name}",
        reported_currency=own.reported_currency or shipped.reported_currency,
        lists=own.lists + shipped.lists,
        plans=own.plans + shipped.plans,
    )


def _tables(found: Mapping[str, Any], name: str) -> Iterable[tuple[Mapping[str, Any], str]]:
    """Yield the tables of a list, each with the words for its place."""
    listed = found.get(name, [])
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise PriceError(f"{name}: want tables; begin each with [[{name}]]")
    if len(listed) > _ENTRIES_MAX:
        raise PriceError(f"{name}: {len(listed)} entries; want {_ENTRIES_MAX} at most")
    for number, one in enumerate(listed, 1):
        yield one, f"{name} {number}: "


def _price(found: Mapping[str, Any], where: str) -> Price:
    _only(found, _PRICE, where)
    amounts = (_amount(found, kind, where) for kind in KINDS)
    return Price(
        _pattern(_text(found, "model", where), f"{where}model"),
        _day(found, where, otherwise=None),
        _currency(found, "currency", where, otherwise=_DEFAULT_CURRENCY),
        *amounts,
    )


def _plan(found: Mapping[str, Any], where: str) -> Plan:
    _only(found, _PLAN, where)
    account = _text(found, "account", where, otherwise="")
    node = _text(found, "node", where, otherwise="")
    if bool(account) == bool(node):
        raise PriceError(f"{where}account, node: want one of them: whom the flat rate is for")
    models = found.get("models", ["*"])
    if not isinstance(models, list) or not models:
        raise PriceError(f'{where}models: want a list of names, like ["claude-*"]')
    return Plan(
        _text(found, "name", where),
        account,
        node,
        tuple(_pattern(one, f"{where}models") for one in models),
        _day(found, where, otherwise=_ALWAYS),
    )


def _only(found: Mapping[str, Any], names: Sequence[str], where: str) -> None:
    unknown = sorted(found.keys() - set(names))
    if unknown:
        raise PriceError(f"{where}{unknown[0]}: no such field; there are {', '.join(names)}")


def _text(found: Mapping[str, Any], name: str, where: str, *, otherwise: str | None = None) -> str:
    value = found.get(name, otherwise)
    if value is None:
        raise PriceError(f"{where}{name}: is missing; say {name} = …")
    if not isinstance(value, str) or len(value) > TEXT_MAX or not value.isprintable():
        raise PriceError(f"{where}{name}: want one line of text, {TEXT_MAX} characters at most")
    return value


def _pattern(value: object, where: str) -> str:
    """Return a model's name in lower case, or what names begin with, and a star."""
    is_text = isinstance(value, str) and 0 < len(value) <= TEXT_MAX
    if not isinstance(value, str) or not is_text or "*" in value[:-1]:
        raise PriceError(f"{where}: want the name of a model; a star may stand at its end alone")
    return value.lower()


def _currency(found: Mapping[str, Any], name: str, where: str, *, otherwise: str) -> str:
    value = _text(found, name, where, otherwise=otherwise)
    if value != otherwise and not _CURRENCY.fullmatch(value):
        raise PriceError(f'{where}{name}: want a currency by its three capitals, like "USD"')
    return value


def _day(found: Mapping[str, Any], where: str, *, otherwise: date | None) -> date:
    value = found.get("from", otherwise)
    if not isinstance(value, date) or isinstance(value, datetime):
        raise PriceError(f"{where}from: want the first day that it holds for: from = 2026-11-30")
    return value


def _amount(found: Mapping[str, Any], name: str, where: str) -> int | None:
    value = found.get(name)
    if value is None:
        return None
    is_number = isinstance(value, int | Decimal) and not isinstance(value, bool)
    if not is_number or not Decimal(value).is_finite() or not 0 <= value <= _AMOUNT_MAX:
        raise PriceError(f"{where}{name}: want what a million tokens cost, like {name} = 3.75")
    micro = value * MICRO
    if micro != int(micro):
        raise PriceError(f"{where}{name}: want six decimals at most")
    return int(micro)
