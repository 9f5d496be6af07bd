"""The form of brain keys, and their ids. Pure: random bytes are an argument."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final

PREFIX: Final = "hfb_"
"""A prefix by which scanners of leaked secrets recognise our keys."""

ENTROPY_BYTES: Final = 32
_SECRET: Final = re.compile(r"hfb_[A-Za-z0-9_-]{43}")


def make_secret(entropy: bytes) -> str:
    """Return a new key, made of 32 random bytes."""
    return PREFIX + base64.urlsafe_b64encode(entropy).rstrip(b"=").decode()


def looks_right(text: str) -> bool:
    """Return whether a text has the form of our keys."""
    return _SECRET.fullmatch(text) is not None


def id_of(hashed: str) -> str:
    """Return the id of the key with this hash; it reveals nothing about the key."""
    return "bk_" + hashlib.sha256(b"id:" + hashed.encode()).hexdigest()[:16]
