"""Secrets that a plane makes for itself and keeps in its data folder, for its owner only."""

from __future__ import annotations

import base64
import os
import secrets
from pathlib import Path
from typing import Final

from holdfast.kernel.secret import Secret
from holdfast.plane.keyring import KeyRing, KeyRingError
from holdfast.world.clouds.port import MachineSpec

SECRET_BYTES: Final = 32
_OTHERS: Final = 0o077


def read_or_make_secret(path: Path) -> str:
    """Return the secret in a file, made with mode 0600 where there is none.

    Raise KeyRingError for a file without a secret, which would make every machine's token one
    that anybody can compute, and for one that others may read.
    """
    try:
        text = path.read_text().strip()
        mode = path.stat().st_mode
    except FileNotFoundError:
        return _make_secret(path)
    if len(text) < SECRET_BYTES:
        raise KeyRingError(f"{path}: not a secret; restore it from the backup, or remove it")
    if mode & _OTHERS:
        raise KeyRingError(f"{path}: others may read it (mode {mode & 0o777:o}); chmod 600 it")
    return text


def _make_secret(path: Path) -> str:
    text = secrets.token_hex(SECRET_BYTES)
    partial = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.rename(path)
    return text


def env_key_text(keyring: KeyRing, spec: MachineSpec) -> Secret:
    """Return the key of an instance's machine as its controller reads it: base64."""
    return Secret(base64.b64encode(keyring.env_key(spec.instance_id)).decode())
