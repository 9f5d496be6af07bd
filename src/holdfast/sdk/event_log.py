"""events.jsonl: the record as lines of text, for people and their tools.

It is derived: the database is authoritative, this file is written after it, off the caller's
thread, and can be rebuilt from it. A torn last line, a missing or truncated file: the next write
corrects what follows the last valid line of ours. Lines of another program are left alone.
"""

from __future__ import annotations

import _sqlite3 as sqlite3
import fcntl
import os
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from holdfast.disk.durable_file import sync_file, sync_names, write_file
from holdfast.outbox.database import UnavailableError
from holdfast.sdk import limits, schema
from holdfast.sdk.lazy_modules import Later

if TYPE_CHECKING:
    from holdfast.sdk import identity, record
    from holdfast.sdk.record import Event
else:
    identity, record = Later("identity"), Later("record")

LOG: Final = "events.jsonl"
_TRIES: Final = 25
_TRY_S: Final = 0.02
Reader = Callable[[Callable[[sqlite3.Connection], "list[Event]"]], "list[Event]"]
"""Runs a query on the database: `Outbox.read`."""


def line_of(event: Event) -> str:
    """Return one line: the fields other tools use, and `n`, its number in the database."""
    import json  # noqa: PLC0415  # the thread's business, not the import's

    head = json.dumps(
        {
            "n": event.id,
            "event_id": event.event_id,
            "ts": identity.time_of(event.at_ms),
            "session": event.session,
            "type": event.type,
            "source": event.source,
        },
        separators=(",", ":"),
        ensure_ascii=False,
    )
    return f'{head[:-1]},"data":{event.data},"tags":{event.tags}}}\n'


class EventLog:
    """Writes the log of one folder; any number of processes may, one at a time."""

    def __init__(self, folder: str, read: Reader, *, may_start: Callable[[], bool]) -> None:
        """Read events with `read`; `may_start` returns whether a thread may be started now."""
        self._path = os.path.join(folder, LOG)
        self._read = read
        self._may_start = may_start
        self._thread: threading.Thread | None = None
        self._poked = threading.Event()
        self._stopping = threading.Event()
        self._pid = os.getpid()
        # The last known state of the file: (inode, size, number of the last event in it).
        self._place = (0, -1, 0)

    def poke(self) -> None:
        """Schedule a write on a background thread."""
        if self._pid != os.getpid():
            self._forget_parent()
        if self._poked.is_set():
            return
        thread = self._thread
        if thread is None or not thread.is_alive():
            if self._stopping.is_set() or not self._may_start():
                return
            thread = threading.Thread(target=self._run, name="holdfast-log", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                # No threads any more: closing, or the next open, writes what is missing.
                return
            self._thread = thread
        self._poked.set()

    def _forget_parent(self) -> None:
        self._pid = os.getpid()
        self._thread = None
        self._poked = threading.Event()
        self._stopping = threading.Event()
        self._place = (0, -1, 0)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._poked.wait()
            # Events within a moment are written together.
            self._stopping.wait(limits.LOG_QUIET_S)
            self._poked.clear()
            self.catch_up()

    def stop(self) -> None:
        """End the thread, and write what is missing."""
        self._stopping.set()
        self._poked.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)
        self.catch_up()

    def catch_up(self) -> str:
        """Write every event that is not in the file yet; return what prevented it, if anything."""
        try:
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if not _locked(handle):
                    return f"{LOG}: another process is writing it"
                self._append(handle)
            finally:
                os.close(handle)
        except (OSError, UnavailableError, sqlite3.Error) as error:
            return f"{LOG}: {error}"
        return ""

    def _append(self, handle: int) -> None:
        about = os.fstat(handle)
        inode, size, last = self._place
        if (inode, size) != (about.st_ino, about.st_size):
            size, last = _resume_position(handle, about.st_size)
        while True:
            page = self._read(partial(events_after, last=last))
            if not page:
                break
            text = "".join(map(line_of, page)).encode()
            while text:
                written = os.pwrite(handle, text, size)
                text, size = text[written:], size + written
            last = page[-1].id
        self._place = (about.st_ino, size, last)

    def rebuild(self) -> str:
        """Rewrite all our lines after those of another program; return what prevented it.

        Unreadable lines are moved to `events.jsonl.unreadable`.
        """
        try:
            readable, unreadable = _foreign_lines(self._path)
            if unreadable:
                _put_aside(f"{self._path}.unreadable", unreadable)
            write_file(self._path, b"".join(readable))
        except OSError as error:
            return f"{LOG}: {error}"
        self._place = (0, -1, 0)
        return self.catch_up()


def last_number(path: str | os.PathLike[str]) -> int:
    """Return the number of the last event in the file, 0 if there is none."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return 0
    try:
        size = os.fstat(handle).st_size
        return _tail(handle, size, limits.LOG_TAIL_BYTES)[1] or _tail(handle, size, size)[1]
    finally:
        os.close(handle)


def events_after(
    connection: sqlite3.Connection, last: int, most: int = limits.LOG_PAGE_ROWS
) -> list[Event]:
    """Return events after number `last`, in order."""
    rows = connection.execute(schema.EVENTS_AFTER, (last, most))
    return [record.believed(row) for row in rows]


def _locked(handle: int) -> bool:
    """Lock the file, waiting for another writer for at most half a second: it may be stopped."""
    pause = threading.Event()
    for _ in range(_TRIES):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pause.wait(_TRY_S)
        else:
            return True
    return False


def _resume_position(handle: int, size: int) -> tuple[int, int]:
    """Return the position to continue at, and the number of the last event in the file.

    A torn last line of ours is cut off; an unreadable one gets its line end, so that the next line
    is not appended to it.
    """
    torn, last = _tail(handle, size, limits.LOG_TAIL_BYTES)
    if not last:
        torn, last = _tail(handle, size, size)
    if torn:
        if _begins_ours(torn):
            size -= len(torn)
            os.ftruncate(handle, size)
        else:
            size += os.pwrite(handle, b"\n", size)
    return size, last


def _tail(handle: int, size: int, reach: int) -> tuple[bytes, int]:
    """Return the torn last line, if any, and the highest number in the last `reach` bytes."""
    start = max(size - reach, 0)
    *lines, torn = os.pread(handle, size - start, start).split(b"\n")
    return torn, max(map(_number, lines), default=0)


def _begins_ours(torn: bytes) -> bool:
    begin = b'{"n":'
    return torn.startswith(begin) or begin.startswith(torn)


def _number(line: bytes) -> int:
    """Return the number of an event of ours, 0 for any other line."""
    if not line.startswith(b'{"n":'):
        return 0
    read = _parsed(line)
    number = read.get("n") if isinstance(read, dict) else None
    return number if isinstance(number, int) else 0


def _parsed(line: bytes) -> Any:
    import json  # noqa: PLC0415  # as above

    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _foreign_lines(path: str) -> tuple[list[bytes], list[bytes]]:
    """Return the lines that are not ours: the readable ones, and the unreadable ones."""
    readable: list[bytes] = []
    unreadable: list[bytes] = []
    try:
        with open(path, "rb") as file:
            for line in file:
                if not _begins_ours(line):
                    kept = readable if _parsed(line) is not None else unreadable
                    kept.append(line if line.endswith(b"\n") else line + b"\n")
    except FileNotFoundError:
        # Not a line at all: everything is rewritten.
        return [], []
    return readable, unreadable


def _put_aside(path: str, lines: list[bytes]) -> None:
    with open(path, "ab") as file:
        os.fchmod(file.fileno(), 0o600)
        file.writelines(lines)
    sync_file(path)
    sync_names(path)
