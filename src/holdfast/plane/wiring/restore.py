"""Replaces the stores of a data folder by those of a backup, while no plane runs.

Everything is unpacked and verified beside the stores before the first of them is touched. Only
stores are replaced: machines live on in `machines/`, and the next start asks the cloud for them.
What was there is moved aside. A note says while files are being replaced that they may be of two
times, so a restore that is broken off cannot be mistaken for one that is done.
"""

from __future__ import annotations

import asyncio
import getpass
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import apsw
from msgspec import Struct

from holdfast.accounts.records import AuditEntry
from holdfast.disk.durable_file import make_folder, move, write_file
from holdfast.kernel.clock import SECOND_MS, Clock
from holdfast.plane.backup.archive import Tell
from holdfast.plane.backup.keys import covers, follows, read_keys
from holdfast.plane.backup.manifest import BackupError, Manifest
from holdfast.plane.backup.marker import MARKER, Marker, Missing, Unknown, write_marker
from holdfast.plane.consent_key import CONSENT_KEY_FILE
from holdfast.plane.key_folder import (
    GATEWAY_FILE,
    KEYRING_FILE,
    TOKEN_FILE,
    leave_note,
    prepare_keys,
    write_key,
)
from holdfast.plane.settings import FILE_NAME, PREFIX, Settings
from holdfast.plane.wiring.backup import noted_settings, unpacked
from holdfast.plane.wiring.files import CONTACT_FILE
from holdfast.plane.wiring.holder import (
    ACCOUNTS_FILE,
    CORRECTIONS_FILE,
    PRICES_FILE,
    prepare_home,
)
from holdfast.plane.wiring.local_admin import hold_folder
from holdfast.stores.revoked import Kind, read_revoked
from holdfast.stores.sqlite.accounts import open_accounts
from holdfast.stores.sqlite.audit_head import HEAD_FILE
from holdfast.stores.sqlite.backup import KEPT
from holdfast.wire.limits import REASON_MAX

ASIDE: Final = "before-restore-"
_BESIDE: Final = ("", "-wal", "-shm")
_REVOKE: Final = """
UPDATE {table} SET revoked_at_ms = ?
WHERE revoked_at_ms IS NULL AND id IN (SELECT value FROM json_each(?))
"""
_REVOCABLE: Final[tuple[tuple[Kind, str, str], ...]] = (
    ("token", ACCOUNTS_FILE, "tokens"),
    ("brain-key", CORRECTIONS_FILE, "keys"),
)
_SIGNED_IN: Final = "DELETE FROM sessions; DELETE FROM links"


class RestoreOrder(Struct, frozen=True, kw_only=True):
    """What is asked of a restore besides the archive."""

    replace: bool = False
    lose_secrets: bool = False
    unknown: Unknown = "keep"
    missing: Missing = "hold"


class Restored(Struct, frozen=True, kw_only=True):
    """What a restore did; `aside` is where the stores before it are, `notes` what to know."""

    manifest: Manifest
    aside: str = ""
    notes: tuple[str, ...] = ()


def restore_backup(
    settings: Settings, archive: Path, order: RestoreOrder, *, clock: Clock, tell: Tell
) -> Restored:
    """Restore a backup; raise BackupError, KeysError or OSError, before anything is replaced.

    An error while files are replaced leaves the note that says so.
    """
    now_ms = clock.now_ms()
    with hold_folder(settings, url="", now_ms=now_ms, refuse=BackupError):
        home = prepare_home(settings)
        there = [name for name in _stores() if (home / name).exists()]
        if (there or (home / MARKER).exists()) and not order.replace:
            raise BackupError(
                f"{home} has stores already: {', '.join(there) or MARKER}",
                fix="say --replace, which moves them aside, or set HOLDFAST_HOME to another folder",
            )
        with unpacked(archive, tell, beside=home) as (manifest, stage):
            keys = prepare_keys(settings)
            _check_keys(settings, manifest, order)
            tell("writing the restore into the audit")
            _audit(stage / ACCOUNTS_FILE, archive, clock)
            again = list(_revoke_again(keys, stage, now_ms))
            restore_id = str(uuid.uuid4())
            marker = Marker(
                id=restore_id, phase="replacing", made_at=manifest.made_at,
                unknown=order.unknown, missing=order.missing,
            )  # fmt: skip
            write_marker(home, marker)
            tell("replacing the stores")
            aside = _replace(home, stage, now_ms)
            _restart_head(keys, stage, now_ms)
            notes = [*again, *_restore_keys(settings, keys, stage, manifest, now_ms)]
            notes += _settings_notes(settings, home, stage, manifest)
            (keys / TOKEN_FILE).unlink(missing_ok=True)
            write_marker(
                home,
                Marker(
                    id=restore_id, phase="restored", made_at=manifest.made_at,
                    unknown=order.unknown, missing=order.missing,
                ),
            )  # fmt: skip
    return Restored(manifest=manifest, aside=str(aside) if aside else "", notes=tuple(notes))


def answer_unknown(settings: Settings, unknown: Unknown) -> None:
    """Leave the answer about machines that no instance owns, for the next start."""
    home = prepare_home(settings)
    write_marker(
        home, Marker(id=str(uuid.uuid4()), phase="restored", unknown=unknown, machines=False)
    )


def _stores() -> Iterator[str]:
    """Yield the files that a restore replaces or moves aside, with what belongs to them."""
    for name in (*(store.file for store in KEPT), CONTACT_FILE):
        for beside in _BESIDE:
            yield name + beside


def _replace(home: Path, stage: Path, now_ms: int) -> Path | None:
    """Move what is there aside and the unpacked stores in; return where the old ones are."""
    there = [name for name in _stores() if (home / name).exists()]
    aside = _aside(home, ASIDE, now_ms) if there else None
    if aside is not None:
        make_folder(aside)
        for name in there:
            move(home / name, aside / name)
    for store in KEPT:
        if (stage / store.file).exists():
            move(stage / store.file, home / store.file)
    return aside


def _check_keys(settings: Settings, manifest: Manifest, order: RestoreOrder) -> None:
    """Raise BackupError where neither archive nor keys folder opens what the backup holds."""
    if manifest.keys.included or order.lose_secrets:
        return
    if not covers(read_keys(settings).note(included=False), manifest.keys):
        raise BackupError(
            f"the backup is without keys, and {settings.keys_folder / KEYRING_FILE} does not open"
            " its secrets",
            fix=f"put the {KEYRING_FILE} and {GATEWAY_FILE} of that time there; if they are lost"
            " for good, say --lose-secrets",
        )


def _restore_keys(
    settings: Settings, keys: Path, stage: Path, manifest: Manifest, now_ms: int
) -> Iterator[str]:
    """Put the backup's keys in place unless those present do as well; yield what to know."""
    present = read_keys(settings).note(included=False)
    if not covers(present, manifest.keys):
        if manifest.keys.included:
            yield from _put_key(keys, stage, KEYRING_FILE, now_ms)
            leave_note(Path(settings.home), keys)
        else:
            yield "its secrets are lost: set them again, and rotate each instance's"
    if not follows(present, manifest.keys):
        if (stage / CONSENT_KEY_FILE).exists():
            yield from _put_key(keys, stage, CONSENT_KEY_FILE, now_ms)
        else:
            yield "the key that signs consent is another: nodes that pinned the old one stay closed"
    if settings.gateway_token_secret or present.gateway == manifest.keys.gateway:
        return
    if (stage / GATEWAY_FILE).exists():
        yield from _put_key(keys, stage, GATEWAY_FILE, now_ms)
    else:
        yield "the secret of machines' tokens is another: running machines are restarted"


def _put_key(keys: Path, stage: Path, name: str, now_ms: int) -> Iterator[str]:
    """Write a key file; one that was there is kept beside it."""
    if (keys / name).exists():
        kept = _aside(keys, f"{name}.before-", now_ms)
        write_file(kept, (keys / name).read_bytes())
        yield f"the {name} before is {kept}"
    write_key(keys / name, (stage / name).read_bytes())


def _settings_notes(
    settings: Settings, home: Path, stage: Path, manifest: Manifest
) -> Iterator[str]:
    """Put settings and prices in place where there are none; yield settings that differ."""
    if (stage / PRICES_FILE).exists() and not (home / PRICES_FILE).exists():
        write_file(home / PRICES_FILE, (stage / PRICES_FILE).read_bytes())
        yield f"{PRICES_FILE} comes from the backup"
    if (stage / FILE_NAME).exists() and not (home / FILE_NAME).exists():
        write_key(home / FILE_NAME, (stage / FILE_NAME).read_bytes())
        yield f"{FILE_NAME} comes from the backup"
        return
    now, then = noted_settings(settings), manifest.settings
    for name in sorted((now.keys() | then.keys()) - {"home", "keys", "port"}):
        if now.get(name) != then.get(name):
            value = then.get(name, "the default")
            yield f"{PREFIX}{name.upper()} was {value} at the backup, and is not now"


def _restart_head(keys: Path, stage: Path, now_ms: int) -> None:
    """Replace the kept head of the audit by that of the restored one, and move the old one aside.

    The old one is of rows after the backup, so checks would report that the tail was cut off.
    """
    made, kept = stage / HEAD_FILE, keys / HEAD_FILE
    if kept.exists():
        move(kept, _aside(keys, f"{HEAD_FILE}.{ASIDE}", now_ms))
    if made.exists():
        write_file(kept, made.read_bytes())


def _aside(folder: Path, prefix: str, now_ms: int) -> Path:
    """Return a free name by the time."""
    when = datetime.fromtimestamp(now_ms / SECOND_MS, UTC).strftime("%Y%m%dT%H%M%S")
    found, number = folder / f"{prefix}{when}", 1
    while found.exists():
        number += 1
        found = folder / f"{prefix}{when}-{number}"
    return found


def _audit(accounts: Path, archive: Path, clock: Clock) -> None:
    """Sign everybody out of the restored accounts, and note the restore in their audit.

    A session or link that was ended after the backup must not be good again.
    """
    if not accounts.exists():
        return
    asyncio.run(_note_restore(accounts, archive, clock))
    connection = apsw.Connection(str(accounts))
    try:
        connection.execute(_SIGNED_IN).fetchall()
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    finally:
        connection.close()


def _revoke_again(keys: Path, stage: Path, now_ms: int) -> Iterator[str]:
    """Revoke in the unpacked stores what was revoked after the backup; yield what to know."""
    for kind, file, table in _REVOCABLE:
        revoked = read_revoked(keys, kind)
        if not revoked or not (stage / file).exists():
            continue
        connection = apsw.Connection(str(stage / file))
        try:
            values = (now_ms, json.dumps(revoked))
            connection.execute(_REVOKE.format(table=table), values).fetchall()
            changed = connection.changes()
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
        finally:
            connection.close()
        if changed:
            yield f"revoked again, as after the backup: {kind}s, {changed} of them"


async def _note_restore(accounts: Path, archive: Path, clock: Clock) -> None:
    """Append the restore to the audit."""
    store = open_accounts(accounts, now_ms=clock.now_ms(), head_in=accounts.parent)
    try:
        who = f"{getpass.getuser()} on this machine"
        entry = AuditEntry(
            at_ms=clock.now_ms(), phase="begin", who=who, how="local", endpoint="restore",
            target=str(archive)[:REASON_MAX], peer="local",
        )  # fmt: skip
        begun = await store.append_audit(entry)
        await store.append_audit(
            AuditEntry(at_ms=clock.now_ms(), phase="end", begins=begun.seq, who=who, status=200)
        )
    finally:
        await store.close()
