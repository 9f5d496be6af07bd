"""Tables at every width: nothing is squeezed, what does not fit is wrapped or left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.cli.output import ago, short_ids
from holdfast.cli.tables import Column, lay_out

COLUMNS = (
    Column("id"),
    Column("name"),
    Column("status"),
    Column("restarts", drop=1),
    Column("why", drop=2, least=12),
)
ROWS = (
    ("233c33bb", "demo", "running", "0", "it is running, as it should be"),
    ("9f00aa11", "a-rather-long-name", "provisioned", "12", ""),
)


def plain(_bare: str, text: str) -> str:
    return text


def table(width: int, rows: tuple[tuple[str, ...], ...] = ROWS) -> list[str]:
    return lay_out(COLUMNS, rows, width=width, paint=plain)


def test_a_wide_table_is_one_line_a_row() -> None:
    lines = table(200)
    assert len(lines) == 2 + len(ROWS)
    assert lines[0].split() == ["id", "name", "status", "restarts", "why"]
    assert lines[2].endswith("it is running, as it should be")


def test_text_is_wrapped_at_words_before_anything_is_left_out() -> None:
    lines = table(70)
    assert lines[0].split() == ["id", "name", "status", "restarts", "why"]
    assert max(map(len, lines)) <= 70
    assert "running, as" in "\n".join(lines) or "it is running" in "\n".join(lines)
    assert len(lines) > 2 + len(ROWS)


def test_columns_go_in_their_order_and_those_that_matter_stay() -> None:
    assert table(56)[0].split() == ["id", "name", "status", "restarts"]
    assert table(46)[0].split() == ["id", "name", "status"]
    assert table(10)[0].split() == ["id", "name", "status"]


def test_a_column_in_which_nothing_stands_is_not_shown() -> None:
    rows = (("1", "2", "3", "4", ""),)
    assert table(80, rows)[0].split() == ["id", "name", "status", "restarts"]


@given(st.integers(min_value=20, max_value=200), st.lists(st.text(min_size=1, max_size=30)))
def test_words_of_fixed_columns_are_never_broken(width: int, names: list[str]) -> None:
    rows = tuple(
        ("id", "".join(name.split()) or "x", "provisioned", "1", "some words here")
        for name in names
    )
    if not rows:
        return
    shown = "\n".join(table(width, rows))
    assert shown.count("provisioned") == len(rows)


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        ((), {}),
        (("abcdefghij",), {"abcdefghij": "abcdefgh"}),
        (("abcdefgh11", "abcdefgh22"), {"abcdefgh11": "abcdefgh11", "abcdefgh22": "abcdefgh22"}),
        (("short",), {"short": "short"}),
    ],
)
def test_short_ids_tell_things_apart(ids: tuple[str, ...], wanted: dict[str, str]) -> None:
    assert short_ids(ids) == wanted


def test_times_are_told_in_words() -> None:
    assert ago(None) == "never"
    assert ago("2020-01-01T00:00:00+00:00").endswith(" d ago")
    assert ago("2999-01-01T00:00:00+00:00").startswith("in ")
