"""Every store of last contact keeps to the same words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from holdfast.kernel.clock import ManualClock
from holdfast.stores.memory.contact import MemoryContacts
from holdfast.stores.sqlite.contact import SqliteContacts
from holdfast.telemetry.contact import Contact, Report, new_contact
from holdfast.telemetry.counters import Boot
from holdfast.telemetry.ports import ContactStore
from holdfast.wire.controller.checkin import MachineStatus


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ContactStore]:
    made: ContactStore = (
        MemoryContacts()
        if request.param == "memory"
        else SqliteContacts(tmp_path / "contact.db", clock=ManualClock())
    )
    yield made
    await made.close()


def row(number: int) -> Contact:
    contact = new_contact(f"instance-{number:05d}", 60_000)
    contact.heard_ms = 1_700_000_000_000 + number
    contact.told_level = 1
    contact.told = contact.report = Report(agent_version="2026.9.6", twins=("a", "b"))
    contact.status = MachineStatus(
        uptime_seconds=0, load_avg_5m=0, last_error="an «error» with \x00 and 😀"
    )
    contact.ledger.bytes_in = 2**53 - 1
    contact.ledger.boots.append(Boot(id="boot", sequence=7, bytes_in=2**53 - 1))
    return contact


async def test_a_row_comes_back_as_it_was_saved(store: ContactStore) -> None:
    await store.save([row(1)])
    assert list(await store.load()) == [row(1)]


async def test_a_row_replaces_the_one_before(store: ContactStore) -> None:
    await store.save([row(1), row(2)])
    later = row(1)
    later.heard_ms += 5
    await store.save([later])
    assert list(await store.load()) == [later, row(2)]


async def test_a_saved_row_is_a_copy(store: ContactStore) -> None:
    contact = row(1)
    await store.save([contact])
    contact.ledger.bytes_in = 0
    assert list(await store.load()) == [row(1)]


async def test_batches_of_any_size_are_kept(store: ContactStore) -> None:
    rows = [row(number) for number in range(777)]
    await store.save(rows)
    await store.save([])
    assert list(await store.load()) == rows


async def test_forgotten_rows_are_gone_and_unknown_ones_no_error(store: ContactStore) -> None:
    await store.save([row(number) for number in range(5)])
    await store.forget(["instance-00001", "instance-00003", "never-there"])
    await store.forget([])
    assert [r.instance for r in await store.load()] == [
        "instance-00000",
        "instance-00002",
        "instance-00004",
    ]


async def test_a_closed_store_refuses(store: ContactStore) -> None:
    await store.close()
    with pytest.raises(RuntimeError, match="closed"):
        await store.save([row(1)])
    await store.close()


async def test_a_file_opened_again_has_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "contact.db"
    first = SqliteContacts(path, clock=ManualClock())
    await first.save([row(1)])
    await first.close()
    second = SqliteContacts(path, clock=ManualClock())
    assert list(await second.load()) == [row(1)]
    await second.close()
