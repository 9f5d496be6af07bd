"""The plane's own secrets, in its keys folder, readable by its owner only."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path
from typing import Final, NamedTuple

from holdfast.kernel.secret import Secret, SecretError
from holdfast.plane.consent_key import ConsentKey, read_or_make_consent_key
from holdfast.plane.key_folder import (
    GATEWAY_FILE,
    KEYRING_FILE,
    TOKEN_FILE,
    KeysError,
    leave_note,
    prepare_keys,
    refuse_loose,
    write_key,
)
from holdfast.plane.plane_key import PlaneKey, read_or_make_plane_key
from holdfast.plane.secret_encryption import KeyRing, make_keyring, open_keyring
from holdfast.plane.settings import PREFIX, Settings
from holdfast.plane.wiring.holder import ACCOUNTS_FILE, JOURNAL_FILE
from holdfast.world.clouds.port import MachineSpec

SECRET_BYTES: Final = 32


class OpenKeys(NamedTuple):
    """What the files of the keys folder hold; `token_secret` is that of machines' gateways."""

    ring: KeyRing
    token_secret: Secret
    plane_key: PlaneKey
    consent_key: ConsentKey


def open_keys(settings: Settings, *, now_ms: int) -> OpenKeys:
    """Return the keys of this plane, made for a new data folder.

    Called before the stores are opened. Raise KeysError, also where the data folder has a
    journal and there is no key ring: a new one would open nothing of what is sealed there.
    """
    home, keys = Path(settings.home), prepare_keys(settings)
    if not (home / ACCOUNTS_FILE).exists():
        (keys / TOKEN_FILE).unlink(missing_ok=True)  # of accounts that do not exist any more
    try:
        ring = open_keyring(keys)
    except FileNotFoundError:
        if (home / JOURNAL_FILE).exists():
            raise KeysError(
                f"{home} has a journal, and the key ring that opens its secrets is not where it is"
                f" expected: {keys / KEYRING_FILE}; restore that folder from the backup, or set"
                f" {PREFIX}KEYS to where it is. Only if it is lost for good: `holdfast keys new"
                " --lose-secrets` makes another, and every secret has to be set again"
            ) from None
        ring = make_keyring(keys, now_ms=now_ms)
        leave_note(home, keys)
    secret = settings.gateway_token_secret or read_or_make_secret(keys / GATEWAY_FILE)
    return OpenKeys(
        ring,
        Secret(secret),
        read_or_make_plane_key(keys),
        read_or_make_consent_key(keys, now_ms=now_ms),
    )


def read_or_make_secret(path: Path) -> str:
    """Return the secret in a file, created with mode 0600 if needed.

    Raise KeysError for an empty file, which would make every machine's token computable by
    anybody, and for one that others may read.
    """
    try:
        text = Secret.read(path.read_bytes().decode("latin-1"), str(path)).reveal()
        refuse_loose(path)
    except FileNotFoundError:
        text = secrets.token_hex(SECRET_BYTES)
        write_key(path, f"{text}\n".encode())
        return text
    except SecretError as error:
        raise KeysError(f"{error}; restore it from the backup, or remove it") from None
    if len(text) < SECRET_BYTES:
        raise KeysError(f"{path}: not a secret; restore it from the backup, or remove it")
    return text


def env_key_text(keyring: KeyRing, spec: MachineSpec) -> Secret:
    """Return the key of an instance's machine as its controller reads it: base64."""
    _, key = keyring.env_key_of(spec.instance_id, spec.sealed)
    return Secret(base64.b64encode(key).decode())
