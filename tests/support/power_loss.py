"""Loss of power, from a record of system calls: what a disk may hold when the current goes.

A command runs under strace; every call that changes the watched folder, every sync and every line
of its stdout is kept, in order. The record is then replayed up to any cut: what was synced is on
the disk, of the rest a seeded choice. Nothing of the program is replaced, so SQLite in any build,
DuckDB and plain files are seen alike.

    recorded = record([sys.executable, "-m", "program"], watched=folder, scratch=tmp_path)
    for cut in cuts(recorded, number=300, seed=1, scratch=tmp_path):
        found = what_is_there(cut.folder)            # opens it as the program would after a restart
        assert set(cut.acknowledged) <= found, cut   # lines of stdout written before the cut

The model of the disk:

- The content of a file is durable once fsync or fdatasync of it has returned; of each page (512 or
  4096 bytes, by cut) written since, an older state may be there. What was written while the
  sync ran is not covered by it.
- A name (of a new, renamed or removed file or folder) is durable once its folder was synced. Names
  not synced become durable in order. With `names_follow_files` a sync of the file itself keeps its
  own name, and all names given before it: POSIX does not promise that, ext4, xfs and btrfs do it.
- `Keep.EVERYTHING` is a kill of the program: what was written is there, synced or not.

Files called `*-shm` are left out: SQLite makes them anew. Writing through a mapping, links and
copies by the kernel but `sendfile` are not modelled; UnmodelledError says where a program does
that. Modes are not either: everything is its owner's alone.
`Recorded.without_syncs` gives the same record as if syncs had not been called: the loss has to be
found then, which shows that the check can see one. `Recorded.syncs` counts them per line.
"""

from __future__ import annotations

import enum
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from tests.support import system_calls
from tests.support.patience import patience
from tests.support.system_calls import (
    ROOT,
    Change,
    Line,
    Named,
    Resized,
    Synced,
    UnmodelledError,
    Written,
    put,
    read_tree,
)

__all__ = [
    "Cut", "Judged", "Keep", "Line", "Recorded", "Synced", "UnmodelledError", "cuts", "judge",
    "record", "scratch_folder", "unavailable",
]  # fmt: skip

PAGES: Final = (512, 4096)
_MEMORY_DISK: Final = Path("/dev/shm")
_ROOM_BYTES: Final = 1 << 30
"""What must be free in it: containers have 64 MiB there by default."""
_DEADLINE_S: Final = 120


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yield a folder for records and cuts, in memory where such a disk has room.

    Each cut is opened by a program that syncs, which would wait for a real one.
    """
    with tempfile.TemporaryDirectory(dir=_memory_disk()) as made:
        yield Path(made)


def _memory_disk() -> Path | None:
    """Return a disk in memory that may be written to and has room, or None."""
    if not os.access(_MEMORY_DISK, os.W_OK | os.X_OK):
        return None
    return _MEMORY_DISK if shutil.disk_usage(_MEMORY_DISK).free > _ROOM_BYTES else None


class Keep(enum.Enum):
    """What of the unsynced survives: by seeded choice (power), or all of it (a kill)."""

    CHOSEN = "chosen"
    EVERYTHING = "everything"


class Recorded(NamedTuple):
    """What a program did to the watched folder; `before` is a copy of how it found it."""

    changes: tuple[Change, ...]
    before: Path
    errors: str

    @property
    def lines(self) -> list[str]:
        """Return the program's stdout."""
        return [change.text for change in self.changes if isinstance(change, Line)]

    def without_syncs(self, of: Callable[[str], bool]) -> Recorded:
        """Return the record as if syncs of the paths that `of` accepts had not been called.

        Paths are relative to the watched folder, which is "" itself.
        """
        kept = tuple(
            change._replace(begun=0) if isinstance(change, Synced) and of(change.path) else change
            for change in self.changes
        )
        return self._replace(changes=kept)

    def syncs(self, of: Callable[[str], bool] = lambda _path: True) -> list[int]:
        """Return how many syncs of such paths there were before each line, since the last one."""
        counts = [0]
        for change in self.changes:
            if isinstance(change, Line):
                counts.append(0)
            elif isinstance(change, Synced) and of(change.path):
                counts[-1] += 1
        return counts[:-1]


class Cut(NamedTuple):
    """One loss of power: the folder as it may be found, and what was acknowledged before."""

    folder: Path
    acknowledged: tuple[str, ...]
    at: int
    seed: int


class Judged(NamedTuple):
    """What a restart finds of lines that are each one answer, and consist of facts.

    `lost` are the places of acknowledged lines of which a fact is gone; `torn` those of lines,
    acknowledged or not, of which only a part is there.
    """

    lost: tuple[int, ...]
    torn: tuple[int, ...]


def judge(recorded: Recorded, cut: Cut, found: Collection[str]) -> Judged:
    """Compare the facts found after a cut with the lines, whose words are the facts."""
    facts = [[fact in found for fact in line.split()] for line in recorded.lines]
    lost = [at for at in range(len(cut.acknowledged)) if not all(facts[at])]
    torn = [at for at, there in enumerate(facts) if any(there) and not all(there)]
    return Judged(tuple(lost), tuple(torn))


def unavailable() -> str:
    """Return why system calls cannot be recorded on this machine, empty if they can."""
    found = shutil.which("strace")
    if found is None:
        return "no strace on PATH: python tools/real_parts.py all, or install it"
    tried = subprocess.run(
        [found, "-f", "--seccomp-bpf", "-qq", "-e", "trace=none", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"strace cannot trace here: {tried.stderr.strip()}" if tried.returncode else ""


def record(
    command: Sequence[str],
    *,
    watched: Path,
    scratch: Path,
    env: Mapping[str, str] | None = None,
    ends_with: int = 0,
) -> Recorded:
    """Run `command` to its end and return what it did to the folder `watched`, which must exist.

    What is in the folder before is taken as durable, and copied into `scratch`. Lines that the
    command writes to its stdout are acknowledgements: it must write each after what it
    acknowledges, and flush. Raise AssertionError if it does not end with `ends_with`.
    """
    watched = watched.resolve()
    before, log, out = (scratch / f"power-loss.{name}" for name in ("before", "calls", "stdout"))
    shutil.rmtree(before, ignore_errors=True)
    shutil.copytree(watched, before, ignore=_special)
    strace = ["strace", *system_calls.OPTIONS, "-o", str(log), *command]
    with out.open("wb") as stdout:
        done = subprocess.run(
            strace,
            stdout=stdout,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=None if env is None else dict(env),
            timeout=patience(_DEADLINE_S),
            check=False,
        )
    errors = done.stderr.decode(errors="replace")
    assert done.returncode == ends_with, f"{command[0]} ended with {done.returncode}:\n{errors}"
    reader = system_calls.CallReader(watched, before, out.resolve())
    with log.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            reader.read(line)
    log.unlink()
    return Recorded(tuple(reader.changes), before, errors)


def _special(folder: str, names: list[str]) -> list[str]:
    """Name what cannot be copied: sockets and pipes."""
    return [name for name in names if not _plain(Path(folder, name))]


def _plain(path: Path) -> bool:
    return path.is_dir() or path.is_file()


class _Disk:
    """What is durable, and the changes since that may or may not be."""

    def __init__(self, before: Path, *, names_follow_files: bool) -> None:
        self.folders, contents = read_tree(before)
        self.contents = {file: bytearray(data) for file, data in contents.items()}
        self.pending: dict[int, list[tuple[int, Written | Resized]]] = {}
        self.names: list[tuple[int, Named]] = []
        self.lines: list[str] = []
        self._count = 0
        self._names_follow_files = names_follow_files

    def apply(self, change: Change) -> None:
        """Take the next change of the record."""
        if isinstance(change, Line):
            self.lines.append(change.text)
        elif isinstance(change, Named):
            self.names.append((self._count, change))
        elif isinstance(change, Synced):
            self._sync(change)
        else:
            self.pending.setdefault(change.file, []).append((self._count, change))
        self._count += 1

    def _sync(self, done: Synced) -> None:
        waiting = self.pending.pop(done.file, [])
        content = self.contents.setdefault(done.file, bytearray())
        for _, change in (entry for entry in waiting if entry[0] < done.begun):
            put(content, change)
        later = [entry for entry in waiting if entry[0] >= done.begun]
        if later:
            self.pending[done.file] = later
        self._sync_names(done)

    def _sync_names(self, done: Synced) -> None:
        """Make names durable: those of the folder that was synced.

        Where names follow files, a sync of the file commits what the journal had until then.
        """
        until = -1
        if self._names_follow_files:
            of_file = (
                place
                for place, (count, named) in enumerate(self.names)
                if count < done.begun and done.file in (named.entries[0][0], named.entries[0][2])
            )
            until = max(of_file, default=-1)
        names, self.names = self.names, []
        for place, (count, named) in enumerate(names):
            if place <= until or (count < done.begun and named.entries[0][0] == done.file):
                _enter(self.folders, named)
            else:
                self.names.append((count, named))

    def image(self, chance: random.Random, keep: Keep) -> dict[str, bytes | None]:
        """Return one state the disk may be in: files by path; None is a folder."""
        folders = {folder: dict(names) for folder, names in self.folders.items()}
        everything = keep is Keep.EVERYTHING
        durable = len(self.names)
        if not everything:
            durable = chance.choice((0, durable, chance.randint(0, durable)))
        for _, named in self.names[:durable]:
            _enter(folders, named)
        page = chance.choice(PAGES)
        found: dict[str, bytes | None] = {}

        def walk(folder: int, above: str) -> None:
            for name, file in folders[folder].items():
                if file in folders:
                    found[above + name] = None
                    walk(file, f"{above}{name}/")
                else:
                    changes = [change for _, change in self.pending.get(file, ())]
                    content = bytearray(self.contents.get(file, b""))
                    if everything:
                        for change in changes:
                            put(content, change)
                    else:
                        _survive(content, changes, chance, page)
                    found[above + name] = bytes(content)

        walk(ROOT, "")
        return found


def _enter(folders: dict[int, dict[str, int]], named: Named) -> None:
    for folder, name, file in named.entries:
        if file is None:
            folders.setdefault(folder, {}).pop(name, None)
        else:
            folders.setdefault(folder, {})[name] = file
            if named.new_folder:
                folders.setdefault(file, {})


def _survive(
    content: bytearray, changes: list[Written | Resized], chance: random.Random, page: int
) -> None:
    """Apply of unsynced changes what was written back: per page up to some state, in order."""
    share = chance.choice((0.0, 0.0, 1.0, 0.1, 0.5, 0.9))
    reached: dict[int, float] = {}
    resized = chance.random() < share
    for change in changes:
        if isinstance(change, Resized):
            resized = resized and chance.random() < max(share, 0.5)
            if resized:
                put(content, change)
            continue
        end = change.offset + len(change.data)
        for number in range(change.offset // page, (end + page - 1) // page):
            # A page that was not written back once is not written with what came later either.
            if reached.setdefault(number, share) and chance.random() < share:
                first, last = max(change.offset, number * page), min(end, (number + 1) * page)
                piece = change.data[first - change.offset : last - change.offset]
                put(content, Written(change.file, first, piece))
            else:
                reached[number] = 0.0


def cuts(
    recorded: Recorded,
    *,
    number: int,
    seed: int,
    scratch: Path,
    keep: Keep = Keep.CHOSEN,
    names_follow_files: bool = False,
    before: type[Change] | None = None,
) -> Iterator[Cut]:
    """Yield `number` losses of power at places and with losses chosen by `seed`.

    With `before` they are just before changes of that type: before a Line, what it acknowledges is
    done and not acknowledged. Each cut's folder is removed, with what was done in it, before the
    next is made.
    """
    chance = random.Random(seed)
    if before is None:
        places = sorted(chance.randint(0, len(recorded.changes)) for _ in range(number))
    else:
        there = [at for at, change in enumerate(recorded.changes) if isinstance(change, before)]
        places = sorted(chance.choices(there, k=number))
    disk = _Disk(recorded.before, names_follow_files=names_follow_files)
    applied = 0
    for count, place in enumerate(places):
        for change in recorded.changes[applied:place]:
            disk.apply(change)
        applied = place
        one = random.Random(f"{seed} {count}")
        folder = scratch / "cut"
        shutil.rmtree(folder, ignore_errors=True)
        _write_image(folder, disk.image(one, keep))
        yield Cut(folder, tuple(disk.lines), place, count)
    shutil.rmtree(scratch / "cut", ignore_errors=True)


def _write_image(folder: Path, image: Mapping[str, bytes | None]) -> None:
    folder.mkdir(parents=True)
    for path, content in image.items():
        if content is None:
            (folder / path).mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            (folder / path).write_bytes(content)
            (folder / path).chmod(0o600)
