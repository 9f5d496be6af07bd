"""The reader and kinds of these tests' rehearsal process: lamps, and no sockets."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from holdfast.actors.kinds import Kind, make_kind, make_kinds
from holdfast.stores.sqlite.journal_reader import SqliteReader
from tests.support.toys.lamp import LAMP, Policy


def refuse_sockets(event: str, _args: tuple[Any, ...]) -> None:
    if event.startswith("socket."):
        raise RuntimeError(f"a rehearsal used {event}")


def kinds(*, refuse: bool = True) -> dict[str, Kind]:
    if refuse:
        sys.addaudithook(refuse_sockets)
    return make_kinds(make_kind(LAMP, Policy()))


def open_reader(path: str) -> SqliteReader:
    return SqliteReader(Path(path))


class Deadly(SqliteReader):
    """A reader whose process dies at the first load, and hangs while a file exists."""

    async def load(self, *args: Any, **options: Any) -> Any:
        mark = self._path.with_suffix(".died")
        if self._path.with_suffix(".hang").exists():
            time.sleep(60)  # noqa: ASYNC251  the process hangs, not a task of it
        if not mark.exists():
            mark.write_text("once")
            os._exit(3)
        return await super().load(*args, **options)


def open_deadly(path: str) -> SqliteReader:
    return Deadly(Path(path))


def open_when_let(path: str) -> SqliteReader:
    """Open the store once a file exists: a process that takes so long to start."""
    while not Path(path).with_suffix(".let").exists():
        time.sleep(0.02)
    return SqliteReader(Path(path))
