"""The data folder and the holder of its lock. Every command imports this, so it loads little."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from holdfast.plane.settings import Settings
from holdfast.stores.sqlite import folder_lock

FOLDER_MODE: Final = 0o700
JOURNAL_FILE: Final = "journal.db"
ACCOUNTS_FILE: Final = "accounts.db"
CORRECTIONS_FILE: Final = "intake.db"
CONTENT_FILE: Final = "content.db"
TOWNS_FILE: Final = "towns.db"
PRICES_FILE: Final = "prices.toml"
"""The operator's own prices of models."""


def prepare_home(settings: Settings) -> Path:
    """Return the data folder, created if needed, for its owner only."""
    home = Path(settings.home)
    home.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    return home


def lock_holder(settings: Settings) -> folder_lock.Holder | None:
    """Return the holder of the data folder's lock, or None when it is free."""
    folder = Path(settings.home)
    try:
        descriptor = os.open(folder / folder_lock.NAME, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return folder_lock.read_holder(folder)
    finally:
        os.close(descriptor)
    return None
