"""The file in which decided requests outlive the controller.

An agent forgets what it approved, but not what was only dismissed here; and a start right after a
decision must not show it again. It is written durably before the decision is answered. A disk that
refuses is told, and the decision stands all the same.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import msgspec

from holdfast.machine.controller.boots_file import write_durably
from holdfast.machine.controller.log import Log
from holdfast.machine.controller.pairing.state import Verdict, Verdicts

VERDICTS_FILE: Final = "pairing.json"
"""Below the machine's `run`."""


class VerdictsFile:
    """Writes verdicts, one write at a time; of several that wait only the latest is written."""

    def __init__(self, path: Path, log: Log) -> None:
        """Keep them in `path`."""
        self._path = path
        self._log = log
        self._lock = asyncio.Lock()
        self._written: Verdicts | None = None

    def read(self) -> Verdicts:
        """Return what was written; what cannot be read is told and counts as nothing."""
        try:
            found = msgspec.json.decode(self._path.read_bytes(), type=tuple[Verdict, ...])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            self._log.emit("pairing.verdicts_unreadable", error=str(error))
            return {}
        self._written = {verdict.key: verdict for verdict in found}
        return self._written

    async def write(self, verdicts: Verdicts) -> None:
        """Return when these are on the disk, or when it refused them."""
        async with self._lock:
            if verdicts is self._written:
                return
            content = msgspec.json.encode(tuple(verdicts.values())).decode()
            try:
                await asyncio.to_thread(write_durably, self._path, content)
            except OSError as error:
                self._log.emit("pairing.verdicts_not_written", error=str(error))
                return
            self._written = verdicts
