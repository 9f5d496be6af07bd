"""Opens the embedded stores of one data folder, and closes them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from holdfast.kernel.clock import Clock
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.holder import ACCOUNTS_FILE, JOURNAL_FILE
from holdfast.stores.duckdb.telemetry import DuckdbAnalytics
from holdfast.stores.sqlite.accounts import AccountsSqlite, open_accounts
from holdfast.stores.sqlite.contact import SqliteContacts
from holdfast.stores.sqlite.journal import SqliteJournal
from holdfast.stores.sqlite.journal_reader import SqliteReader

CONTACT_FILE: Final = "contact.db"
TELEMETRY_FILE: Final = "telemetry.duckdb"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The open stores of one plane."""

    journal: SqliteJournal
    reader: SqliteReader
    accounts: AccountsSqlite
    contacts: SqliteContacts
    analytics: DuckdbAnalytics


def open_stores(home: Path, settings: Settings, clock: Clock, closing: AsyncExitStack) -> Stores:
    """Open every store; each is pushed on `closing` as soon as it is open."""
    journal = SqliteJournal(home / JOURNAL_FILE, clock=clock)
    closing.push_async_callback(journal.close)
    reader = SqliteReader(home / JOURNAL_FILE)
    closing.push_async_callback(reader.close)
    accounts = open_accounts(home / ACCOUNTS_FILE, now_ms=clock.now_ms())
    closing.push_async_callback(accounts.close)
    contacts = SqliteContacts(home / CONTACT_FILE, clock=clock)
    closing.push_async_callback(contacts.close)
    analytics = DuckdbAnalytics(
        home / TELEMETRY_FILE,
        clock=clock,
        keep_days=settings.telemetry_days,
        memory_mb=settings.telemetry_memory_mb,
    )
    closing.push_async_callback(analytics.close)
    return Stores(
        journal=journal, reader=reader, accounts=accounts, contacts=contacts, analytics=analytics
    )
