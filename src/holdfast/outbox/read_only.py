"""Reads a database in a folder that cannot be written: a disk that is full or read-only, no rights.

SQLite reads a write-ahead log only through shared memory, a file that it makes beside it. Where
that cannot be made, the database is read without its log if that is empty, else from a copy in a
temporary folder, else as of its last checkpoint. Nothing in the folder is changed.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

from holdfast.outbox.database import BROKEN, UnavailableError

T = TypeVar("T")

_TRIES: Final = 3
_BUSY_S: Final = 1.0
_MEMORY_DISK: Final = "/dev/shm"  # noqa: S108  # has room where the disk has none


def look(path: str | os.PathLike[str], work: Callable[[sqlite3.Connection], T]) -> T:
    """Return the result of `work` on the database at `path`; raise UnavailableError."""
    file = Path(os.path.abspath(path))
    failed: Exception | None = None
    for way in (_plainly, _without_log, _copied, _checkpointed):
        try:
            for connection in way(file):
                with closing(connection):
                    return work(connection)
        except (OSError, *BROKEN) as error:
            # The first way's error is the reason; the others are only tried because of it.
            failed = failed or error
    raise UnavailableError(f"{file.name}: {failed}") from failed


def _opened(file: Path, options: str) -> sqlite3.Connection:
    return sqlite3.connect(f"{file.as_uri()}?{options}", uri=True, timeout=_BUSY_S)


def _plainly(file: Path) -> Iterator[sqlite3.Connection]:
    yield _opened(file, "mode=ro")


def _without_log(file: Path) -> Iterator[sqlite3.Connection]:
    if not _size(_log_of(file)):
        yield _opened(file, "mode=ro&immutable=1")


def _copied(file: Path) -> Iterator[sqlite3.Connection]:
    """Copy the database with its log; once more if another process wrote meanwhile."""
    for folder in (None, _MEMORY_DISK):
        try:
            with tempfile.TemporaryDirectory(prefix="holdfast-", dir=folder) as scratch:
                copy = Path(scratch) / file.name
                for _ in range(_TRIES):
                    before = _stamp(file)
                    shutil.copyfile(file, copy)
                    shutil.copyfile(_log_of(file), _log_of(copy))
                    if _stamp(file) == before:
                        break
                yield _opened(copy, "mode=rw")
        except OSError:
            continue


def _checkpointed(file: Path) -> Iterator[sqlite3.Connection]:
    yield _opened(file, "mode=ro&immutable=1")


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def _stamp(file: Path) -> tuple[int, ...]:
    about = [os.stat(part) for part in (file, _log_of(file))]
    return tuple(value for one in about for value in (one.st_ino, one.st_mtime_ns, one.st_size))


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
