"""The records of all machines: found by name or id, read anew, changed under a lock.

A record that cannot be read is never treated as an absent machine, because an absent machine is
replaced while the unreadable one may be running: a lookup of an unknown id then fails as unknown.
It must never remove a folder that has a record.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeAlias

from holdfast.disk.durable_file import make_folder, move
from holdfast.kernel.failure import brief
from holdfast.kernel.outcome import Permanent, Retryable
from holdfast.world.clouds.port import NOT_FOUND, TRANSIENT
from holdfast.world.clouds.process_record import Folder, Record, load, locked, save
from holdfast.world.clouds.spec import DeclinedError

_Signature: TypeAlias = tuple[int, int, int]
_LOCK: Final = ".lock"
_TRASH: Final = ".trash"


class MachineFolders:
    """Machines by name under one folder; names that begin with a dot are the cloud's own."""

    __slots__ = ("_cache", "_names", "root", "trash")

    def __init__(self, root: Path) -> None:
        """Keep records under `root`; nothing is created before `prepare`."""
        self.root = root
        self.trash = root / _TRASH
        self._names: dict[str, str] = {}
        self._cache: dict[str, tuple[_Signature, Record]] = {}

    def prepare(self) -> None:
        """Create the folders that every call needs."""
        make_folder(self.root)
        self.trash.mkdir(mode=0o700, exist_ok=True)

    def folder(self, name: str) -> Folder:
        """Return the paths of one machine."""
        return Folder(self.root / name)

    def names(self) -> list[str]:
        """Return the name of every machine folder, sorted."""
        return sorted(
            place.name
            for place in self.root.iterdir()
            if not place.name.startswith(".") and place.is_dir()
        )

    def record(self, name: str) -> Record | None:
        """Return a machine's record, or None; raise ValueError if it cannot be read."""
        path = self.folder(name).record
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            self._cache.pop(name, None)
            return None
        signature = (found.st_mtime_ns, found.st_size, found.st_ino)
        cached = self._cache.get(name)
        if cached is not None and cached[0] == signature:
            return cached[1]
        try:
            record = load(path)
        except FileNotFoundError:
            return None
        self._cache[name] = (signature, record)
        self._names[record.id] = name
        return record

    def survey(self) -> tuple[list[Record], list[str]]:
        """Return all records, and the names of machines whose record cannot be read."""
        records: list[Record] = []
        unreadable: list[str] = []
        for name in self.names():
            try:
                record = self.record(name)
            except ValueError:
                unreadable.append(name)
                continue
            if record is not None:
                records.append(record)
        return records, unreadable

    def find(self, machine_id: str) -> Record:
        """Return a machine's record by id; decline with `not_found` only if that is certain."""
        known = self._names.get(machine_id)
        if known is not None:
            record = self._known(known)
            if record is not None and record.id == machine_id:
                return record
        records, unreadable = self.survey()
        for record in records:
            if record.id == machine_id:
                return record
        if unreadable:
            text = f"machine {machine_id}: unknown, the records of {unreadable} are unreadable"
            raise DeclinedError(Retryable(TRANSIENT, text))
        raise DeclinedError(Permanent(NOT_FOUND, f"machine {machine_id}: no such machine"))

    @contextmanager
    def held(self, machine_id: str) -> Iterator[Record]:
        """Hold a machine's lock and yield its current record; decline with `not_found`."""
        name = self.find(machine_id).spec.name
        try:
            with locked(self.folder(name).lock):
                record = self._known(name)
                if record is None or record.id != machine_id:
                    raise DeclinedError(gone(machine_id))
                yield record
        except FileNotFoundError as error:
            if (self.root / name).exists():
                raise
            raise DeclinedError(gone(machine_id)) from error

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Hold the lock for assigning names and port ranges."""
        with locked(self.root / _LOCK):
            yield

    def put(self, record: Record) -> Record:
        """Write a machine's record to the disk; return it."""
        save(self.folder(record.spec.name).record, record)
        self._names[record.id] = record.spec.name
        return record

    def throw_away(self, record: Record) -> Path:
        """Move a machine's folder aside, which frees its name; return the new path."""
        target = self.trash / record.id
        move(self.root / record.spec.name, target)
        self._names.pop(record.id, None)
        self._cache.pop(record.spec.name, None)
        return target

    def _known(self, name: str) -> Record | None:
        try:
            return self.record(name)
        except ValueError as error:
            raise DeclinedError(Retryable(TRANSIENT, brief(error))) from error


def gone(machine_id: str) -> Permanent:
    """Return the failure for an absent machine."""
    return Permanent(NOT_FOUND, f"machine {machine_id}: no such machine")
