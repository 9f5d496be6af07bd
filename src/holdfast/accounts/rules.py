"""Rules of accounts: the form of secrets, delays after failed sign-ins, visibility.

Pure: random bytes and the time are arguments.
"""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

from holdfast.accounts.limits import (
    ATTEMPT_FIRST_WAIT_MS,
    ATTEMPT_LONGEST_WAIT_MS,
    ATTEMPTS_FORGOTTEN_MS,
    ATTEMPTS_FREE,
)
from holdfast.accounts.records import Attempts
from holdfast.wire import parsers

TOKEN_PREFIX: Final = "hf_"  # noqa: S105  a prefix, so that scanners of leaked secrets know ours
LINK_PREFIX: Final = "hfl_"
SESSION_PREFIX: Final = "hfs_"

_SECRET: Final = re.compile(r"hf[ls]?_[A-Za-z0-9_-]{43}")
_DOUBLINGS_MAX: Final = 32


def secret_text(prefix: str, entropy: bytes) -> str:
    """Return a secret to hand out: the prefix and the bytes in URL-safe base64."""
    return prefix + base64.urlsafe_b64encode(entropy).rstrip(b"=").decode()


def looks_right(text: str, prefix: str) -> bool:
    """Return whether a text has the form of our secrets; others are rejected without a look-up."""
    return text.startswith(prefix) and _SECRET.fullmatch(text) is not None


def secret_hash(text: str) -> str:
    """Return the hash stored for a secret. With 256 random bits a fast hash is enough."""
    return hashlib.sha256(text.encode()).hexdigest()


def token_id(hashed: str) -> str:
    """Return the id of the token with this hash; it reveals nothing about the secret."""
    return "tok_" + hashlib.sha256(b"id:" + hashed.encode()).hexdigest()[:16]


def wait_ms(attempts: Attempts, now_ms: int) -> int:
    """Return how long the next sign-in has to wait, in milliseconds; 0 means not at all."""
    if now_ms - attempts.last_at_ms >= ATTEMPTS_FORGOTTEN_MS:
        return 0
    over = attempts.failures - ATTEMPTS_FREE
    if over < 0:
        return 0
    delay = min(ATTEMPT_FIRST_WAIT_MS << min(over, _DOUBLINGS_MAX), ATTEMPT_LONGEST_WAIT_MS)
    return max(0, min(attempts.last_at_ms + delay - now_ms, ATTEMPT_LONGEST_WAIT_MS))


def after_attempt(attempts: Attempts, now_ms: int) -> Attempts:
    """Return the record with one more failure, counted afresh where the others are forgotten."""
    forgotten = now_ms - attempts.last_at_ms >= ATTEMPTS_FORGOTTEN_MS
    return Attempts(failures=1 if forgotten else attempts.failures + 1, last_at_ms=now_ms)


def after_success(attempts: Attempts) -> Attempts:
    """Return the record with one failure less.

    One, not all: otherwise a peer could clear its failures at other accounts by signing in to its
    own.
    """
    return Attempts(failures=max(0, attempts.failures - 1), last_at_ms=attempts.last_at_ms)


def person_key(name: str) -> str:
    """Return the key under which a person's failures are counted."""
    return f"person:{name}"


def peer_key(peer: str) -> str:
    """Return under which key a peer's failures are counted: an IPv6 network counts as one peer."""
    return f"peer:{parsers.network(peer)}"


def sees(account: str | None, owner: str) -> bool:
    """Return whether a principal of `account` sees what `owner` owns; None sees everything."""
    return account is None or account == owner
