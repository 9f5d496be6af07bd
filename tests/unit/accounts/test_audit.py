from __future__ import annotations

import pytest
from msgspec.structs import fields, replace

from holdfast.accounts import audit
from holdfast.accounts.records import AuditEntry, AuditRow, ChainEnd, KeptHead


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


def forged(rows: list[AuditRow], at: int, *, through: int) -> list[AuditRow]:
    """Return the rows with row `at` changed, and the hashes of it to row `through` made to fit."""
    made = list(rows)
    for seq in range(at, through + 1):
        who = "eve" if seq == at else made[seq - 1].entry.who
        entry = replace(made[seq - 1].entry, who=who)
        made[seq - 1] = audit.link(made[seq - 2].hash if seq > 1 else audit.GENESIS, seq, entry)
    return made


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("through", [3, 4])
def test_a_row_forged_with_its_successors_shows_at_the_first_that_was_left(
    at: int, through: int
) -> None:
    rows = forged(chain(5), at, through=through)
    assert audit.first_broken(rows[:through]) is None, "what was forged must fit by itself"
    assert audit.first_broken(rows) == through + 1


def test_a_hash_or_a_link_changed_alone_shows() -> None:
    rows = chain(5)
    assert audit.first_broken([*rows[:2], replace(rows[2], hash="f" * 64), *rows[3:]]) == 3
    assert audit.first_broken([*rows[:2], replace(rows[2], before="f" * 64), *rows[3:]]) == 3
    assert audit.first_broken([replace(rows[0], before=rows[4].hash), *rows[1:]]) == 1


def test_a_chain_forged_to_its_end_fits_by_itself_and_not_to_the_head_that_was_kept() -> None:
    rows = chain(5)
    kept = KeptHead(last=ChainEnd(5, rows[-1].hash))
    made = forged(rows, 2, through=5)
    assert audit.first_broken(made) is None
    last = ChainEnd(5, made[-1].hash)
    assert "row 5 was the last one once" in audit.head_fault(last, kept, made[-1].hash)
    assert audit.head_fault(ChainEnd(5, rows[-1].hash), kept, rows[-1].hash) == ""


def test_a_tail_that_was_cut_off_shows_by_the_head_that_was_kept() -> None:
    kept = KeptHead(last=ChainEnd(5, chain(5)[-1].hash))
    for left in range(5):
        rows = chain(left)
        assert audit.first_broken(rows) is None
        last = ChainEnd(left, rows[-1].hash if rows else audit.GENESIS)
        assert f"rows {left + 1} to 5 are missing" in audit.head_fault(last, kept, "")


def test_a_beginning_that_was_cut_off_shows_unless_a_purge_did_it() -> None:
    rows = chain(5)
    purged = ChainEnd(2, rows[1].hash)
    kept = KeptHead(last=ChainEnd(5, rows[-1].hash), purged=purged)
    assert audit.anchor_fault(purged, kept) == ""
    assert audit.anchor_fault(ChainEnd(), kept) == "", "the purge was noted and did not happen yet"
    assert "purged up to 2 only" in audit.anchor_fault(ChainEnd(3, rows[2].hash), kept)
    assert "another hash" in audit.anchor_fault(ChainEnd(2, rows[2].hash), kept)


def test_missing_and_swapped_rows_show() -> None:
    rows = chain(5)
    for gone in range(4):
        assert audit.first_broken(rows[:gone] + rows[gone + 1 :]) == gone + 2
    for at in range(4):
        swapped = [*rows[:at], rows[at + 1], rows[at], *rows[at + 2 :]]
        assert audit.first_broken(swapped) == at + 2
        renumbered = [replace(row, seq=n) for n, row in enumerate(swapped, 1)]
        assert audit.first_broken(renumbered) == at + 1
