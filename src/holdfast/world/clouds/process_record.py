"""The process cloud's record of a machine: one folder and one record each.

The record is written before what it announces is done, and is on disk when `save` returns, so that
after a crash at any point the next plane finds what was under way. It holds sealed values only; the
key that opens them is never written.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from holdfast.disk.durable_file import write_file
from holdfast.kernel.failure import brief
from holdfast.wire.parsers import json_as
from holdfast.world.clouds.port import MachineSpec
from holdfast.world.processes.table import Identity

RECORD_FILE: Final = "machine.json"
LOCK_FILE: Final = "lock"
VERSION: Final = 1

Phase: TypeAlias = Literal[
    "created", "running", "stopping", "stopped", "failed", "updating", "destroying"
]


class Record(Struct, frozen=True, kw_only=True):
    """One machine on disk. `phase` is what was last decided; the actual state is the kernel's."""

    id: str
    spec: MachineSpec
    phase: Phase
    port: int
    created_at_ms: int
    updated_at_ms: int
    version: int = VERSION
    starts: int = 0
    incarnation: str = ""
    leader: Identity | None = None
    stop_by_ms: int | None = None
    exit_code: int | None = None
    error: str = ""


class Folder:
    """The paths of one machine under `machines/<name>/`."""

    __slots__ = ("home", "lock", "log", "record", "root", "state", "tmp")

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.state = root / "state"
        self.tmp = root / "tmp"
        self.log = root / "log" / "machine.log"
        self.record = root / RECORD_FILE
        self.lock = root / LOCK_FILE

    def make(self) -> None:
        """Make the folders, readable by this user only."""
        for place in (self.home, self.state, self.tmp, self.log.parent):
            place.mkdir(mode=0o700, parents=True, exist_ok=True)


def load(path: Path) -> Record:
    """Return the record; raise FileNotFoundError, or ValueError if it cannot be read."""
    try:
        return json_as(Record, path.read_bytes())
    except (msgspec.DecodeError, RecursionError) as error:
        message = f"{path}: not a readable record ({brief(error)}); repair or remove it by hand"
        raise ValueError(message) from error


def save(path: Path, value: Struct) -> None:
    """Write the value atomically and durably, mode 0600."""
    write_file(path, msgspec.json.format(msgspec.json.encode(value)), names=False)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a file's lock: against other threads of this process and other processes alike.

    The lock ends with its holder, so a killed plane holds none. Children do not inherit it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
