"""How brain keys look, and what is kept of them. Pure: random bytes come in as an argument."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

PREFIX: Final = "hfb_"
"""So that scanners of leaked secrets know ours."""

ENTROPY_BYTES: Final = 32
_SECRET: Final = re.compile(r"hfb_[A-Za-z0-9_-]{43}")


def make_secret(entropy: bytes) -> str:
    """Return a key to hand out, of 32 random bytes."""
    return PREFIX + base64.urlsafe_b64encode(entropy).rstrip(b"=").decode()


def looks_right(text: str) -> bool:
    """Return whether a text has the form of our keys."""
    return _SECRET.fullmatch(text) is not None


def id_of(hashed: str) -> str:
    """Return the id of the key with this hash; it tells nothing about the key."""
    return "bk_" + hashlib.sha256(b"id:" + hashed.encode()).hexdigest()[:16]
