"""Records of attempts in the machine's folder, written before what they announce is done."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from holdfast.kernel.ids import derive
from holdfast.machine.controller.process import atomic_file
from holdfast.wire.attempt import AttemptEnd, Fence
from holdfast.wire.parsers import from_json, json_as

_RECORD_BYTES_MAX: Final = 1_048_576


class Record(Struct, frozen=True, kw_only=True):
    """One attempt. `output` is the end of what it wrote, once it ended."""

    town: str
    agent: str
    attempt: str
    epoch: int
    branch: str
    base: str
    status: Literal["intended", "running", "ended"]
    started_ms: int = 0
    asked: bool = False
    end: AttemptEnd | None = None
    output: str = ""


_FENCE: Final = msgspec.json.Decoder(Fence)


class WorkRecords:
    """All attempts of a machine. It blocks: call it from worker threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def load(self) -> list[Record]:
        """Return every record that can be read; what cannot be is as if it had not been."""
        found = []
        for place in sorted(self._folder.glob("att-*/record.json")):
            try:
                text = atomic_file.read_file(place, _RECORD_BYTES_MAX)
                found.append(json_as(Record, text))
            except (OSError, msgspec.MsgspecError, RecursionError):
                continue
        return found

    def incoming(self, one: str) -> Path:
        """Return the folder of what came for an attempt, made if need be; raise OSError."""
        folder = self._folder / one / "incoming"
        atomic_file.make_folder(folder)
        return folder

    def drop_incoming(self, one: str) -> None:
        """Delete what came for an attempt."""
        shutil.rmtree(self._folder / one / "incoming", ignore_errors=True)

    def remove(self, one: str) -> None:
        """Delete an attempt."""
        shutil.rmtree(self._folder / one, ignore_errors=True)

    def save(self, record: Record) -> None:
        """Write a record; raise OSError."""
        folder = self._folder / work_id(record.town, record.attempt)
        atomic_file.make_folder(folder)
        atomic_file.write(folder / "record.json", msgspec.json.encode(record))

    def fence(self, town: str, agent: str) -> Fence:
        """Return the fence of an agent; raise OSError or ValueError."""
        try:
            text = atomic_file.read_file(self._fence(town, agent), _RECORD_BYTES_MAX)
        except FileNotFoundError:
            return Fence()
        return from_json(_FENCE, text)

    def save_fence(self, town: str, agent: str, fence: Fence) -> None:
        """Write the fence of an agent; raise OSError."""
        atomic_file.make_folder(self._folder)
        atomic_file.write(self._fence(town, agent), msgspec.json.encode(fence))

    def drop_fence(self, town: str, agent: str) -> None:
        """Delete the fence of an agent that has no attempts here; raise OSError."""
        self._fence(town, agent).unlink(missing_ok=True)

    def _fence(self, town: str, agent: str) -> Path:
        return self._folder / f"agent-{derive('agent', town, agent)}.json"


def work_id(town: str, attempt: str) -> str:
    """Return the id of an attempt, a safe file name."""
    return f"att-{derive('attempt', town, attempt)}"
