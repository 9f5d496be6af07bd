"""Reads, lists and writes below one folder, without following links.

A write makes a new file and renames it over exactly the text that was read; the old text is kept
aside. Everything here blocks; call it in a thread.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from holdfast.machine.controller.config.document import etag_of, matches
from holdfast.machine.controller.errors import RefusedError
from holdfast.machine.controller.files.paths import PARTS_MAX
from holdfast.machine.controller.process import atomic_file

FILE_BYTES_MAX: Final = 1_048_576
"""Maximum bytes of a file that is read or written; larger ones are out of this API's scope."""

ENTRIES_MAX: Final = 5_000
"""Maximum entries of one tree; deeper ones need a request with a longer path."""

BACKUPS_KEPT: Final = 5
"""Earlier texts kept of each file."""

NOT_FOUND: Final = "file_not_found"

_TRIES: Final = 5
"""Attempts of a write without an etag over a file that the agent keeps writing."""

_NO_FOLDER: Final = frozenset({errno.ENOTDIR, errno.ELOOP})


class Text(NamedTuple):
    """A file's text, and the etag of its bytes."""

    content: str
    etag: str


class Tree(NamedTuple):
    """Nodes as in compat/controller.md; `truncated` if some were left out."""

    nodes: list[dict[str, Any]]
    truncated: bool


class StateFolder:
    """One folder, and where earlier texts of its files are kept."""

    def __init__(
        self, root: Path, backups: Path, *, below: Path | None = None, now_ms: Callable[[], int]
    ) -> None:
        """Work below `root`; keep earlier texts below `backups`, which is elsewhere.

        `below` is a folder above `root` that the agent cannot replace, itself by default.
        """
        self._root = root
        self._below = below or root
        self._backups = backups
        self._now_ms = now_ms

    def read(self, parts: Sequence[str]) -> Text:
        """Return a text file; raise RefusedError."""
        with self._parent(parts) as (folder, name):
            raw = _read(folder, name)
        try:
            return Text(raw.decode(), etag_of(raw))
        except UnicodeDecodeError:
            raise _wrong("file_not_text", "It is not a text in UTF-8") from None

    def write(self, parts: Sequence[str], content: str, *, etag: str | None, create: bool) -> str:
        """Write a file that exists, or with `create` a new one; return its etag.

        Raise RefusedError.
        """
        raw = _encode(content)
        with self._parent(parts) as (folder, name):
            if create:
                _create(folder, name, raw)
                return etag_of(raw)
            for _ in range(_TRIES):
                before = _read(folder, name)
                if etag is not None and not matches(etag, before):
                    break
                self._keep(parts, before)
                mode = stat.S_IMODE(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
                if atomic_file.put(folder, name, raw, over=before, mode=mode & 0o777):
                    return etag_of(raw)
        text = "The file was changed meanwhile; read it anew"
        raise RefusedError(409, "file_etag_conflict", text)

    def tree(self, parts: Sequence[str], *, depth: int) -> Tree:
        """Return what is below a folder, level by level, up to `depth`; raise RefusedError.

        Links, sockets and unprintable names are left out; a folder that cannot be opened is listed
        as empty.
        """
        top: list[dict[str, Any]] = []
        waiting: deque[tuple[tuple[str, ...], list[dict[str, Any]]]] = deque([(tuple(parts), top)])
        left, truncated = ENTRIES_MAX, False
        while waiting:
            where, into = waiting.popleft()
            found = self._list(where, must=where == tuple(parts))
            truncated |= len(found) > left
            for name, is_folder in found[:left]:
                node: dict[str, Any] = {
                    "name": name,
                    "path": "/".join((*where, name)),
                    "type": "directory" if is_folder else "file",
                }
                into.append(node)
                if is_folder:
                    node["children"] = []
                    if len(where) + 1 - len(parts) < depth and len(where) + 1 < PARTS_MAX:
                        waiting.append(((*where, name), node["children"]))
                    else:
                        node["truncated"] = True
            left -= len(found[:left])
        return Tree(top, truncated)

    def _list(self, where: tuple[str, ...], *, must: bool) -> list[tuple[str, bool]]:
        try:
            with self._folder(where) as folder, os.scandir(folder) as entries:
                found = [
                    (entry.name, entry.is_dir(follow_symlinks=False))
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False)
                    if entry.name.isprintable()
                ]
        except OSError as error:
            if must:
                raise RefusedError(
                    500, "files_io_failed", f"It cannot be listed: {error.strerror}"
                ) from error
            return []
        except RefusedError as error:
            if must and not (error.code == NOT_FOUND and not where):
                raise
            return []  # not made yet, deleted, or replaced by something else
        return sorted(found)

    @contextmanager
    def _parent(self, parts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """Yield the opened parent folder of a file, and the file's name."""
        if not parts:
            raise _wrong("invalid_path", "path: missing")
        with self._folder(parts[:-1]) as folder:
            try:
                yield folder, parts[-1]
            except OSError as error:
                raise _io(error) from error

    @contextmanager
    def _folder(self, parts: Sequence[str]) -> Iterator[int]:
        """Yield a descriptor of a folder, opened step by step; raise RefusedError."""
        with ExitStack() as opened:
            path = self._root.joinpath(*parts)
            try:
                folder = opened.enter_context(atomic_file.open_folder(path, below=self._below))
            except OSError as error:
                raise _io(error) from error
            yield folder

    def _keep(self, parts: Sequence[str], raw: bytes) -> None:
        """Keep an earlier text aside; a failure must not prevent the write."""
        path = "/".join(parts)
        digest = hashlib.sha256(path.encode()).hexdigest()[:8]
        aside = self._backups / f"{quote(path, safe='')[:150]}-{digest}"
        try:
            aside.mkdir(parents=True, exist_ok=True, mode=0o700)
            with atomic_file.open_folder(aside) as folder:
                atomic_file.put_over(folder, f"{self._now_ms():015d}-{etag_of(raw)[:12]}", raw)
            for old in sorted(aside.iterdir())[:-BACKUPS_KEPT]:
                old.unlink(missing_ok=True)
        except OSError:
            return


def _read(folder: int, name: str) -> bytes:
    try:
        return atomic_file.read(folder, name, FILE_BYTES_MAX)
    except atomic_file.TooLargeError as error:
        text = f"It has more than {FILE_BYTES_MAX} bytes"
        raise RefusedError(413, "file_too_large", text) from error
    except atomic_file.LinkedError as error:
        text = "It has a second name (a hard link), so it may be a file from elsewhere; copy it"
        raise RefusedError(403, "file_has_other_names", text, field="path") from error
    except atomic_file.NotOursError as error:
        text = "It belongs to another user than the machine's"
        raise RefusedError(403, "file_of_another_user", text, field="path") from error
    except atomic_file.NotAFileError as error:
        raise _wrong("not_a_regular_file", "It is no regular file") from error


def _encode(content: str) -> bytes:
    try:
        raw = content.encode()
    except UnicodeEncodeError:
        text = "content: want a text that UTF-8 can write"
        raise RefusedError(400, "invalid_request_body", text, field="content") from None
    if len(raw) > FILE_BYTES_MAX:
        text = f"content: more than {FILE_BYTES_MAX} bytes"
        raise RefusedError(413, "file_too_large", text, field="content")
    return raw


def _create(folder: int, name: str, raw: bytes) -> None:
    if not atomic_file.put(folder, name, raw, over=None):
        raise RefusedError(
            409, "file_exists", "There is a file of this name; write it with its etag"
        )


def _io(error: OSError) -> RefusedError:
    """Return the refusal for an OSError of one step."""
    if error.errno == errno.ENOENT:
        return RefusedError(404, NOT_FOUND, "There is no such file")
    if error.errno in _NO_FOLDER:
        return _wrong("invalid_path", "path: goes through what is no folder, or through a link")
    if error.errno == errno.EACCES:
        return RefusedError(403, "file_not_permitted", "The controller may not open it")
    return RefusedError(500, "files_io_failed", f"It cannot be reached: {error.strerror}")


def _wrong(code: str, text: str) -> RefusedError:
    return RefusedError(400, code, text, field="path")
