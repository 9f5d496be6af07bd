"""The folder of the plane's keys, apart from the data folder that contains machines' folders.

An agent of the process cloud runs as the plane's user, and its machine's folder is below the data
folder. So keys are kept beside the data folder, where confinement hides all of them at once. Data
folders of earlier versions contain the keys: each file is copied, synced and renamed into place
before the old one is deleted, so that a crash at any point loses nothing. Every command imports
this module, so it imports nothing slow.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from holdfast.disk.durable_file import sync_folder, write_file
from holdfast.plane.settings import PREFIX, Settings, refuse_overlap

KEYRING_FILE: Final = "keyring.json"
GATEWAY_FILE: Final = "gateway.key"
TOKEN_FILE: Final = "cli.token"  # noqa: S105  the name of a file
KEY_FILES: Final = (KEYRING_FILE, GATEWAY_FILE, TOKEN_FILE)

FOLDER_MODE: Final = 0o700
_OTHERS: Final = 0o077
_NOTE: Final = b"The keys of this data folder are in "
"""The first line of the file left in the key ring's old place.

An earlier version would make a new key ring where it finds none; with this file it does not start.
"""


class KeysError(Exception):
    """The plane's keys cannot be used; the text has the file and the fix."""


def prepare_keys(settings: Settings, names: Sequence[str] = KEY_FILES) -> Path:
    """Return the keys folder, created if needed, with these files moved out of the data folder.

    Raise KeysError, with nothing lost, when the folder cannot be used or a file is in both places
    with different contents.
    """
    refuse_overlap(settings)
    home, keys = Path(settings.home), settings.keys_folder
    _make(settings, keys)
    with _locked(keys):
        for name in names:
            _move(home / name, keys / name)
        if KEYRING_FILE in names and (keys / KEYRING_FILE).exists():
            leave_note(home, keys)
    return keys


def find_keyring(settings: Settings) -> Path | None:
    """Return the path of the key ring, also one still to be moved; None without one."""
    new, old = settings.keys_folder / KEYRING_FILE, Path(settings.home) / KEYRING_FILE
    if new.exists():
        return new
    try:
        return None if old.read_bytes().startswith(_NOTE) else old
    except OSError:
        return None


def write_key(path: Path, content: bytes, *, mode: int = 0o600) -> None:
    """Write a file atomically and durably, by default readable by its owner only."""
    write_file(path, content, mode=mode)


def refuse_loose(path: Path) -> None:
    """Raise KeysError when others than the owner have access; OSError if it does not exist."""
    mode = path.stat().st_mode
    if mode & _OTHERS:
        want = "700" if stat.S_ISDIR(mode) else "600"
        text = f"{path}: others may read it (mode {stat.S_IMODE(mode):o}); chmod {want} it"
        raise KeysError(text)


def _make(settings: Settings, keys: Path) -> None:
    if not settings.keys and not keys.exists() and os.path.ismount(settings.home):
        raise KeysError(
            f"{PREFIX}KEYS: the data folder {settings.home} is a mount of its own, and {keys}"
            f" would not be on it; set {PREFIX}KEYS to a folder outside of it that is kept as long"
        )
    try:
        keys.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        owner = keys.stat().st_uid
    except OSError as error:
        raise KeysError(
            f"{PREFIX}KEYS: {keys} cannot be made: {error.strerror}; make it for this user with"
            f" mode 0700, or set {PREFIX}KEYS to a folder outside of {settings.home} that you own"
        ) from error
    if owner != os.geteuid():
        raise KeysError(f"{PREFIX}KEYS: {keys} belongs to another user; chown it, or name another")
    refuse_loose(keys)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock against other processes that move files; it ends with its process."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _move(old: Path, new: Path) -> None:
    """Move one file, unless it does not exist or was moved before."""
    found = _read(old, new)
    if found is None:
        return
    content, mode = found
    try:
        same = new.read_bytes() == content
    except FileNotFoundError:
        write_key(new, content, mode=mode)
        same = True
    if not same:
        raise KeysError(
            f"{old} and {new} differ, and only one can be the right one; keep the one that belongs"
            f" to this data folder as {new}, and move the other away"
        )
    old.unlink()
    sync_folder(old.parent)


def _read(old: Path, new: Path) -> tuple[bytes, int] | None:
    """Return a file's content and mode; None when there is none to move."""
    try:
        descriptor = os.open(old, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        what = "is a link" if error.errno == errno.ELOOP else f"cannot be read: {error.strerror}"
        raise KeysError(f"{old} {what}; move the file that it stands for to {new}") from error
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            raise KeysError(f"{old} is no regular file; move it away")
        content = file.read()
    return None if content.startswith(_NOTE) else (content, stat.S_IMODE(mode))


def leave_note(home: Path, keys: Path) -> None:
    """Write the new path of the key ring into its old place in the data folder."""
    old = home / KEYRING_FILE
    content = _NOTE + os.fsencode(keys) + b"; docs/guide/operating.md says why.\n"
    try:
        if old.read_bytes() == content:
            return
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        return
    write_key(old, content)
