"""Files and names that survive a loss of power: what a sync of the file alone does not give."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def write_file(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file with no other writer, atomically and durably; raise OSError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(draft, flags, 0o600), "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync_folder(path.parent)
    sync_names(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder for this user only, with a name that is durable, as are those above it."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    sync_names(path)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable; raise OSError."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_names(path: Path) -> None:
    """Make the name of a file or folder durable, and that of every folder above it.

    Who made those, and how many, is not known. A folder that may not be read, or a file system that
    cannot sync one, is passed over, as SQLite does.
    """
    for folder in path.absolute().parents:
        with suppress(OSError):
            sync_folder(folder)
