from __future__ import annotations

import pytest
from msgspec.structs import fields, replace

from holdfast.accounts import audit
from holdfast.accounts.records import AuditEntry, AuditRow


def chain(length: int) -> list[AuditRow]:
    rows: list[AuditRow] = []
    for n in range(length):
        before = rows[-1].hash if rows else audit.GENESIS
        rows.append(audit.link(before, n + 1, AuditEntry(at_ms=n, phase="begin", who="ada")))
    return rows


def test_an_untouched_chain_holds_and_can_be_checked_in_parts() -> None:
    rows = chain(10)
    assert audit.first_broken(rows) is None
    assert audit.first_broken(rows[4:], seq=4, before=rows[3].hash) is None
    assert audit.first_broken(rows[4:], seq=4, before=rows[2].hash) == 5


@pytest.mark.parametrize("name", [field.name for field in fields(AuditEntry)])
def test_a_changed_field_shows(name: str) -> None:
    rows = chain(5)
    old = getattr(rows[2].entry, name)
    new = "changed" if isinstance(old, str) or old is None else old + 1
    rows[2] = replace(rows[2], entry=replace(rows[2].entry, **{name: new}))
    assert audit.first_broken(rows) == 3


def test_a_row_that_was_rewritten_with_its_hash_shows_at_the_next() -> None:
    rows = chain(5)
    rows[2] = audit.link(rows[1].hash, 3, replace(rows[2].entry, who="eve"))
    assert audit.first_broken(rows) == 4


def test_missing_and_swapped_rows_show() -> None:
    rows = chain(5)
    assert audit.first_broken(rows[:2] + rows[3:]) == 4
    assert audit.first_broken([rows[0], rows[2], rows[1], *rows[3:]]) == 3
