"""Names and credentials that a machine and the plane derive alike: sandbox ids, gateway tokens.

A sandbox id names a machine (docs/compat/instance-life.md): `ki_` and the 32 hexadecimal digits of
its instance's UUID, or, in the older form, the owner's id in base64. A gateway token proves the
sandbox without being stored anywhere: it is an HMAC under the plane's secret. Pure.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import Final, Literal, NamedTuple, TypeAlias

SANDBOX_ID_MAX: Final = 63
"""Characters of a sandbox id: it is a machine's name, and those are DNS labels."""

USER_BYTES_MAX: Final = 47
"""Bytes of an owner's id that still fit: base64 makes four characters of three bytes."""

_INSTANCE: Final = re.compile(r"ki_([0-9a-f]{32})")
_UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_BASE64: Final = re.compile(r"[A-Za-z0-9_-]+")


class Sandbox(NamedTuple):
    """What a sandbox id names: an instance's UUID, or an owner."""

    kind: Literal["instance", "user"]
    id: str


def sandbox_of_instance(uuid: str) -> str:
    """Return the sandbox id of an instance; raise ValueError unless a lower-case dashed UUID."""
    if not _UUID.fullmatch(uuid):
        raise ValueError(f"instance {uuid!r}: want a lower-case UUID with dashes")
    return "ki_" + uuid.replace("-", "")


def sandbox_of_user(user: str) -> str:
    """Return the older form of a sandbox id; raise ValueError when the owner's id is too long."""
    raw = user.encode()
    if not raw or len(raw) > USER_BYTES_MAX:
        raise ValueError(f"user id of {len(raw)} bytes: want 1 to {USER_BYTES_MAX}")
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def decode_sandbox(sandbox: str) -> Sandbox | None:
    """Return what a sandbox id names, or None when it cannot be one.

    An older id that has the form of a newer one is decoded as the newer: a caller that decides by
    the result must also look up the whole id, as the check-in does.
    """
    match = _INSTANCE.fullmatch(sandbox)
    if match:
        d = match[1]
        return Sandbox("instance", f"{d[:8]}-{d[8:12]}-{d[12:16]}-{d[16:20]}-{d[20:]}")
    if not _BASE64.fullmatch(sandbox) or len(sandbox) > SANDBOX_ID_MAX:
        return None
    try:
        raw = base64.urlsafe_b64decode(sandbox + "=" * (-len(sandbox) % 4))
        user = raw.decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
    canonical = base64.urlsafe_b64encode(raw).decode().rstrip("=")
    return Sandbox("user", user) if canonical == sandbox else None


def gateway_token(secret: str, sandbox: str, *, version: int = 0) -> str:
    """Return the token of a machine: 64 lower-case hexadecimal digits.

    Version 0 is the form of compat/instance-life.md, whose message is the sandbox id alone; from 1
    on the version is part of the message, so that one instance's token can be rotated.
    """
    message = sandbox if version == 0 else f"v{version}:{sandbox}"
    return hmac.digest(secret.encode(), message.encode(), hashlib.sha256).hex()


def key_hash(api_key: str) -> str:
    """Return what is stored of an API key: its SHA-256 in hexadecimal.

    The key has 256 random bits, so a slow hash would protect nothing.
    """
    return hashlib.sha256(api_key.encode()).hexdigest()


Purpose: TypeAlias = Literal["proxy", "agent"]
"""What a token of its own is for: passing the machine's proxy, speaking to the agent itself."""


def derived_token(secret: str, purpose: Purpose, sandbox: str, *, version: int) -> str:
    """Return a machine's token for one purpose: 64 lower-case hexadecimal digits.

    The purpose is part of the message, so that none reveals anything of another; the version is
    that of the gateway token, so that all of a machine's are rotated together.
    """
    message = f"holdfast/{purpose}/v{version}:{sandbox}"
    return hmac.digest(secret.encode(), message.encode(), hashlib.sha256).hex()
