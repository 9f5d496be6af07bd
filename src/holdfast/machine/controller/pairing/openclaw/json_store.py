"""Pairing requests in JSON files, as OpenClaw kept them up to 2026.7.

One file per channel and one for devices, replaced as a whole, so a reader never sees half of one. A
missing file means that there was never a request; an unknown form means that the state is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from holdfast.machine.controller.pairing import limits
from holdfast.machine.controller.pairing.files import read_json
from holdfast.machine.controller.pairing.openclaw.entries import channel_rows, device_rows
from holdfast.machine.controller.pairing.ports import Parts
from holdfast.machine.controller.pairing.state import DEVICES, Failure, Row
from holdfast.wire.controller.pairing import Kind

_VERSION: Final = 1
"""The version of a channel's file that is understood; a file without one counts as this."""

ReadJson = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class JsonFiles:
    """Paths: the folder of the channels' files, and the devices' file."""

    credentials: str
    devices: str


class JsonSource:
    """Reads the files."""

    def __init__(self, files: JsonFiles, read: ReadJson = read_json) -> None:
        self.name, self.debounce_ms = "json", limits.DEBOUNCE_MS
        self._files = files
        self._read = read

    async def look(self, kind: Kind, names: Sequence[str]) -> Parts:
        """Return the requests in the files; see `Source`."""
        try:
            async with asyncio.timeout(limits.STORE_TIMEOUT_S):
                return await asyncio.to_thread(self._look, kind, names)
        except TimeoutError:
            failure = Failure("store_timeout", "Reading the pairing files took too long")
            return dict.fromkeys(names, failure)

    def _look(self, kind: Kind, names: Sequence[str]) -> Parts:
        if kind == "devices":
            return {DEVICES: self._rows(self._files.devices, _device_entries)}
        return {name: self._channel(name) for name in names}

    def _channel(self, name: str) -> tuple[Row, ...] | Failure:
        path = f"{self._files.credentials}/{name}-pairing.json"
        return self._rows(path, lambda content: _channel_entries(name, content))

    def _rows(
        self, path: str, rows: Callable[[object], tuple[Row, ...] | None]
    ) -> tuple[Row, ...] | Failure:
        try:
            found = rows(self._read(path))
        except FileNotFoundError:
            return Failure("store_missing", "There is no pairing file", missing=True)
        except (OSError, ValueError, RecursionError) as error:
            detail = f"{path}: {type(error).__name__}"
            return Failure("store_unreadable", "The pairing file cannot be read", detail=detail)
        if found is None:
            message = "The pairing file has a form that is not known"
            return Failure("store_unknown", message, strange=True, detail=path)
        return found


def _channel_entries(name: str, content: object) -> tuple[Row, ...] | None:
    if not isinstance(content, Mapping) or content.get("version", _VERSION) != _VERSION:
        return None
    entries = content.get("requests")
    return channel_rows(name, entries) if isinstance(entries, list) else None


def _device_entries(content: object) -> tuple[Row, ...] | None:
    if not isinstance(content, Mapping):
        return None
    return device_rows([entry for entry in content.values() if isinstance(entry, Mapping)])
