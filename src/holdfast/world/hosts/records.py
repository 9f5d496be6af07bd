"""Attempts of a host on disk: a folder each, written before what it announces is done.

A record stands from the intent to start until it is pruned. A fence is kept for each agent: up to
which epoch its attempts were stopped, and which was started last. It outlives the records, so that
a start that arrives late starts nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Final, Literal, TypeAlias

import msgspec
from msgspec import Struct

from holdfast.disk.durable_file import make_folder, move, write_file
from holdfast.kernel.ids import derive
from holdfast.wire.attempt import AttemptEnd, Fence
from holdfast.wire.parsers import from_json, json_as
from holdfast.world.processes.table import Identity

Phase: TypeAlias = Literal["intended", "started", "stopping", "ended"]

_RECORD: Final = "record.json"
_OLD: Final = ".old-"


class Record(Struct, frozen=True, kw_only=True):
    """One attempt. `leader` is the process that runs it, None for one that never ran.

    `asked` says that it was stopped, `reported` that its end was passed on. `end` is None too for
    one that was killed together with what records ends. `host` is the instance of one that runs
    elsewhere; `folder` and `branch` are its workspace, which borrows from `read`.
    """

    town: str
    agent: str
    attempt: str
    epoch: int
    role: str
    rig: str = ""
    bead: str = ""
    command: tuple[str, ...] = ()
    linger_s: float = 0
    phase: Phase
    made_ms: int
    leader: Identity | None = None
    started_ms: int = 0
    stop_by_ms: int = 0
    ended_ms: int = 0
    asked: bool = False
    reported: bool = False
    host: str = ""
    folder: str = ""
    branch: str = ""
    read: tuple[str, ...] = ()
    end: AttemptEnd | None = None

    @property
    def id(self) -> str:
        """Return the name of its folder."""
        return record_id(self.town, self.attempt)


_FENCE: Final = msgspec.json.Decoder(Fence)


class Places:
    """The paths of one attempt; the agent may write to `own` and sees nothing else of it."""

    __slots__ = ("end", "home", "output", "own", "pokes", "prompt", "record", "root", "tmp")

    def __init__(self, root: Path) -> None:
        self.root = root
        self.record = root / _RECORD
        self.end = root / "end.json"
        self.output = root / "log" / "output.log"
        self.own = root / "own"
        self.home = self.own / "home"
        self.tmp = self.own / "tmp"
        self.prompt = self.own / "prompt.md"
        self.pokes = self.own / "pokes.jsonl"


class AttemptStore:
    """All attempts under one folder. It blocks: call it from worker threads."""

    def __init__(self, root: Path) -> None:
        """Keep attempts under `root/attempts` and fences under `root/agents`."""
        self._root = root
        self._attempts = root / "attempts"
        self._agents = root / "agents"
        self._fencing = Lock()

    def load(self) -> Iterator[Record | Path]:
        """Yield every record, or the path of one that cannot be read; finish what a crash left."""
        make_folder(self._attempts)
        make_folder(self._agents)
        for place in sorted(self._attempts.iterdir()):
            if place.name.startswith(_OLD):
                shutil.rmtree(place, ignore_errors=True)
                continue
            path = Places(place).record
            try:
                yield json_as(Record, path.read_bytes())
            except FileNotFoundError:
                shutil.rmtree(place, ignore_errors=True)  # made, and never announced
            except (msgspec.DecodeError, RecursionError, OSError):
                yield path

    def places(self, record: Record) -> Places:
        """Return the paths of an attempt."""
        return Places(self._attempts / record.id)

    def mark(self, record: Record) -> str:
        """Return what marks the processes of an attempt.

        The folder is in it: the planes of two copies of one home have the same attempts.
        """
        return f"{record.id}-{derive('attempts', str(self._root))}"

    def make(self, record: Record) -> Record:
        """Make the folders of an attempt and write its first record. Raise OSError."""
        places = self.places(record)
        make_folder(places.root)
        for folder in (places.output.parent, places.own, places.home, places.tmp):
            folder.mkdir(mode=0o700, exist_ok=True)
        return self.save(record)

    def save(self, record: Record) -> Record:
        """Write a record; it is on disk when this returns. Raise OSError."""
        write_file(self.places(record).record, msgspec.json.encode(record), names=False)
        return record

    def remove(self, record: Record) -> None:
        """Remove an attempt with its output."""
        place = self.places(record).root
        aside = place.with_name(_OLD + place.name)
        move(place, aside)
        shutil.rmtree(aside, ignore_errors=True)

    def fence(self, town: str, agent: str) -> Fence:
        """Return the fence of an agent. Raise OSError, or ValueError for one that is damaged."""
        return _read_fence(self._fence(town, agent))

    def save_fence(self, town: str, agent: str, fence: Fence) -> None:
        """Write the fence of an agent; it is on disk when this returns. Raise OSError."""
        with self._fencing:
            write_file(self._fence(town, agent), msgspec.json.encode(fence))

    def drop_fences(self, before_ms: int, *, but: Iterable[tuple[str, str]]) -> None:
        """Delete fences that were written before a time, except those of some agents.

        Raise OSError. One that is damaged is left: it refuses starts until somebody looks at it.
        """
        kept = {self._fence(town, agent).name for town, agent in but}
        for path in sorted(self._agents.glob("*.json")):
            with self._fencing, suppress(ValueError):
                if path.name not in kept and _read_fence(path).at_ms < before_ms:
                    path.unlink()

    def _fence(self, town: str, agent: str) -> Path:
        return self._agents / f"{derive('agent', town, agent)}.json"


def _read_fence(path: Path) -> Fence:
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return Fence()
    return from_json(_FENCE, text)


def record_id(town: str, attempt: str) -> str:
    """Return the id of an attempt's record, a safe file name."""
    return f"att-{derive('attempt', town, attempt)}"
