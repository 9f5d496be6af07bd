"""Finds what a key of the ring still seals, in the data folder of a plane that is stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from holdfast.instances.ports import UnsealError
from holdfast.kernel.clock import SystemClock
from holdfast.plane.key_rotation import held_texts
from holdfast.plane.secret_encryption import KeyRing, sealed_by
from holdfast.plane.wiring.holder import JOURNAL_FILE, TOWNS_FILE
from holdfast.stores.sqlite.journal_reader import SqliteReader
from holdfast.stores.sqlite.towns import open_towns
from holdfast.world.clouds.process_record import RECORD_FILE, load

MACHINES_FOLDER: Final = "machines"


async def uses(home: Path, ring: KeyRing, key_id: str) -> list[str]:
    """Return a text for each use of the key, with the commands that end it; empty if unused.

    Raise ValueError for a machine whose record cannot be read.
    """
    found = [] if not (home / JOURNAL_FILE).exists() else await _stored(home, key_id)
    if (home / TOWNS_FILE).exists():
        found += await _of_rigs(home, key_id)
    for path in sorted((home / MACHINES_FOLDER).glob(f"*/{RECORD_FILE}")):
        spec = load(path).spec
        try:
            used = ring.env_key_of(spec.instance_id, spec.sealed)[0] if spec.sealed else ""
        except UnsealError:
            continue  # no key of the ring opens it, so dropping this one loses nothing
        if used == key_id:
            found.append(
                f"the environment of the machine of {spec.instance_id}: start the plane, then"
                f" holdfast instance rotate-secrets {spec.instance_id}"
            )
    return found


async def _of_rigs(home: Path, key_id: str) -> list[str]:
    store = open_towns(home / TOWNS_FILE, now_ms=SystemClock().now_ms())
    try:
        return [
            f"the credential of rig {rig.rig} of {town}: start the plane, then holdfast keys rotate"
            for town, rig in await store.sealed()
            if rig.token.startswith(sealed_by(key_id))
        ]
    finally:
        await store.close()


async def _stored(home: Path, key_id: str) -> list[str]:
    reader, begins = SqliteReader(home / JOURNAL_FILE), sealed_by(key_id)
    try:
        found = [
            f"{sum(text.startswith(begins) for text in held.texts)} secrets of {held.instance}:"
            " start the plane, then holdfast keys rotate"
            async for held in held_texts(reader)
            if any(text.startswith(begins) for text in held.texts)
        ]
        waiting = reader.unfinished_with(begins)
    finally:
        await reader.close()
    if waiting:
        found.append(f"{waiting} events or calls that wait: start the plane until they are done")
    return found
