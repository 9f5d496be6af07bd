"""Volumes of the process cloud: a folder each, which outlives the machines it is attached to.

A volume is made aside and renamed into place, so it is complete or absent. Its attachment is a
note; it counts only while the machine it names confirms it, so that a crash between the two writes
heals by itself. A fork copies files as they are: stop the machine first for a clean one.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from holdfast.disk.durable_file import copy_tree, make_folder, move
from holdfast.kernel.ids import derive
from holdfast.kernel.outcome import Conflict, Permanent
from holdfast.world.clouds.port import (
    CONFLICT,
    MISSING_VOLUME,
    NOT_FOUND,
    Volume,
    VolumeSpec,
    VolumeState,
)
from holdfast.world.clouds.process_record import save
from holdfast.world.clouds.spec import DeclinedError

_ID_CHARS: Final = 20
_RECORD: Final = "volume.json"
_DATA: Final = "data"
_NEW: Final = ".new-"
_OLD: Final = ".old-"


class VolumeRecord(Struct, frozen=True, kw_only=True):
    """One volume on disk."""

    id: str
    spec: VolumeSpec
    created_at_ms: int
    machine_id: str | None = None
    used: bool = False


class Volumes:
    """All volumes under one folder; `holds(machine_id, volume_id)` reads the machine's record."""

    def __init__(self, folder: Path, *, holds: Callable[[str, str], bool]) -> None:
        """Keep them under `folder`, created when first needed."""
        self._folder = folder
        self._holds = holds

    def create(self, spec: VolumeSpec, *, idempotency_key: str, now_ms: int) -> Volume:
        """Make or fork a volume; the same name and key return the same volume again."""
        volume_id = f"vol_{derive('volume', spec.name, idempotency_key)[:_ID_CHARS]}"
        place = self._folder / volume_id
        if place.is_dir():
            return self.describe(volume_id)
        size_gb = spec.size_gb
        draft = self._folder / f"{_NEW}{volume_id}"
        if draft.exists():
            shutil.rmtree(draft)
        make_folder(self._folder)
        draft.mkdir(mode=0o700)
        if spec.source_volume_id is None:
            (draft / _DATA).mkdir(mode=0o700)
        else:
            size_gb = self._load(spec.source_volume_id, NOT_FOUND).spec.size_gb
            source = self._folder / spec.source_volume_id / _DATA
            copy_tree(source, draft / _DATA)
        kept = msgspec.structs.replace(spec, size_gb=size_gb)
        record = VolumeRecord(id=volume_id, spec=kept, created_at_ms=now_ms)
        save(draft / _RECORD, record)
        move(draft, place)
        return self.describe(volume_id)

    def describe(self, volume_id: str) -> Volume:
        """Return the volume; decline with `not_found`."""
        return self._volume(self._load(volume_id, NOT_FOUND))

    def find(self, name: str) -> tuple[Volume, ...]:
        """Return the volumes of this name, oldest first."""
        records = [self._load(place.name, NOT_FOUND) for place in self._places()]
        named = sorted(
            (one for one in records if one.spec.name == name),
            key=lambda one: (one.created_at_ms, one.id),
        )
        return tuple(self._volume(one) for one in named)

    def destroy(self, volume_id: str) -> None:
        """Remove a volume and its data; decline with `conflict` while a machine holds it."""
        volume = self.describe(volume_id)
        if volume.attached_machine_id is not None:
            text = f"volume {volume_id} is attached to machine {volume.attached_machine_id}"
            raise DeclinedError(Conflict(CONFLICT, text, volume.attached_machine_id))
        aside = self._folder / f"{_OLD}{volume_id}"
        move(self._folder / volume_id, aside)
        shutil.rmtree(aside)

    def data_of(self, volume_id: str) -> Path:
        """Return the path of the data; decline with `missing_volume`."""
        self._load(volume_id, MISSING_VOLUME)
        return self._folder / volume_id / _DATA

    def check(self, volume_id: str, *, machine_id: str) -> None:
        """Decline with `missing_volume`, or `conflict` if another machine holds it."""
        holder = self._volume(self._load(volume_id, MISSING_VOLUME)).attached_machine_id
        if holder is not None and holder != machine_id:
            text = f"volume {volume_id} is attached to machine {holder}"
            raise DeclinedError(Conflict(CONFLICT, text, holder))

    def attach(self, volume_id: str, *, machine_id: str) -> None:
        """Note that a machine holds it; the machine's record must confirm it already."""
        self.check(volume_id, machine_id=machine_id)
        record = self._load(volume_id, MISSING_VOLUME)
        kept = msgspec.structs.replace(record, machine_id=machine_id, used=True)
        save(self._folder / volume_id / _RECORD, kept)

    def clear(self) -> None:
        """Remove what a crash left half made or half removed."""
        if self._folder.is_dir():
            for place in sorted(self._folder.iterdir()):
                if place.name.startswith((_NEW, _OLD)):
                    shutil.rmtree(place)

    def _places(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return [one for one in sorted(self._folder.iterdir()) if not one.name.startswith(".")]

    def _load(self, volume_id: str, code: str) -> VolumeRecord:
        if "/" in volume_id or volume_id.startswith("."):
            raise DeclinedError(Permanent(code, f"volume {volume_id!r}: no such id"))
        try:
            text = (self._folder / volume_id / _RECORD).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise DeclinedError(
                Permanent(code, f"volume {volume_id}: volume does not exist")
            ) from None
        return msgspec.json.decode(text, type=VolumeRecord)

    def _volume(self, record: VolumeRecord) -> Volume:
        holder = record.machine_id
        if holder is not None and not self._holds(holder, record.id):
            holder = None
        free: VolumeState = "detached" if record.used else "created"
        return Volume(
            id=record.id,
            name=record.spec.name,
            state=free if holder is None else "attached",
            region=record.spec.region,
            size_gb=record.spec.size_gb,
            attached_machine_id=holder,
            created_at_ms=record.created_at_ms,
        )
