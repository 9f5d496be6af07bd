"""Words of corrections: spread over tables, found newest first, each search within its time."""

from __future__ import annotations

import random
from collections.abc import Iterator

import apsw
import pytest

from holdfast.corrections.ports import CorrectionQuery
from holdfast.stores.sqlite import corrections_words
from holdfast.stores.sqlite.corrections_words import WordTables

SHOW = "SELECT value FROM json_each(:nos) WHERE value % :brain = 0 ORDER BY value DESC LIMIT :limit"
"""Stands for the statement of the store: of the filters it has one, by what divides a number."""

SPLIT = 21


@pytest.fixture
def connection(monkeypatch: pytest.MonkeyPatch) -> Iterator[apsw.Connection]:
    monkeypatch.setattr(corrections_words, "SPAN_BITS", 4)
    monkeypatch.setattr(corrections_words, "SCAN_ROWS", 5)
    made = apsw.Connection(":memory:")
    made.execute(corrections_words.MAKE.format(table="words"))
    yield made
    made.close()


def fill(connection: apsw.Connection, tables: WordTables) -> dict[int, str]:
    chance = random.Random(5)
    texts = {no: " ".join(chance.sample(["the", "then", "cat", "dog"], 2)) for no in range(1, 100)}
    tables.add(connection, [(no, text, "", "") for no, text in texts.items()])
    return texts


def search(
    connection: apsw.Connection, tables: WordTables, words: str, *, every: int = 1, limit: int = 7
) -> tuple[list[int], int]:
    """Return what all pages of a search show, and how many there were."""
    found: list[int] = []
    below, pages = 1_000, 0
    while below:
        query = CorrectionQuery(None, below, limit, brain=every, words=words)
        values = {"brain": every}
        rows, following = tables.search(connection, query, SHOW, values)
        assert following < below, "each page goes on"
        found += [row[0] for row in rows]
        below, pages = following, pages + 1
    return found, pages


@pytest.mark.parametrize("split", [0, SPLIT, 1_000])
@pytest.mark.parametrize("search_s", [-1.0, 60.0])
def test_pages_show_all_that_matches_newest_first(
    connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch, split: int, search_s: float
) -> None:
    monkeypatch.setattr(corrections_words, "SEARCH_S", search_s)
    tables = WordTables(split)
    texts = fill(connection, tables)
    for words, parts in (
        ('"the" *', ["the"]),
        ('"cat" "dog" *', ["cat", "dog"]),
        ('"bird" *', ["bird"]),
    ):
        for every in (1, 3, 101):
            found, _ = search(connection, tables, words, every=every)
            matching = [
                no
                for no, text in texts.items()
                if all(one in text for one in parts) and no % every == 0
            ]
            assert found == sorted(matching, reverse=True), (words, every)


def test_a_search_ends_with_the_table_that_it_is_at_when_its_time_is_over(
    connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = WordTables(0)
    fill(connection, tables)
    monkeypatch.setattr(corrections_words, "SEARCH_S", -1.0)
    assert search(connection, tables, '"bird" *') == ([], 7), "one page for each table"
    monkeypatch.setattr(corrections_words, "SEARCH_S", 60.0)
    assert search(connection, tables, '"bird" *') == ([], 1)


def test_words_are_dropped_where_they_are_and_tables_with_the_last_of_theirs(
    connection: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(corrections_words, "SEARCH_S", 60.0)
    tables = WordTables(SPLIT)
    fill(connection, tables)
    for no in (3, 40, 99):
        tables.drop(connection, no)
        tables.add(connection, [(no, "bird", "", "")])
    assert search(connection, tables, '"bird" *')[0] == [99, 40, 3]
    tables.drop_below(connection, 47)
    assert search(connection, tables, '"bird" *')[0] == [99, 40, 3]
    tables.drop_below(connection, 48)
    assert search(connection, tables, '"bird" *')[0] == [99, 3]
