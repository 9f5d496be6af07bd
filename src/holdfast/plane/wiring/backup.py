"""Makes and verifies backups of a data folder, whether or not its plane runs.

Stores are copied one after another, each as of one moment, so what is in one may be newer than in
another. The order makes that harmless: what refers comes before what it refers to. The stream of
brains and the journal name accounts; the audit, in the accounts' file, then has the call that began
each change in the journal. The key ring is read before and after: it may not change in between.
"""

from __future__ import annotations

import socket
import tempfile
import tomllib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw
from msgspec import Struct
from msgspec.structs import replace

from holdfast import __version__
from holdfast.kernel.clock import Clock
from holdfast.kernel.failure import brief
from holdfast.plane.backup.archive import (
    Tell,
    entries_of,
    read_archive,
    total_bytes,
    write_archive,
)
from holdfast.plane.backup.keys import KeyFiles, read_keys
from holdfast.plane.backup.manifest import BackupError, LeftOut, Manifest, StoreNote
from holdfast.plane.consent_key import CONSENT_KEY_FILE
from holdfast.plane.key_folder import GATEWAY_FILE, KEYRING_FILE, TOKEN_FILE, KeysError
from holdfast.plane.settings import FILE_NAME, Settings
from holdfast.plane.wiring.daily import DAILY_FILE
from holdfast.plane.wiring.files import CONTACT_FILE, TELEMETRY_FILE, TICKS_FILE
from holdfast.plane.wiring.holder import PRICES_FILE
from holdfast.stores.migrate import MigrationError
from holdfast.stores.sqlite.backup import (
    KEPT,
    KeptStore,
    copy_store,
    describe_copy,
    find_any_damage,
)
from holdfast.wire.times import time_text

TRIES: Final = 3
"""Copies that are begun anew where the keys change meanwhile; a rotation takes seconds."""

SECRET_SETTING: Final = "gateway_token_secret"  # noqa: S105  the name of a setting

_LEFT_OUT: Final = (
    LeftOut(what="machines/", why="agents' own data: copy it apart, with the machines stopped"),
    LeftOut(what="agents/", why="installed agents: holdfast agents install"),
    LeftOut(what=CONTACT_FILE, why="fills itself within one check-in interval"),
    LeftOut(what=TELEMETRY_FILE, why="charts begin anew"),
    LeftOut(what=TICKS_FILE, why="panels of towns begin anew"),
    LeftOut(what=DAILY_FILE, why="what it names is done again"),
    LeftOut(what=TOKEN_FILE, why="the command line makes another"),
)
_KEYS_LEFT_OUT: Final = LeftOut(
    what=f"{KEYRING_FILE}, {GATEWAY_FILE}, {CONSENT_KEY_FILE}",
    why="the keys that open the secrets in it, and that sign consent: keep a copy of the keys"
    " folder, apart from this",
)


class Verified(Struct, frozen=True, kw_only=True):
    """What verifying an archive found: nothing wrong, or it would have raised."""

    manifest: Manifest
    bytes: int


def make_backup(
    settings: Settings, target: Path, *, with_keys: bool, clock: Clock, tell: Tell
) -> Manifest:
    """Write a verified backup, mode 0600; raise BackupError, KeysError or OSError."""
    home = Path(settings.home)
    if target.exists():
        raise BackupError(f"{target} is there already", fix="name another file")
    if not any((home / store.file).exists() for store in KEPT):
        raise BackupError(
            f"{home} has nothing to back up", fix="set HOLDFAST_HOME to a data folder"
        )
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as folder:
        stage = Path(folder)
        keys, stores = _copy_with_keys(settings, stage, clock, tell)
        for note in stores:
            tell(f"checking {note.file}")
            _refuse_damage(note.file, find_any_damage(stage / note.file))
        staged = {note.file: stage / note.file for note in stores}
        left_out = [*_LEFT_OUT]
        if with_keys:
            for name, content in keys.named().items():
                staged[name] = _stage(stage / name, content)
        else:
            left_out.append(_KEYS_LEFT_OUT)
        if config := _config(home, with_keys=with_keys, left_out=left_out):
            staged[FILE_NAME] = _stage(stage / FILE_NAME, config)
        if prices := _prices(home):
            staged[PRICES_FILE] = _stage(stage / PRICES_FILE, prices)
        manifest = Manifest(
            id=str(uuid.uuid4()),
            made_at=time_text(clock.now_ms()),
            version=__version__,
            sqlite=apsw.sqlite_lib_version(),
            host=socket.gethostname(),
            home=settings.home,
            files=entries_of(staged),
            stores=stores,
            keys=keys.note(included=with_keys),
            left_out=tuple(left_out),
            settings=noted_settings(settings),
        )
        write_archive(target, manifest, staged, tell)
    return manifest


def verify_backup(path: Path, tell: Tell) -> Verified:
    """Check every hash and the integrity of every store; raise BackupError for what is wrong."""
    with unpacked(path, tell) as (manifest, _):
        return Verified(manifest=manifest, bytes=total_bytes(manifest.files))


@contextmanager
def unpacked(
    path: Path, tell: Tell, *, beside: Path | None = None
) -> Iterator[tuple[Manifest, Path]]:
    """Unpack a verified archive into a folder that lasts for the block."""
    with tempfile.TemporaryDirectory(prefix=".holdfast-backup-", dir=beside) as folder:
        stage = Path(folder)
        tell("unpacking, and comparing hashes")
        manifest = read_archive(path, into=stage)
        for store in KEPT:
            if (stage / store.file).exists():
                tell(f"checking {store.file}")
                _refuse_damage(store.file, find_any_damage(stage / store.file))
                _describe(stage / store.file, store)
        yield manifest, stage


def noted_settings(settings: Settings) -> dict[str, str]:
    """Return the settings that are not the default, without the one that is a secret."""
    default = Settings()
    return {
        name: str(value)
        for name in Settings.__struct_fields__
        if (value := getattr(settings, name)) != getattr(default, name) and name != SECRET_SETTING
    }


def _copy_with_keys(
    settings: Settings, stage: Path, clock: Clock, tell: Tell
) -> tuple[KeyFiles, tuple[StoreNote, ...]]:
    """Copy the stores, all under one key ring."""
    for _ in range(TRIES):
        keys = read_keys(settings)
        if keys.ring is None:
            raise KeysError(f"{settings.keys_folder / KEYRING_FILE} is not there")
        stores = tuple(_copy_all(Path(settings.home), stage, clock, tell))
        if read_keys(settings) == keys:
            return keys, stores
    raise BackupError("the key ring changed during each copy", fix="wait until it is rotated")


def _copy_all(home: Path, stage: Path, clock: Clock, tell: Tell) -> Iterator[StoreNote]:
    """Copy every store that there is, in the order of `KEPT`."""
    for store in KEPT:
        if not (home / store.file).exists():
            continue  # a plane of an earlier version had no such store

        def told(done: int, pages: int, file: str = store.file) -> None:
            tell(f"copying {file}: {done / max(pages, 1):.0%}")

        copied_ms, copy = clock.now_ms(), stage / store.file
        copy.unlink(missing_ok=True)
        try:
            copy_store(home / store.file, copy, told)
            yield replace(_describe(copy, store), copied_ms=copied_ms)
        except apsw.Error as error:
            raise BackupError(
                f"{home / store.file}: {brief(error)}", fix="holdfast doctor"
            ) from error


def _describe(copy: Path, store: KeptStore) -> StoreNote:
    """Return what a manifest says of a store's copy; raise BackupError for one of newer code."""
    try:
        facts = describe_copy(copy, store)
    except MigrationError as error:
        raise BackupError(f"{store.file}: {error}", fix=error.fix) from error
    except (apsw.Error, TypeError) as error:
        raise BackupError(f"{store.file}: {brief(error)}") from error
    return StoreNote(
        file=store.file,
        schema=facts.schema,
        schema_name=facts.schema_name,
        written_by=facts.written_by,
        numbers=facts.numbers,
    )


def _refuse_damage(file: str, damage: str) -> None:
    if damage:
        raise BackupError(
            f"{file} is damaged: {damage}",
            fix="holdfast doctor; restore an earlier backup, and keep this file",
        )


def _stage(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content)
    return path


def _config(home: Path, *, with_keys: bool, left_out: list[LeftOut]) -> bytes:
    """Return the settings file; one that holds a key only where keys are asked for."""
    try:
        content = (home / FILE_NAME).read_bytes()
    except FileNotFoundError:
        return b""
    if with_keys or SECRET_SETTING not in tomllib.loads(content.decode()):
        return content
    why = f"it has {SECRET_SETTING}, a key; its other settings are in the manifest"
    left_out.append(LeftOut(what=FILE_NAME, why=why))
    return b""


def _prices(home: Path) -> bytes:
    """Return the operator's own prices; nothing where there are none."""
    try:
        return (home / PRICES_FILE).read_bytes()
    except FileNotFoundError:
        return b""
