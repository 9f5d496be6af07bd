"""What usage costs: whole numbers that add up, whatever they are grouped by."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from holdfast.content.costs import Tally, month_of, periods, total_of
from holdfast.content.prices import Plan, Rates, parse_prices
from holdfast.content.records import UsageSum
from holdfast.wire.api.costs import Amount

DAY = date(2026, 11, 20)
RATES = Rates(
    parse_prices(
        'reported_currency = "USD"\n'
        '[[price]]\nmodel = "m"\nfrom = 2026-01-01\ninput = 3\noutput = 15\ncache_read = 0.3\n'
        '[[price]]\nmodel = "e"\nfrom = 2026-01-01\ncurrency = "EUR"\ninput = 0.000001\n'
    )
)
MAX = Plan("Max", "local", "", ("m",), date(2026, 11, 1))


def used(model: str = "m", *, reported: int = 0, **tokens: int) -> UsageSum:
    numbers = {"input": 0, "output": 0, "cache_read": 0, "cache_write": 0} | tokens
    return UsageSum(0, "", model, 1, 2, **numbers, reported=reported)


def tally(*sums: UsageSum, plans: tuple[Plan, ...] = ()) -> Tally:
    made = Tally()
    for each in sums:
        made.add(each, DAY, RATES, plans)
    return made


def usd(reported: int, estimated: int, currency: str = "USD") -> Amount:
    return Amount(
        currency=currency,
        micro=reported + estimated,
        reported_micro=reported,
        estimated_micro=estimated,
    )


def test_each_kind_of_tokens_has_its_price() -> None:
    found = tally(used(input=1_000_000, output=2, cache_read=10)).view()
    assert found.amounts == (usd(0, 3_000_000 + 30 + 3),)
    assert (found.turns, found.tool_calls, found.unpriced_tokens) == (1, 2, 0)


def test_what_has_no_price_is_counted_and_never_0() -> None:
    found = tally(used(cache_write=7), used("who", input=5)).view()
    assert (found.unpriced_tokens, found.amounts) == (12, ())


def test_what_was_reported_wins_and_is_told_apart() -> None:
    found = tally(used(input=10, reported=9), used(input=10), used("who", input=1, reported=1))
    assert found.view().amounts == (usd(10, 30),)
    assert found.view().unpriced_tokens == 0


def test_a_flat_rate_wins_over_both() -> None:
    found = tally(used(input=10, reported=9), used("who", input=1), plans=(MAX,)).view()
    assert (found.plan_tokens, found.plans, found.amounts) == (10, ("Max",), ())
    assert found.unpriced_tokens == 1


def test_currencies_are_never_added_up_and_sums_are_rounded_once() -> None:
    parts = [tally(used("e", input=400_000), used(input=1)) for _ in range(3)]
    assert [part.amounts()[0].micro for part in parts] == [0, 0, 0]
    assert total_of(parts).amounts() == (usd(0, 1, "EUR"), usd(0, 9))


@given(st.lists(st.tuples(st.sampled_from(["m", "e", "x"]), st.integers(0, 2**36)), max_size=20))
def test_sums_do_not_depend_on_their_grouping(given_sums: list[tuple[str, int]]) -> None:
    sums = [used(model, input=tokens) for model, tokens in given_sums]
    by_model = [tally(*(one for one in sums if one.model == name)) for name in "mex"]
    assert total_of(by_model).view() == tally(*sums).view() == total_of(map(tally, sums)).view()


def test_days_are_parted_where_a_price_changes() -> None:
    first, last = date(2026, 1, 1), date(2026, 1, 31)
    changes = [date(2025, 1, 1), first, date(2026, 1, 10), last, date(2026, 2, 1)]
    assert [*periods(changes, first, last)] == [
        (first, date(2026, 1, 9)), (date(2026, 1, 10), date(2026, 1, 30)), (last, last)
    ]  # fmt: skip
    assert [*periods([], first, first)] == [(first, first)]


def days(amounts: dict[int, int]) -> dict[date, Tally]:
    """Return tallies of dollars by how many days ago they were."""
    return {
        DAY - timedelta(days=ago): tally(used(reported=micro)) for ago, micro in amounts.items()
    }


def test_a_month_goes_on_with_the_mean_of_the_days_before() -> None:
    found = month_of(days({0: 40, 1: 100, 2: 200, 4: 100, 15: 7}), DAY)
    assert found.month == "2026-11"
    assert found.so_far == (usd(447, 0),)
    # 400 in four days, one of them without use; today comes to 100, and ten days are left.
    assert (found.days, found.projected) == (4, (usd(447 + 60 + 1_000, 0),))
    more = month_of(days({0: 500, 1: 100, 2: 100, 3: 100}), DAY)
    assert more.projected == (usd(800 + 1_000, 0),)


def test_a_month_before_this_one_counts_for_the_mean_alone() -> None:
    found = month_of(
        {day + timedelta(days=11): one for day, one in days({3: 9, 2: 9, 1: 9}).items()},
        date(2026, 12, 1),
    )
    assert (found.so_far, found.days, found.projected) == ((), 3, (usd(9 * 31, 0),))


def test_too_few_days_have_no_projection() -> None:
    found = month_of(days({0: 40, 1: 100, 2: 100}), DAY)
    assert (found.days, found.projected, found.so_far) == (2, (), (usd(240, 0),))
    assert month_of({}, DAY).projected == ()
