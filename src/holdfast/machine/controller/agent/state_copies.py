"""Copies of the agent's state from before a change of its version; everything here blocks.

Before another version touches the state, the folder is moved aside, and a copy takes its place. So
what the version before has written stays as it was, to the byte, and going back is a rename. Each
move may be interrupted anywhere and is done again from the start. The folders of the agent may
hold links to anything: none is followed.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from holdfast.disk.durable_file import make_folder, move, sync_tree

KEPT: Final = 2
"""States that are kept, the newest ones: that of before the last change, and one more."""

ROOM_BYTES: Final = 200_000_000
"""What must be free besides the copy."""

_FAILED: Final = "-failed"
_DRAFT: Final = ".copy"
_DISCARD: Final = ".discard"
_OWNERS: Final = 0o700
_ENTRY_BYTES: Final = 4_096
"""What a file or a folder takes besides its blocks, at most."""


class StateCopies:
    """The state folder of one agent, and what was moved aside of it, below a folder of ours."""

    def __init__(self, state: Path, folder: Path) -> None:
        self._state = state
        self._folder = folder

    def aside(self, number: int, version: str) -> Path:
        """Return where the state of before the change of this number is moved."""
        return self._folder / f"{number:06d}-{version}"

    def find(self, version: str) -> Path | None:
        """Return the newest state kept that this version wrote."""
        found = [path for path in self._all() if path.name.partition("-")[2] == version]
        return found[-1] if found else None

    def newest(self) -> int:
        """Return the highest number that was given; 0 for none."""
        return max((int(path.name.partition("-")[0]) for path in self._all()), default=0)

    def missing_room(self, source: Path | None) -> str:
        """Return why there is no room for a copy of a state, or nothing; raise OSError."""
        needed = _size(source or self._state) + ROOM_BYTES
        free = shutil.disk_usage(self._state.parent).free
        if free >= needed:
            return ""
        return f"a copy of its state needs {needed // 10**6} MB, and {free // 10**6} MB are free"

    def begin(self, aside: Path, source: Path | None, *, go_on: Callable[[], bool]) -> None:
        """Move the state aside and put a copy in its place, of it or of `source`; raise OSError.

        Repeated after an interruption, it discards what another version made of the copy.
        """
        make_folder(self._folder)
        if not os.path.lexists(aside):
            if not stat.S_ISDIR(os.lstat(self._state).st_mode):
                raise NotADirectoryError(errno.ENOTDIR, "is a link, or no folder", str(self._state))
            move(self._state, aside)
        _remove(self._state)
        draft = self._folder / _DRAFT
        _remove(draft)
        try:
            _copy(source or aside, draft, go_on)
            sync_tree(draft)
        except BaseException:
            with suppress(OSError):
                _remove(draft)  # it may be what fills the disk
            raise
        move(draft, self._state)

    def go_back(self, aside: Path, version: str, *, keep: bool) -> None:
        """Give the state that was moved aside its place again; raise OSError.

        What `version` has written meanwhile is kept if it ran: it may be somebody's work.
        """
        if not os.path.lexists(aside):
            return  # not moved yet, or back already
        failed = aside.with_name(f"{aside.name.partition('-')[0]}-{version}{_FAILED}")
        discard = self._folder / _DISCARD
        if keep and os.path.lexists(self._state) and not os.path.lexists(failed):
            move(self._state, failed)
        elif os.path.lexists(self._state):
            _remove(discard)
            move(self._state, discard)
        move(aside, self._state)
        self.prune()

    def prune(self) -> None:
        """Remove all but the newest states, and of those that failed all but one."""
        failed = [path for path in self._all() if path.name.endswith(_FAILED)]
        others = [path for path in self._all() if path not in failed]
        self._clear(*others[:-KEPT], *failed[:-1])

    def clear_leftovers(self) -> None:
        """Remove what an interruption left of a copy."""
        self._clear()

    def _clear(self, *paths: Path) -> None:
        """Remove folders and leftovers; what cannot be removed stays."""
        for path in (*paths, self._folder / _DRAFT, self._folder / _DISCARD):
            with suppress(OSError):
                _remove(path)

    def _all(self) -> list[Path]:
        """Return the states kept, the newest last."""
        if not self._folder.is_dir():
            return []
        return sorted(path for path in self._folder.iterdir() if path.name[:6].isdigit())


def _remove(path: Path) -> None:
    """Remove a folder, or a link in its place, if there is one; raise OSError."""
    if path.is_symlink():
        path.unlink()
    elif os.path.lexists(path):
        shutil.rmtree(path, onerror=_remove_closed)


def _remove_closed(_call: object, name: str, failure: Any) -> None:
    """Remove a file or folder that could not be, because an agent took its own permissions away."""
    path = Path(name)
    closed = [
        one for one in (path.parent, path)  # lstat: never what a link leads to
        if stat.S_ISDIR(mode := os.lstat(one).st_mode) and mode & _OWNERS != _OWNERS
    ]  # fmt: skip
    if not closed:
        raise failure[1]
    for folder in closed:
        folder.chmod(_OWNERS)
    if stat.S_ISDIR(os.lstat(path).st_mode):
        _remove(path)
    else:
        path.unlink()


def _size(folder: Path) -> int:
    """Return the bytes that a copy of a folder takes, at most; raise OSError."""
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            total += _ENTRY_BYTES
            if entry.is_dir(follow_symlinks=False):
                total += _size(Path(entry.path))
            else:
                found = entry.stat(follow_symlinks=False)
                total += max(found.st_size, found.st_blocks * 512)
    return total


def _copy(source: Path, target: Path, go_on: Callable[[], bool]) -> None:
    """Copy folders, files and links; sockets and pipes are of a process that ended."""
    target.mkdir(mode=0o700)
    with os.scandir(source) as entries:
        for entry in entries:
            if not go_on():
                raise InterruptedError(errno.EINTR, "the controller ends", str(source))
            to = target / entry.name
            if entry.is_symlink():
                to.symlink_to(os.readlink(entry.path))  # noqa: PTH115  as it is, not a Path
            elif entry.is_dir(follow_symlinks=False):
                _copy(Path(entry.path), to, go_on)
            elif entry.is_file(follow_symlinks=False):
                shutil.copy2(entry.path, to, follow_symlinks=False)
    shutil.copystat(source, target, follow_symlinks=False)
