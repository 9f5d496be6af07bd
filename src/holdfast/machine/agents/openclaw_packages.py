"""What an old release of OpenClaw needs beside its name to be installed from a registry: pure.

Releases before 2026.7 ask for a package of cryptography for WhatsApp that is not in the registry
but in a repository, and for an HTML parser whose newest versions ask for what is not there either.
The first is replaced by an empty stand-in, which is enough to load the program and refuses to
work: WhatsApp cannot be used on such an installation. The second is pinned to a version that
works.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final, NamedTuple

_STANDS_ALONE_SINCE: Final = (2026, 7)
_STAND_IN: Final = "stand-in-libsignal"
_PINNED: Final = {"linkedom": "0.18.12"}

_EXPORTS: Final[Mapping[str, tuple[str, ...]]] = {
    "index.js": (
        "SessionBuilder", "SessionCipher", "SessionRecord", "ProtocolAddress",
        "SignalProtocolAddress", "FingerprintGenerator", "keyhelper", "curve",
    ),
    "src/curve.js": (
        "generateKeyPair", "calculateSignature", "verifySignature", "calculateAgreement",
    ),
    "src/crypto.js": ("encrypt", "decrypt", "calculateMAC", "deriveSecrets", "hash", "verifyMAC"),
}  # fmt: skip
"""Files of the stand-in with the names that importers look for before anything runs."""


class Extra(NamedTuple):
    """What is added: `overrides` of dependencies, and files below the installation."""

    overrides: Mapping[str, str]
    files: Mapping[str, str]


def extras(version: str) -> Extra:
    """Return what this release needs to be installed; nothing for newer ones."""
    numbers = tuple(int(part) for part in version.split(".") if part.isdigit())
    if numbers[:2] >= _STANDS_ALONE_SINCE:
        return Extra({}, {})
    package = {"name": "libsignal", "version": "2.0.1", "main": "index.js"}
    files = {f"{_STAND_IN}/package.json": json.dumps(package) + "\n"}
    for name, exported in _EXPORTS.items():
        files[f"{_STAND_IN}/{name}"] = _module(exported)
    return Extra({"libsignal": f"file:./{_STAND_IN}", **_PINNED}, files)


def _module(names: tuple[str, ...]) -> str:
    """Return a module that exports these; each on a line of its own, where Node finds the names."""
    refuse = 'const absent = () => { throw new Error("libsignal is not installed"); };\n'
    return refuse + "".join(f"exports.{name} = absent;\n" for name in names)
