"""Costs in words: rounded once, with their currency, and never 0 for what is not known."""

from __future__ import annotations

import pytest

from holdfast.wire.api.costs import Amount, Used
from holdfast.wire.money import amounts_text, cost_notes, cost_text, count_text, money_text


@pytest.mark.parametrize(
    ("micro", "currency", "text"),
    [
        (0, "USD", "$0.00"), (1, "USD", "< $0.01"), (9_999, "EUR", "< €0.01"),
        (10_000, "USD", "$0.01"), (1_234_567_890, "USD", "$1,234.57"),
        (405_000, "CHF", "0.41 CHF"), (994_999, "GBP", "£0.99"), (9, "CHF", "< 0.01 CHF"),
    ],
)  # fmt: skip
def test_money_is_rounded_to_hundredths(micro: int, currency: str, text: str) -> None:
    assert money_text(micro, currency) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0"), (999, "999"), (1_000, "1k"), (12_345, "12.3k"), (123_456, "123k"),
        (999_999, "999k"), (4_000_000, "4M"), (1_260_000_000, "1.2G"), (5 * 10**12, "5000G"),
    ],
)  # fmt: skip
def test_counts_are_cut_to_their_unit(count: int, text: str) -> None:
    assert count_text(count) == text


def used(*amounts: Amount, unpriced: int = 0, plan: int = 0) -> Used:
    return Used(
        turns=0, tool_calls=0, input=unpriced + plan, output=0, cache_read=0, cache_write=0,
        unpriced_tokens=unpriced, plan_tokens=plan, amounts=amounts,
        plans=("Max",) if plan else (),
    )  # fmt: skip


def amount(reported: int, estimated: int, currency: str = "USD") -> Amount:
    return Amount(
        currency=currency,
        micro=(reported + estimated) * 1_000_000,
        reported_micro=reported * 1_000_000,
        estimated_micro=estimated * 1_000_000,
    )


def test_what_a_cost_leaves_out_stands_beside_it() -> None:
    for found, text, notes in (
        (used(), "", ()),
        (used(unpriced=5), "no price", ()),
        (used(plan=5), "flat rate", ("5 tokens paid by Max",)),
        (used(unpriced=5, plan=5), "no price", ("5 tokens paid by Max",)),
        (used(amount(2, 0)), "$2.00", ("as reported",)),
        (used(amount(2, 1)), "$3.00", ("$2.00 reported",)),
        (used(amount(0, 1)), "$1.00", ()),
        (used(amount(0, 1), unpriced=5), "$1.00", ("without 5 tokens that have no price",)),
        (used(amount(0, 1, "EUR"), amount(2, 0)), "€1.00 + $2.00", ("$2.00 reported",)),
    ):
        assert (cost_text(found), cost_notes(found)) == (text, notes)
    assert amounts_text(()) == ""
