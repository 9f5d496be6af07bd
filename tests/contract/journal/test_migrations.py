"""The journal from each earlier version, with data, is the journal that is made new."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from holdfast.stores.migrate import Migration, MigrationError, migrate, shipped
from holdfast.stores.sqlite import MIGRATIONS

ALL = shipped(MIGRATIONS / "journal")
VALUES = {"INTEGER": 7, "BIGINT": 7, "TEXT": "text", "BLOB": b"blob"}


def tables(connection: apsw.Connection) -> list[str]:
    found = connection.execute(
        "SELECT name FROM sqlite_schema"
        " WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY 1"
    )
    return [str(name) for (name,) in found]


def schema(connection: apsw.Connection) -> list[tuple[object, ...]]:
    """Columns and indexes as they are, however they came about."""
    return [
        (table, *row)
        for table in tables(connection)
        for pragma in ("table_xinfo", "index_list")
        for row in sorted(connection.execute(f"SELECT * FROM pragma_{pragma}('{table}')"), key=str)
    ]


def fill(connection: apsw.Connection) -> dict[str, int]:
    """Add a row to each table, whatever its columns are, and count rows."""
    counts = {}
    for table in tables(connection):
        if table != "migrations":
            columns = connection.execute(f"SELECT name, type FROM pragma_table_info('{table}')")
            names, kinds = zip(*columns, strict=True)
            marks = ", ".join("?" * len(names))
            connection.execute(
                f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})",
                [VALUES[kind] for kind in kinds],
            )
            counts[table] = connection.execute(f"SELECT count(*) FROM {table}").get
    return counts


@pytest.mark.parametrize("version", range(1, len(ALL) + 1))
def test_each_version_with_data_becomes_the_newest(version: int) -> None:
    old, new = apsw.Connection(":memory:"), apsw.Connection(":memory:")
    assert migrate(old, ALL[:version], now_ms=1) == version
    counts = fill(old)
    assert len(counts) > 5
    assert migrate(old, ALL, now_ms=2) == len(ALL) - version
    assert migrate(new, ALL, now_ms=2) == len(ALL)
    assert schema(old) == schema(new)
    for table in set(tables(new)) & set(counts):
        assert old.execute(f"SELECT count(*) FROM {table}").get >= counts[table]
    assert old.execute("PRAGMA integrity_check").get == "ok"
    assert migrate(old, ALL, now_ms=3) == 0


def test_a_change_of_what_was_applied_is_found() -> None:
    connection = apsw.Connection(":memory:")
    migrate(connection, ALL, now_ms=1)
    changed = [*ALL[:-1], ALL[-1]._replace(sql=ALL[-1].sql + "-- once more")]
    with pytest.raises(MigrationError, match="changed after it was applied"):
        migrate(connection, changed, now_ms=2)


def test_a_newer_database_is_refused() -> None:
    connection = apsw.Connection(":memory:")
    newer = Migration(len(ALL) + 1, "9999_pre_new.sql", "CREATE TABLE new (a INTEGER)")
    migrate(connection, [*ALL, newer], now_ms=1)
    with pytest.raises(MigrationError, match=r"newer code.*9999_pre_new"):
        migrate(connection, ALL, now_ms=2)


def test_a_migration_that_fails_leaves_nothing_of_itself() -> None:
    connection = apsw.Connection(":memory:")
    bad = Migration(len(ALL) + 1, "bad", "CREATE TABLE half (a INTEGER); SELECT * FROM nowhere")
    with pytest.raises(apsw.SQLError):
        migrate(connection, [*ALL, bad], now_ms=1)
    assert "half" not in tables(connection)
    assert migrate(connection, ALL, now_ms=2) == 0


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("0001_pre_a.sql", "0003_pre_c.sql"), "without a gap"),
        (("0001_pre_a.sql", "0001_post_b.sql"), "without a gap"),
        (("1_a.sql",), "name it"),
    ],
)
def test_files_are_numbered_without_a_gap(
    tmp_path: Path, names: tuple[str, ...], message: str
) -> None:
    (tmp_path / "x").mkdir()
    for name in names:
        (tmp_path / "x" / name).write_text("SELECT 1")
    with pytest.raises(MigrationError, match=message):
        shipped(tmp_path / "x")


def test_every_migration_that_landed_is_there_and_does_what_it_is_for() -> None:
    names = [migration.name for migration in ALL]
    assert names[:3] == [
        "0001_pre_schema.sql",
        "0002_pre_pairings_of_gone_instances.sql",
        "0003_pre_bodies_of_keys.sql",
    ]
    journal = apsw.Connection(":memory:")
    assert migrate(journal, ALL[:1], now_ms=1) == 1
    assert "key_bodies" not in tables(journal)
    columns = journal.execute("SELECT name, type FROM pragma_table_info('view_rows')").fetchall()
    for view, key in (("pairing", "gone"), ("pairing", "lives"), ("instance", "lives")):
        row = {str(name): VALUES[str(kind)] for name, kind in columns}
        row |= {"view": view, "key": key, "account": "acme"}
        marks = ", ".join(f":{name}" for name in row)
        journal.execute(f"INSERT INTO view_rows ({', '.join(row)}) VALUES ({marks})", row)
    assert migrate(journal, ALL, now_ms=2) == len(ALL) - 1
    told = journal.execute("SELECT actor, CAST(body AS TEXT) FROM events").fetchall()
    assert told == [
        ("pairing/gone", '{"type":"PairingInstanceGone","account":"acme"}'),
    ]
    assert "key_bodies" in tables(journal)
