"""Defaults of an outbox; light enough to load with an import."""

from __future__ import annotations

import os

from holdfast.outbox.receipts import OPEN


def always_open() -> str:
    """Allow everything."""
    return OPEN


def folder_path(folder: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> str:
    """Return a folder's path, of any bytes; raise TypeError or ValueError naming the argument."""
    try:
        path = os.fsdecode(folder)
        os.fsencode(path)
    except TypeError as error:
        raise TypeError(f"folder: {error}") from None
    except UnicodeEncodeError as error:
        raise ValueError(f"folder: no file system has such a name: {error}") from None
    if "\0" in path:
        raise ValueError("folder: has a NUL in it")
    return path


def log_notice(text: str) -> None:
    """Write a warning to the logger `holdfast.outbox`."""
    import logging  # noqa: PLC0415  # seldom needed, and felt at import

    logging.getLogger("holdfast.outbox").warning(text)
