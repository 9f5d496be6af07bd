"""The price list: whole millionths, the operator's first, and errors that name field and fix."""

from __future__ import annotations

from datetime import date

import pytest

from holdfast.content.prices import (
    Plan,
    PriceError,
    Prices,
    Rates,
    covering,
    over,
    parse_prices,
)
from holdfast.plane.wiring.costs import shipped_prices

DAY = date(2026, 11, 30)


def prices(*entries: str, head: str = "") -> Prices:
    return parse_prices(head + "".join(f"\n[[price]]\n{entry}\n" for entry in entries))


def entry(model: str, day: str = "2026-01-01", **amounts: object) -> str:
    lines = [f'model = "{model}"', f"from = {day}", *(f"{k} = {v}" for k, v in amounts.items())]
    return "\n".join(lines)


def test_amounts_are_whole_millionths_for_a_million_tokens() -> None:
    found = prices(entry("m", input=3, output="0.000001", cache_read="0.3", currency='"EUR"'))
    price = Rates(found).price("M", DAY)
    assert price is not None
    assert (price.input, price.output, price.cache_read, price.cache_write) == (
        3_000_000, 1, 300_000, None
    )  # fmt: skip
    assert (price.currency, Rates(prices(entry("m"))).price("m", DAY)[2]) == ("EUR", "USD")  # type: ignore[index]


def test_the_longest_name_and_the_latest_day_win() -> None:
    found = Rates(
        prices(
            entry("m-*", input=1),
            entry("m-4*", input=2),
            entry("m-4*", "2026-06-01", input=3),
            entry("m-4-5", "2027-01-01", input=4),
        )
    )
    for model, day, price in (
        ("m-3", DAY, 1), ("m-4", DAY, 3), ("m-4", date(2026, 5, 31), 2), ("m-4-5", DAY, 3),
        ("m-4-5", date(2027, 1, 1), 4),
    ):  # fmt: skip
        known = found.price(model, day)
        assert known is not None
        assert known.input == price * 1_000_000, (model, day)
    assert found.price("m-3", date(2025, 12, 31)) is None
    assert found.price("other", DAY) is None
    assert found.price("", DAY) is None


def test_the_operators_list_wins_whatever_its_names_are() -> None:
    own = prices(entry("gpt-*", input=9), entry("claude-opus-4-5*"), head='version = "us"')
    both = over(own, shipped_prices())
    rates = Rates(both)
    assert both.version.endswith("+ own us")
    assert rates.reported_currency == "USD"
    gpt, unknown = rates.price("gpt-5", DAY), rates.price("claude-opus-4-5", DAY)
    assert gpt is not None
    assert unknown is not None
    assert (gpt.input, gpt.output, unknown.input) == (9_000_000, None, None)
    earlier = rates.price("gpt-5", date(2025, 12, 31))
    assert earlier is not None
    assert earlier.input == 1_250_000


def test_the_shipped_list_is_in_order() -> None:
    shipped = shipped_prices()
    assert shipped.version
    assert shipped.reported_currency == "USD"
    assert not shipped.plans
    for price in shipped.lists[0]:
        known = [amount for amount in price[3:] if amount is not None]
        assert len(known) in {0, 4}, price
        assert price.since <= DAY
    assert Rates(shipped).price("claude-opus-4-5-20251101", DAY) is not None
    assert Rates(shipped).price("gpt-5.9", DAY) is None


def test_a_flat_rate_is_of_an_account_or_a_node_from_its_day_on() -> None:
    found = parse_prices(
        '[[plan]]\nname = "a"\naccount = "local"\nfrom = 2026-02-01\nmodels = ["claude-*"]\n'
        '[[plan]]\nname = "b"\nnode = "nd_1"\n'
    )
    assert [one.name for one in found.plans_of("local", "nd_1")] == ["a", "b"]
    assert [one.name for one in found.plans_of("local", "nd_2")] == ["a"]
    assert found.plans_of("other", "nd_2") == ()
    plans = found.plans_of("local", "nd_2")
    assert covering(plans, "Claude-x", date(2026, 2, 1)) == plans[0]
    assert covering(plans, "claude-x", date(2026, 1, 31)) is None
    assert covering(plans, "gpt-5", DAY) is None
    assert covering(found.plans_of("other", "nd_1"), "", DAY) == Plan(
        "b", "", "nd_1", ("*",), date.min
    )
    assert found.changes() == [date.min, date(2026, 2, 1)]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("prices = 1", "prices: no such field"),
        ("price = 1", "price: want tables"),
        ("version = 1", "version: want one line"),
        ('reported_currency = "usd"', "reported_currency: want a currency"),
        ("x = [", "not valid TOML"),
        ("x = 1e99999999999999999999", "not valid TOML: a number has too many digits"),
        (f"x = {'9' * 5_000}", "not valid TOML: a number has too many digits"),
        ("[[price]]\nmodel = 1", "price 1: model: want one line"),
        ('[[price]]\nmodel = ""\nfrom = 2026-01-01', "price 1: model: want the name"),
        ('[[price]]\nmodel = "a*b"\nfrom = 2026-01-01', "price 1: model: want the name"),
        ('[[price]]\nmodel = "a"', "price 1: from: want the first day"),
        ('[[price]]\nmodel = "a"\nfrom = "2026-01-01"', "price 1: from: want the first day"),
        ('[[price]]\nmodel = "a"\nfrom = 2026-01-01T00:00:00', "price 1: from: want"),
        ('[[price]]\nmodel = "a"\nfrom = 2026-01-01\ninput = "3"', "price 1: input: want what"),
        ('[[price]]\nmodel = "a"\nfrom = 2026-01-01\ninput = -1', "price 1: input: want what"),
        ('[[price]]\nmodel = "a"\nfrom = 2026-01-01\ninput = nan', "price 1: input: want what"),
        ('[[price]]\nmodel = "a"\nfrom = 2026-01-01\ninput = inf', "price 1: input: want what"),
        ('[[price]]\nmodel = "a"\nfrom = 2026-01-01\ninput = true', "price 1: input: want what"),
        ('[[price]]\nmodel = "a"\nfrom = 2026-01-01\noutput = 1e-7', "output: want six decimals"),
        ('[[price]]\nmodel = "a"\nfrom = 2026-01-01\nin = 1', "price 1: in: no such field"),
        (
            '[[price]]\nmodel = "a"\nfrom = 2026-01-01\n[[price]]\nmodel = "A"\nfrom = 2026-01-01',
            "price 2: model: a has a price from 2026-01-01 already",
        ),
        ('[[plan]]\nname = "p"', "plan 1: account, node: want one of them"),
        ('[[plan]]\naccount = "a"', "plan 1: name: is missing"),
        ('[[plan]]\nname = "p"\nnode = "n"\nmodels = []', "plan 1: models: want a list"),
        ('[[plan]]\nname = "p"\nnode = "n"\nmodels = [1]', "plan 1: models: want the name"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(text: str, names: str) -> None:
    with pytest.raises(PriceError) as told:
        parse_prices(text)
    assert names in str(told.value)
