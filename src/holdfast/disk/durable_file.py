"""Files and names that survive a loss of power: the only way to give a finished file its name.

A sync of a file alone keeps its content and not its name; a rename alone keeps neither. Standard
library without pathlib, because the outbox loads it into the programs of others. Folders that the
agent writes to are `machine/controller/process/atomic_file.py`'s.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import Final, TypeAlias

_UNSUPPORTED: Final = frozenset({errno.EINVAL, errno.ENOTSUP})
StrPath: TypeAlias = "str | os.PathLike[str]"


def write_file(path: StrPath, content: bytes, *, mode: int = 0o600, names: bool = True) -> None:
    """Write a file with no other writer, atomically and durably; raise OSError.

    With `names` the names of the folders above become durable as well; a writer that made its
    folder with `make_folder`, and writes often, leaves that out.
    """
    path = os.fspath(path)
    draft = f"{path}.{os.getpid()}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(draft)
        raise
    folder = os.path.dirname(path) or os.curdir
    sync_folder(folder)
    if names:
        sync_names(folder)


def move(old: StrPath, new: StrPath) -> None:
    """Give a finished file or folder another name, replacing a file there; raise OSError.

    The content must be on the disk already: `write_file`, `sync_file` and `sync_tree` do that.
    """
    os.replace(old, new)
    folders = {os.path.dirname(os.path.abspath(path)): None for path in (new, old)}
    for folder in folders:
        sync_folder(folder)


def give_name(draft: StrPath, path: StrPath) -> None:
    """Give a finished, synced file a name that is free; raise FileExistsError or OSError."""
    os.link(draft, path, follow_symlinks=False)
    os.unlink(draft)
    sync_folder(os.path.dirname(os.path.abspath(path)))


def copy_tree(source: StrPath, target: StrPath) -> None:
    """Copy a folder, with what is in it and its links as they are, to a new one; raise OSError."""
    import shutil  # noqa: PLC0415  # slow to import, and only few copy folders

    shutil.copytree(source, target, symlinks=True)
    sync_tree(target)


def make_folder(path: StrPath) -> None:
    """Make a folder for this user only, with a name that is durable, as are those above it."""
    os.makedirs(path, mode=0o700, exist_ok=True)
    sync_names(path)


def sync_file(path: StrPath) -> None:
    """Make the content of a file durable, whoever wrote it; raise OSError."""
    _sync(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)


def sync_folder(folder: StrPath) -> None:
    """Make the names in a folder durable; raise OSError.

    A file system that cannot sync a folder is passed over, as SQLite does.
    """
    try:
        _sync(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def sync_tree(folder: StrPath) -> None:
    """Make all files and names in a folder durable, but not its own name; raise OSError."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                sync_tree(entry.path)
            elif entry.is_file(follow_symlinks=False):
                sync_file(entry.path)
    sync_folder(folder)


def sync_names(path: StrPath) -> None:
    """Make the name of a file or folder durable, and that of every folder above it.

    Who made those, and how many, is not known. A folder that may not be read is passed over; raise
    OSError for what a disk did not keep.
    """
    below = os.path.abspath(path)
    while (folder := os.path.dirname(below)) != below:
        with suppress(PermissionError):
            sync_folder(folder)
        below = folder


def _sync(path: StrPath, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
