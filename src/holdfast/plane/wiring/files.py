"""Opens the embedded stores of one data folder, moves damaged files aside, and closes them.

Last contact and charts may be lost: check-ins restore the first, and the second is only history. So
if their file is damaged, or locked by another program, it is moved aside and a new one begun, with
a logged error. Any other store is never touched: the error names its file and what to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import apsw
import duckdb
import msgspec

from holdfast.disk.durable_file import move
from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.kernel.liveness import Vital
from holdfast.kernel.log import Log
from holdfast.plane.backup.manifest import BackupError
from holdfast.plane.backup.marker import MARKER, read_marker
from holdfast.plane.key_folder import prepare_keys
from holdfast.plane.settings import Settings
from holdfast.plane.wiring.holder import (
    ACCOUNTS_FILE,
    CONTENT_FILE,
    CORRECTIONS_FILE,
    JOURNAL_FILE,
    TOWNS_FILE,
)
from holdfast.plane.wiring.part import Part
from holdfast.stores.duckdb.telemetry import DuckdbAnalytics
from holdfast.stores.duckdb.ticks import DuckdbTicks
from holdfast.stores.migrate import MigrationError
from holdfast.stores.sqlite.accounts import AccountsSqlite, open_accounts
from holdfast.stores.sqlite.contact import SqliteContacts
from holdfast.stores.sqlite.database import DAMAGE, find_damage
from holdfast.stores.sqlite.journal import SqliteJournal
from holdfast.stores.sqlite.journal_reader import SqliteReader
from holdfast.stores.sqlite.towns import TownsSqlite, open_towns
from holdfast.wire.api.plane import DoctorCheck
from holdfast.wire.limits import REASON_MAX

KEPT_FILES: Final = (JOURNAL_FILE, ACCOUNTS_FILE, CORRECTIONS_FILE, CONTENT_FILE, TOWNS_FILE)
"""The files that cannot be lost."""
CONTACT_FILE: Final = "contact.db"
TELEMETRY_FILE: Final = "telemetry.duckdb"
TICKS_FILE: Final = "town_ticks.duckdb"

CHECK_S: Final = 10.0
"""How long the doctor looks through one file at most, in seconds."""

_BESIDE: Final = ("-wal", "-shm", ".wal", ".spill")
"""What SQLite and DuckDB keep beside a file."""

_UNREADABLE: Final = (apsw.Error, duckdb.Error, msgspec.MsgspecError, OSError)

T = TypeVar("T")


class StoreError(Exception):
    """A store that cannot be lost cannot be opened; `fix` says what to do."""

    def __init__(self, path: Path, error: Exception, *, fix: str) -> None:
        """Name the file and what is wrong with it."""
        super().__init__(f"{path}: {type(error).__name__}: {error}")
        self.fix = fix


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """The open stores of one plane; `moved` says which files were moved aside at the start."""

    journal: SqliteJournal
    reader: SqliteReader
    accounts: AccountsSqlite
    towns: TownsSqlite
    contacts: SqliteContacts
    analytics: DuckdbAnalytics
    ticks: DuckdbTicks
    moved: list[str] = field(default_factory=list[str])

    def vitals(self) -> Iterator[Vital]:
        """Yield the threads that write."""
        for store in (self.journal, self.accounts, self.towns, self.contacts):
            yield store.vital()

    def troubles(self) -> Iterator[str]:
        """Yield what is wrong with files; what was moved aside stays until the next start."""
        yield from self.moved
        for name, trouble in (
            (JOURNAL_FILE, self.journal.trouble),
            (ACCOUNTS_FILE, self.accounts.trouble),
            (TOWNS_FILE, self.towns.trouble),
            (CONTACT_FILE, self.contacts.trouble),
            (TELEMETRY_FILE, self.analytics.trouble),
            (TICKS_FILE, self.ticks.trouble),
        ):
            if str(trouble):
                yield f"{name}: {trouble}"


def open_stores(
    home: Path, settings: Settings, clock: Clock, closing: AsyncExitStack, log: Log
) -> Stores:
    """Open every store; each is given to `closing` as soon as it is open. Raise StoreError."""
    try:
        read_marker(home)
    except BackupError as error:
        raise StoreError(home / MARKER, error, fix=error.fix) from error
    moved: list[str] = []
    aside = partial(_open_or_begin_anew, clock=clock, log=log, moved=moved)
    journal = open_kept(home / JOURNAL_FILE, lambda path: SqliteJournal(path, clock=clock))
    closing.push_async_callback(journal.close)
    reader = SqliteReader(home / JOURNAL_FILE, trouble=journal.trouble)
    closing.push_async_callback(reader.close)
    accounts = open_kept(
        home / ACCOUNTS_FILE,
        lambda path: open_accounts(path, now_ms=clock.now_ms(), head_in=prepare_keys(settings)),
    )
    closing.push_async_callback(accounts.close)
    towns = open_kept(home / TOWNS_FILE, lambda path: open_towns(path, now_ms=clock.now_ms()))
    closing.push_async_callback(towns.close)
    contacts = aside(home / CONTACT_FILE, lambda path: SqliteContacts(path, clock=clock))
    closing.push_async_callback(contacts.close)
    analytics = aside(
        home / TELEMETRY_FILE,
        lambda path: DuckdbAnalytics(
            path,
            clock=clock,
            keep_days=settings.telemetry_days,
            memory_mb=settings.telemetry_memory_mb,
        ),
    )
    closing.push_async_callback(analytics.close)
    ticks = aside(
        home / TICKS_FILE,
        lambda path: DuckdbTicks(
            path,
            clock=clock,
            keep_days=settings.town_tick_days,
            minutes_days=settings.telemetry_days,
            memory_mb=settings.telemetry_memory_mb,
        ),
    )
    closing.push_async_callback(ticks.close)
    return Stores(
        journal=journal,
        reader=reader,
        accounts=accounts,
        towns=towns,
        contacts=contacts,
        analytics=analytics,
        ticks=ticks,
        moved=moved,
    )


def open_kept(path: Path, make: Callable[[Path], T]) -> T:
    """Open a store that cannot be lost; raise StoreError, which says what to do."""
    try:
        return make(path)
    except MigrationError as error:
        raise StoreError(path, error, fix=error.fix) from error
    except _UNREADABLE as error:
        raise StoreError(path, error, fix=_fix_of(path, error)) from error


def _fix_of(path: Path, error: Exception) -> str:
    """Return what to do about a store that cannot be opened."""
    if isinstance(error, DAMAGE):
        return (
            f"restore {path.name} from a backup with all of the data folder, or try"
            f" sqlite3 {path} .recover; keep the damaged file"
        )
    if isinstance(error, apsw.BusyError):
        return f"another program holds {path.name}: end it (fuser {path} names it)"
    return f"see that {path} is a file of this user, on a disk with room"


def _open_or_begin_anew(
    path: Path, make: Callable[[Path], T], *, clock: Clock, log: Log, moved: list[str]
) -> T:
    """Open a store that can be lost; one that cannot be opened is moved aside and begun anew."""
    try:
        return make(path)
    except MigrationError as error:
        raise StoreError(path, error, fix=error.fix) from error
    except _UNREADABLE as error:
        try:
            kept = _move_aside(path, now_ms=clock.now_ms())
            made = make(path)
        except _UNREADABLE as second:
            raise StoreError(path, second, fix=_fix_of(path, second)) from error
        reason = f"{type(error).__name__}: {error}"
        log.error("store.begun_anew", file=path.name, kept=kept.name, reason=reason)  # noqa: TRY400  the port
        moved.append(f"{path.name} could not be read and was begun anew; the old one is {kept}")
        return made


def _move_aside(path: Path, *, now_ms: int) -> Path:
    """Rename a file, and what belongs to it, by the time; return its new name."""
    when = datetime.fromtimestamp(now_ms / SECOND_MS, UTC).strftime("%Y%m%dT%H%M%S")
    kept = path.with_name(f"{path.name}.damaged-{when}")
    number = 1
    while kept.exists():
        number += 1
        kept = path.with_name(f"{path.name}.damaged-{when}-{number}")
    for beside in ("", *_BESIDE):
        one = path.with_name(path.name + beside)
        if one.exists():
            move(one, kept.with_name(kept.name + beside))
    return kept


def stores_part(home: Path, stores: Stores) -> Part:
    """Return the part that watches the files: threads, troubles, and the doctor's check."""

    async def check_stores() -> DoctorCheck:
        wrong = list(stores.troubles())
        wrong += await asyncio.to_thread(lambda: list(damaged_files(home)))
        for name, store in ((TELEMETRY_FILE, stores.analytics), (TICKS_FILE, stores.ticks)):
            if charts := await store.find_damage():
                wrong.append(f"{name}: {charts}")
        return stores_check(wrong, only_moved=wrong == stores.moved)

    return Part(
        name="stores",
        vitals=stores.vitals,
        troubles=stores.troubles,
        checks=(check_stores,),
    )


def damaged_files(home: Path) -> Iterator[str]:
    """Yield what SQLite finds wrong with the files of a data folder; it only reads them."""
    for name in (*KEPT_FILES, CONTACT_FILE):
        path = home / name
        if not path.exists():
            continue
        try:
            found = find_damage(path, within_s=CHECK_S)
        except apsw.Error as error:
            found = f"{type(error).__name__}: {error}"
        if found:
            yield f"{name}: {found}"


def stores_check(wrong: list[str], *, only_moved: bool) -> DoctorCheck:
    """Return the doctor's word about files of which `wrong` is known."""
    if not wrong:
        return DoctorCheck(name="stores", result="ok", message="no damage found in any file")
    fix = "restore the file from a backup, or make room for it; then restart the plane"
    if only_moved:
        fix = "look at the disk; restart the plane to acknowledge it, and delete the old file"
    return DoctorCheck(
        name="stores",
        result="warning" if only_moved else "failed",
        message="; ".join(wrong)[:REASON_MAX],
        fix=fix,
    )
