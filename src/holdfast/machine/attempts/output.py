"""The output of an attempt: its newest part, in two files of half the bound each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

OLDER: Final = ".1"
"""Appended to the name of the file that was full."""


class Output:
    """Writes to `path`; a full file takes the place of the older one."""

    def __init__(self, path: Path, *, bytes_max: int) -> None:
        """Keep at most `bytes_max` in both files; what is there already counts."""
        self._path = path
        self._half = max(1, bytes_max // 2)
        self._file, self._size = self._open()

    def write(self, data: bytes) -> None:
        """Write everything; a disk that is full loses it, which must not end the attempt."""
        left = memoryview(data)
        while left:
            if self._size >= self._half:
                self._turn()
            part = left[: self._half - self._size]
            try:
                written = os.write(self._file, part)
            except OSError:
                return
            self._size += written
            left = left[written:]

    def say(self, line: str) -> None:
        """Write a line of our own."""
        self.write(f"holdfast: {line}\n".encode())

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _turn(self) -> None:
        os.close(self._file)
        self._path.replace(self._path.with_name(self._path.name + OLDER))
        self._file, self._size = self._open()

    def _open(self) -> tuple[int, int]:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        handle = os.open(self._path, flags, 0o600)
        return handle, os.fstat(handle).st_size
