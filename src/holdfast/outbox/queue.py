"""The durable queue of one folder: opened, written, read, set aside and renewed.

One connection per process, behind one lock; every write, checkpoint and close also holds the
folder's lock. Closed before a fork, because SQLite's table of locks would be copied without the
locks; reopened after it, and when the file was replaced. A damaged file, a full disk or a held lock
must reach the caller only as UnavailableError.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Final, TypeVar

from holdfast.kernel.clock import Clock
from holdfast.outbox import limits, recount, statements
from holdfast.outbox.counters import Counters
from holdfast.outbox.database import (
    BROKEN,
    DATABASE,
    MEMORY,
    DamagedError,
    Prepare,
    RenewedError,
    UnavailableError,
    circumstance,
    connect,
    damage,
    disk_full,
    nothing_to_prepare,
)
from holdfast.outbox.folder_lock import FolderLock, LockTimeoutError
from holdfast.outbox.ledger import Ledger
from holdfast.outbox.transaction import Transaction

LOCK: Final = "outbox.lock"
LEDGER: Final = "outbox.ledger"

T = TypeVar("T")

_INHERITED: Final[list[sqlite3.Connection]] = []
_IN_USE_AT_FORK: Final[set[int]] = set()
"""Inodes that this child's SQLite believes to be locked, as in the parent: not to be opened."""
_NOWHERE: Final = -1


def _keep_for_ever(connection: sqlite3.Connection) -> None:
    """Prevent a parent's connection from ever being closed in a child, even at its exit."""
    _INHERITED.append(connection)
    try:
        import ctypes  # noqa: PLC0415  # costs nothing without a fork

        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))
    except (ImportError, AttributeError):
        # A Python without ctypes: the list above keeps it until the very end, at least.
        return


def _unfinished(path: str) -> bool:
    """Return whether a damaged database was being replaced when its process ended."""
    return any(os.path.exists(f"{path}.salvage{suffix}") for suffix in ("", "-wal", "-journal"))


def _in_the_way(path: str) -> bool:
    """Return whether something that is not a file has the database's name."""
    return os.path.exists(path) and not os.path.isfile(path)


class Queue:
    """The queue of `folder`; nothing is touched before it is first used."""

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        durability: str,
        clock: Clock,
        chance: Callable[[int], bytes],
        prepare: Prepare = nothing_to_prepare,
    ) -> None:
        """`chance(n)` returns n random bytes, for the name of a new source."""
        self.folder = folder = os.fspath(folder)
        self.durability = durability
        self._path = None if durability == MEMORY else os.path.join(folder, DATABASE)
        kept = self._path is not None
        self.lock = FolderLock(os.path.join(folder, LOCK) if kept else None, clock)
        self._ledger = Ledger(os.path.join(folder, LEDGER) if kept else None)
        self._clock = clock
        self._chance = chance
        self._prepare = prepare
        self._connection: sqlite3.Connection | None = None
        self._inode = 0
        self._current: Transaction | None = None
        self._frozen_by = 0
        self._drops = 0
        self._failed_at_ms = float("-inf")
        self._failure = ""
        self._checkpointed_ms = float("-inf")
        self.quarantines = 0

    # ------------------------------------------------------------------ transactions

    @contextmanager
    def transaction(self, timeout_s: float = limits.LOCK_TIMEOUT_S) -> Iterator[Transaction]:
        """Hold one transaction; inside another one of the same thread, join it.

        Raise UnavailableError if the folder cannot be written: then nothing was. The block's own
        exceptions roll back and propagate.
        """
        with self._locked(timeout_s, limits.THREADS_QUEUE_S):
            if self._current is not None:
                yield self._current
                return
            current = self._begin()
            self._current = current
            try:
                yield current
                self._commit(current)
            except BaseException as error:
                self._roll_back(current, error)
                raise
            finally:
                self._current = None

    def exclusive(self) -> AbstractContextManager[None]:
        """Hold the folder's lock as a transaction does, for several; raise UnavailableError."""
        return self._locked(limits.LOCK_TIMEOUT_S, limits.THREADS_QUEUE_S)

    @contextmanager
    def _locked(self, timeout_s: float, queue_s: float | None = None) -> Iterator[None]:
        try:
            held = self.lock.held(timeout_s, queue_s=queue_s)
            held.__enter__()
        except (LockTimeoutError, OSError) as error:
            raise UnavailableError(f"{LOCK}: {error}") from error
        try:
            yield
        finally:
            held.__exit__(None, None, None)

    def _begin(self) -> Transaction:
        try:
            return self._begun(self._ready())
        except BROKEN as error:
            if isinstance(error, sqlite3.Error) and circumstance(error):
                raise UnavailableError(str(error)) from error
            renewed = self._renew(error)
        try:
            return self._begun(renewed)
        except BROKEN as error:
            raise UnavailableError(str(error)) from error

    def _begun(self, connection: sqlite3.Connection) -> Transaction:
        connection.execute("BEGIN IMMEDIATE")
        try:
            counters = recount.stored_counters(connection)
            if counters is None:
                raise DamagedError("the counts are gone")  # noqa: TRY301  # rolled back below
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        account = self._ledger.refresh()
        counters.dropped = max(counters.dropped, account.dropped) + self._drops
        current = Transaction(
            connection, counters, last_row=account.last_row, now_ms=self._clock.now_ms()
        )
        current.changed = self._drops > 0
        return current

    def _commit(self, current: Transaction) -> None:
        if self._current is not current:
            raise UnavailableError("forked inside this transaction: it is the parent's")
        connection, counters = current.connection, current.counters
        if not (current.changed or current.resolved):
            connection.execute("COMMIT")
            return
        account = self._ledger.account
        low = account.low
        if current.resolved or account.pending == 0:
            oldest = connection.execute(statements.OLDEST).fetchone()
            low = current.last_row + 1 if oldest is None else oldest[0]
        connection.execute(statements.META_WRITE, counters.row())
        connection.execute("COMMIT")
        self._ledger.write(counters.account(last_row=current.last_row, low=low))
        self._drops = 0

    def _roll_back(self, current: Transaction, error: BaseException) -> None:
        """Roll back; raise UnavailableError if the folder is the cause."""
        if self._current is not current:
            # A child that was forked inside: the rollback is the parent's.
            return
        try:
            if current.connection.in_transaction:
                current.connection.execute("ROLLBACK")
        except sqlite3.Error:
            # The connection is beyond use; report the first error.
            self._abandon()
        if isinstance(error, UnicodeDecodeError):
            broken = not self._sound()
            if not broken:
                return
        elif isinstance(error, sqlite3.Error | DamagedError):
            broken = isinstance(error, DamagedError) or damage(error)
        else:
            return
        if isinstance(error, sqlite3.Error) and not broken and not circumstance(error):
            return
        if broken:
            self._renew(error)
            raise RenewedError(str(error)) from error
        if isinstance(error, sqlite3.Error) and disk_full(error):
            self._free_space()
        raise UnavailableError(str(error)) from error

    def _sound(self) -> bool:
        """Return whether the database passes an integrity check."""
        if self._connection is None:
            return False
        try:
            verdict = self._connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
        except BROKEN:
            return False
        return bool(verdict == "ok")

    def _free_space(self) -> None:
        """Checkpoint the log into the database, which is much smaller; at intervals only."""
        now_ms = self._clock.steady_ms()
        if self._connection is None or now_ms - self._checkpointed_ms < limits.REOPEN_MS:
            return
        self._checkpointed_ms = now_ms
        # If even that has no room, another program must free some.
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def count_dropped(self, rows: int) -> None:
        """Count rows that could not be written; the caller may or may not hold the lock."""
        self._drops += rows
        if not rows:
            return
        try:
            with self._locked(0):
                account = self._ledger.refresh()
                self._ledger.write(account._replace(dropped=account.dropped + self._drops))
                self._drops = 0
        except UnavailableError:
            # Kept in memory, and written with the next transaction.
            return

    # ------------------------------------------------------------------ reading

    def read(
        self, look: Callable[[sqlite3.Connection], T], timeout_s: float = limits.LOCK_TIMEOUT_S
    ) -> T:
        """Return the result of `look`, without the folder's lock; raise UnavailableError.

        A damaged database is renewed, and read again.
        """
        try:
            with self.lock.mutex(timeout_s):
                connection = self._connection
                if connection is not None and self._still_there():
                    return look(connection)
        except LockTimeoutError as error:
            raise UnavailableError(str(error)) from error
        except BROKEN as error:
            if isinstance(error, sqlite3.Error) and circumstance(error):
                raise UnavailableError(str(error)) from error
            with self._locked(timeout_s):
                self._renew(error)
        with self._locked(timeout_s):
            try:
                return look(self._ready())
            except BROKEN as error:
                raise UnavailableError(str(error)) from error

    def counters(self) -> Counters:
        """Return the current counts, including drops not yet written."""
        counters = self.read(recount.stored_counters) or Counters("")
        account = self._ledger.account
        counters.dropped = max(counters.dropped, account.dropped) + self._drops
        counters.lost = max(counters.lost, account.lost)
        return counters

    def last_account(self) -> tuple[int, int, int]:
        """Return (pending, dropped, lost) as last known: for when the database cannot be read."""
        account = self._ledger.account
        return account.pending, account.dropped + self._drops, account.lost

    # ------------------------------------------------------------------ opening, renewing, closing

    def _ready(self) -> sqlite3.Connection:
        if self._connection is not None and self._still_there():
            return self._connection
        now_ms = self._clock.steady_ms()
        if now_ms - self._failed_at_ms < limits.REOPEN_MS:
            raise UnavailableError(self._failure)
        self._discard()
        try:
            self._connection = self._open()
        except (UnavailableError, OSError) as error:
            self._failed_at_ms, self._failure = now_ms, str(error)
            raise UnavailableError(str(error)) from error
        return self._connection

    def _still_there(self) -> bool:
        return self._path is None or self._inode_now() == self._inode

    def _inode_now(self) -> int:
        try:
            return 0 if self._path is None else os.stat(self._path).st_ino
        except OSError:
            return _NOWHERE

    def _open(self) -> sqlite3.Connection:
        if self._path is not None and _unfinished(self._path):
            from holdfast.outbox import salvage  # noqa: PLC0415  # as in _set_aside

            salvage.resume(self._path)
        if self._path is not None and _in_the_way(self._path):
            from holdfast.outbox import salvage  # noqa: PLC0415  # as in _set_aside

            salvage.set_aside(self._path)
        if _IN_USE_AT_FORK and self._path is not None and self._inode_now() in _IN_USE_AT_FORK:
            raise UnavailableError(f"{DATABASE}: was in use when this process was forked")
        try:
            connection = connect(self._path, self.durability, self._prepare)
        except DamagedError:
            return self._set_aside()
        try:
            return self._reconciled(connection)
        except BROKEN as error:
            connection.close()
            if isinstance(error, sqlite3.Error) and circumstance(error):
                raise UnavailableError(str(error)) from error
            return self._set_aside()

    def _reconciled(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        self._inode = self._inode_now()
        self._ledger.refresh()
        account = self._ledger.account if self._ledger.exact else None
        connection.execute("BEGIN IMMEDIATE")
        try:
            counters = recount.reconcile(
                connection, account, inode=self._inode, new_source=self._new_source
            )
            self._finish(connection, counters, account.last_row if account else 0)
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return connection

    def _finish(self, connection: sqlite3.Connection, counters: Counters, last_row: int) -> None:
        """Write the counters of a transaction that repaired, commit it, and update the ledger."""
        oldest = connection.execute(statements.OLDEST).fetchone()
        newest = connection.execute(statements.NEWEST_ROW).fetchone()[0] or 0
        last_row = max(newest, last_row)
        stored = connection.execute(statements.META_READ).fetchone()
        if stored is None or tuple(stored) != counters.row():
            connection.execute(statements.META_WRITE, counters.row())
        connection.execute("COMMIT")
        low = last_row + 1 if oldest is None else oldest[0]
        account = counters.account(last_row=last_row, low=low)
        if account != self._ledger.account or not self._ledger.exact:
            self._ledger.write(account)

    def _new_source(self) -> str:
        return self._chance(8).hex()

    def _renew(self, error: Exception) -> sqlite3.Connection:
        """Set a damaged database aside; return a new one. Holds the lock."""
        if self._path is None:
            raise UnavailableError(str(error)) from error
        # Another process may have renewed it already: then ours was merely the old file.
        renewed = self._connection is not None and not self._still_there()
        self._discard()
        try:
            self._connection = self._open() if renewed else self._set_aside()
        except OSError as failure:
            raise UnavailableError(f"{failure} (after: {error})") from failure
        return self._connection

    def _set_aside(self) -> sqlite3.Connection:
        # Rarely needed, and slow to import.
        from holdfast.outbox import salvage  # noqa: PLC0415

        assert self._path is not None
        self._ledger.refresh()
        account = self._ledger.account if self._ledger.exact else None
        target = salvage.begin(self._path)
        self.quarantines += 1
        found = salvage.read_out(target, last_row=account.last_row if account else 0)
        connection = None
        try:
            connection = connect(self._path, self.durability, self._prepare)
            self._inode = self._inode_now()
            connection.execute("BEGIN IMMEDIATE")
            counters = recount.refill(
                connection,
                found.rows,
                before=found.counters,
                account=account,
                inode=self._inode,
                new_source=self._new_source,
            )
            self._finish(connection, counters, account.last_row if account else 0)
            # On the disk, at every level, before the damaged one is given up.
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            salvage.finish(self._path)
        except (*BROKEN, UnavailableError, OSError) as error:
            # Nothing may be lost because there was no room to copy it: undo.
            if connection is not None:
                connection.close()
            salvage.put_back(target, self._path)
            raise UnavailableError(str(error)) from error
        return connection

    def repair(self) -> str:
        """Renew the database if it fails an integrity check."""
        with self._locked(limits.LOCK_TIMEOUT_S):
            before = self.quarantines
            self._ready()
            if not self._sound():
                self._renew(DamagedError("found damaged when looked at"))
            if self.quarantines == before:
                return f"{DATABASE}: sound"
            lost = self._ledger.account.lost
            return f"{DATABASE}: was damaged and is set aside; {lost} rows lost so far"

    def _abandon(self) -> None:
        """Drop a connection that cannot even be rolled back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            _INHERITED.append(connection)

    def _discard(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.close()
        except sqlite3.Error:
            # A damaged log may refuse to be closed; it is not used any more.
            _INHERITED.append(connection)

    def close(self, timeout_s: float = limits.LOCK_TIMEOUT_S) -> None:
        """Close; if the lock cannot be acquired in time, the connection is left to the system."""
        try:
            with self._locked(timeout_s):
                self._discard()
        except UnavailableError:
            self._abandon()
        self.lock.close()

    def before_fork(self, timeout_s: float) -> None:
        """Exclude the other threads and close the connection, waiting at most so long.

        An inherited connection makes the child's SQLite believe that it holds locks which only the
        parent has. One that this very thread is using stays open all the same.
        """
        if not self.lock.freeze(timeout_s):
            return
        self._frozen_by = threading.get_ident()
        if self._path is None or self._connection is None or self.lock.inside:
            return
        with suppress(UnavailableError), self._locked(timeout_s):
            self._discard()

    def after_fork(self) -> None:
        """Admit the other threads again, in the parent."""
        if self._frozen_by == threading.get_ident():
            self._frozen_by = 0
            self.lock.thaw()

    def forked(self) -> None:
        """Drop, in a child, what is the parent's: closing it could damage the parent's files."""
        frozen = self._frozen_by == threading.get_ident()
        self._frozen_by = 0
        inode = self._inode_now()
        if self._path is not None and inode != _NOWHERE and (self._connection or not frozen):
            _IN_USE_AT_FORK.add(inode)
        if self._connection is not None:
            _keep_for_ever(self._connection)
        self._connection = None
        self._current = None
        self._drops = 0
        self.lock.forked()

    # ------------------------------------------------------------------ the log

    def wal_bytes(self) -> int:
        """Return the size of the write-ahead log."""
        if self._path is None:
            return 0
        try:
            return os.stat(f"{self._path}-wal").st_size
        except OSError:
            return 0

    def checkpoint(self, timeout_s: float = limits.LOCK_TIMEOUT_S) -> None:
        """Move the log into the database and empty it; raise UnavailableError."""
        with self._locked(timeout_s):
            if self._current is not None:
                return
            try:
                self._ready().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            except sqlite3.Error as error:
                raise UnavailableError(str(error)) from error
