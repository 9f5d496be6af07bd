"""The form of a path within the state folder, as a value."""

from __future__ import annotations

from typing import Final

from holdfast.machine.controller.errors import RefusedError

PATH_CHARS_MAX: Final = 1_024
"""Maximum characters of a path."""

PARTS_MAX: Final = 32
"""Maximum depth of a path."""

_NAME_BYTES_MAX: Final = 255


def split(path: str) -> tuple[str, ...]:
    """Return the names of a path below the root, none for the root; raise RefusedError."""
    if not path or path == ".":
        return ()
    parts = tuple(path.split("/"))
    wrong = (
        len(path) > PATH_CHARS_MAX
        or len(parts) > PARTS_MAX
        or any(part in {"", ".", ".."} or not _is_name(part) for part in parts)
    )
    if wrong:
        raise RefusedError(
            400,
            "invalid_path",
            "path: want names joined by slashes, below the state folder",
            field="path",
        )
    return parts


def _is_name(part: str) -> bool:
    """Return whether a name is printable by any program."""
    try:
        size = len(part.encode())
    except UnicodeEncodeError:
        return False
    return size <= _NAME_BYTES_MAX and part.isprintable()
