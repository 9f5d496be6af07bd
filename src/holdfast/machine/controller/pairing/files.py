"""Reads the agent's files without trusting them: only plain files of limited size.

The agent may put anything in its own folders; a pipe in place of a file must not block a thread,
and a link must not lead outside.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any, Final, NoReturn

import msgspec

from holdfast.kernel.failure import brief
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.limits import FILE_BYTES_MAX
from holdfast.machine.controller.pairing.state import Verdict, Verdicts
from holdfast.machine.controller.process import atomic_file
from holdfast.wire.parsers import json_as


def read_plain(path: str, *, below: str = "") -> bytes:
    """Return a plain file's content; raise OSError. See `atomic_file.open_folder` for `below`."""
    return atomic_file.read_file(Path(path), FILE_BYTES_MAX, below=Path(below) if below else None)


def read_json(path: str, *, below: str = "") -> Any:
    """Return a file's JSON; raise OSError and ValueError."""
    return json.loads(read_plain(path, below=below), parse_constant=_refuse)


def _refuse(name: str) -> NoReturn:
    message = f"{name} is no JSON"
    raise ValueError(message)


VERDICTS_FILE: Final = "pairing.json"
"""Below the machine's `run`."""


class VerdictsFile:
    """Writes verdicts, one write at a time; of several waiting only the latest is written."""

    def __init__(self, path: Path, log: Log) -> None:
        self._path = path
        self._log = log
        self._lock = asyncio.Lock()
        self._written: Verdicts | None = None

    def read(self) -> Verdicts:
        """Return the stored verdicts; an unreadable file is logged and counts as empty."""
        try:
            content = atomic_file.read_file(self._path, limits.FILE_BYTES_MAX)
            found = json_as(tuple[Verdict, ...], content)
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError, RecursionError) as error:
            self._log.emit("pairing.verdicts_unreadable", error=brief(error))
            return {}
        self._written = {verdict.key: verdict for verdict in found}
        return self._written

    async def write(self, verdicts: Verdicts) -> None:
        """Write these; return when they are on disk, or when the disk refused them."""
        async with self._lock:
            if verdicts is self._written:
                return
            content = msgspec.json.encode(tuple(verdicts.values()))
            try:
                await asyncio.to_thread(atomic_file.write, self._path, content)
            except OSError as error:
                self._log.emit("pairing.verdicts_not_written", error=brief(error))
                return
            self._written = verdicts
